"""Shortest way of a straight piece of muscle around a cylinder.

When a path bends, and on which side, follows OpenSim's rules (``WrapCylinder``): never with an end
inside the surface; on an unlimited surface only where the straight piece would cut it; on one
limited to a side also where the piece has slipped past it.  On that side it is the shortest path,
which OpenSim's is only nearly.  Everything here is in the surface's own axes and in mm, batched,
and has finite gradients whether the path bends or not.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

NONE, MAY, MUST = 0, 1, 2  # MAY: of several pieces the one that bends least takes it


class Bend(NamedTuple):
    """A path p1 - r1 along a straight line, r1 - r2 on the surface, r2 - p2; finite, but without
    meaning, where ``state`` is NONE."""

    state: Tensor  # (...) int64
    r1_mm: Tensor  # (..., 3)
    r2_mm: Tensor  # (..., 3)
    arc_mm: Tensor  # (...) between r1 and r2


class Side(NamedTuple):
    """Half of a surface that a path may bend around."""

    axis: Tensor  # (..., 3) 1 at x, y or z, else 0
    sign: Tensor  # (...) 1, -1, or 0 for the whole surface

    def allows(self, point_mm: Tensor) -> Tensor:
        """Points ``(..., 3)`` on the allowed half; on its border they count as positive."""
        along = (point_mm * self.axis).sum(-1)
        return torch.where(along >= 0, 1, -1) == self.sign


def cylinder(p1: Tensor, p2: Tensor, radius_mm: Tensor, length_mm: Tensor, side: Side) -> Bend:
    """Around a cylinder about z, centred in 0.  Ends ``(..., 3)``, sizes ``(...)``.

    A helix: straight when the surface is unrolled, so the path is the shortest on its side.  It
    only counts if it touches the cylinder within its length.
    """
    outside1, outside2 = _outside(p1, radius_mm), _outside(p2, radius_mm)
    stand_in = torch.stack([2 * radius_mm, 0 * radius_mm, 0 * radius_mm], -1)
    p1 = torch.where(outside1.unsqueeze(-1), p1, stand_in)
    p2 = torch.where(outside2.unsqueeze(-1), p2, -stand_in)
    flat1, flat2 = p1[..., :2], p2[..., :2]
    tangent1, turn1 = _tangent(flat1, radius_mm)
    tangent2, turn2 = _tangent(flat2, radius_mm)
    between = _angle(flat1, flat2)  # -pi..pi, counter-clockwise from p1 to p2

    # Where the straight piece passes closest to the axis.
    along = flat2 - flat1
    share = -(flat1 * along).sum(-1) / (along * along).sum(-1).clamp(min=1e-12)
    near = p1 + share.unsqueeze(-1) * (p2 - p1)
    cuts = ((near[..., :2] ** 2).sum(-1) < radius_mm**2) & (share > 0) & (share < 1)

    way, long, far = _choose_way(p1, p2, radius_mm, between, turn1, turn2, side)
    short = _wrapped_angle(way * between - turn1 - turn2).abs()
    turned = torch.where(long, 2 * math.pi - short, short)

    rolled = radius_mm * turned
    planar = tangent1 + rolled + tangent2
    rise = p2[..., 2] - p1[..., 2]
    slope = rise / planar
    angle1 = torch.atan2(flat1[..., 1], flat1[..., 0]) + way * turn1
    angle2 = torch.atan2(flat2[..., 1], flat2[..., 0]) - way * turn2
    z1, z2 = p1[..., 2] + slope * tangent1, p2[..., 2] - slope * tangent2
    r1 = torch.stack([radius_mm * torch.cos(angle1), radius_mm * torch.sin(angle1), z1], -1)
    r2 = torch.stack([radius_mm * torch.cos(angle2), radius_mm * torch.sin(angle2), z2], -1)

    on1, on2 = side.allows(p1), side.allows(p2)
    slipped = (on1 != on2) & ~side.allows(near)
    limited = torch.where(cuts, MUST, torch.where(slipped, MAY, NONE))
    limited = torch.where(on1 | on2, limited, MAY)
    state = torch.where(side.sign == 0, torch.where(cuts, MUST, NONE), limited)
    within = _touches_within(p1, p2, r1, r2, radius_mm, length_mm, far)
    state = torch.where(outside1 & outside2 & within, state, NONE)
    return Bend(state, r1, r2, rolled * torch.sqrt(1 + slope**2))


def _outside(point: Tensor, radius_mm: Tensor) -> Tensor:
    return (point[..., :2] ** 2).sum(-1) >= radius_mm**2


def _tangent(flat: Tensor, radius_mm: Tensor) -> tuple[Tensor, Tensor]:
    """Length in mm of the tangent from a point ``(..., 2)``, and the angle at the axis between
    point and touching point."""
    square = (flat * flat).sum(-1) - radius_mm**2
    length = square.clamp(min=1e-6).sqrt()  # on the surface its slope is infinite: stop short
    return length, torch.atan2(length, radius_mm)


@torch.no_grad()
def _choose_way(
    p1: Tensor,
    p2: Tensor,
    radius_mm: Tensor,
    between: Tensor,
    turn1: Tensor,
    turn2: Tensor,
    side: Side,
) -> tuple[Tensor, Tensor, Tensor]:
    """1 counter-clockwise from p1 to p2 or -1 clockwise; whether more than half way round; whether
    on the far side of the axis as seen from the straight piece."""

    def touching(p: Tensor, turn: Tensor) -> Tensor:
        angle = torch.atan2(p[..., 1], p[..., 0]) + turn
        x, y = radius_mm * torch.cos(angle), radius_mm * torch.sin(angle)
        return torch.stack([x, y, p[..., 2]], -1)

    ccw1, cw1, ccw2, cw2 = (
        touching(p, turn) for p, turn in ((p1, turn1), (p1, -turn1), (p2, turn2), (p2, -turn2))
    )
    a1, b1, a2, b2 = (side.allows(t) for t in (ccw1, cw1, ccw2, cw2))
    ccw_arc = _wrapped_angle(between - turn1 - turn2).abs()
    longer = ccw_arc > _wrapped_angle(-between - turn1 - turn2).abs()
    none = ~(a1 | b1 | a2 | b2)
    undecided = torch.where(a2, -1, torch.where(b2, 1, torch.where(longer, 1, -1)))
    both = torch.where(a2, -1, 1)
    way = torch.where(a1 & b1, both, torch.where(a1, 1, torch.where(b1, -1, undecided)))
    far = none | torch.where(way == 1, longer, ~longer)

    counter = (way == 1).unsqueeze(-1)
    r1, r2 = torch.where(counter, ccw1, cw1)[..., :2], torch.where(counter, cw2, ccw2)[..., :2]
    pull = (r1 - p1[..., :2]) + (r2 - p2[..., :2])
    long = ((r1 + r2) * pull).sum(-1) < 0

    limited = side.sign != 0
    way = torch.where(limited, way, torch.where(between >= 0, 1, -1))
    return way.to(p1.dtype), long & limited, far & limited


@torch.no_grad()
def _touches_within(
    p1: Tensor,
    p2: Tensor,
    r1: Tensor,
    r2: Tensor,
    radius_mm: Tensor,
    length_mm: Tensor,
    far: Tensor,
) -> Tensor:
    """Whether one of the touching points is within the cylinder's length.

    As OpenSim puts them for this question: in the plane through both ends and a point of the
    cylinder over the straight piece, not on the helix.
    """
    away1, away2 = (torch.linalg.vector_norm(p[..., :2], dim=-1) for p in (p1, p2))
    middle = p1 + (away1 / (away1 + away2)).unsqueeze(-1) * (p2 - p1)
    foot = torch.cat([torch.zeros_like(middle[..., :2]), middle[..., 2:]], -1)
    normal = torch.linalg.cross(p1 - foot, p2 - foot)
    up = torch.stack([-normal[..., 1], normal[..., 0], torch.zeros_like(away1)], -1)
    up = up / torch.linalg.vector_norm(up, dim=-1, keepdim=True).clamp(min=1e-9)
    towards = torch.where((up * middle).sum(-1) > 0, 1.0, -1.0) * torch.where(far, -1.0, 1.0)
    apex = foot + (radius_mm * towards).unsqueeze(-1) * up
    plane = torch.linalg.cross(p1 - apex, p2 - apex)

    def height(r: Tensor, own: Tensor, other: Tensor) -> Tensor:
        across = ((r[..., :2] - own[..., :2]) * plane[..., :2]).sum(-1)
        z = own[..., 2] - across / plane[..., 2]
        nearer = (z - other[..., 2]).abs() < (own[..., 2] - other[..., 2]).abs()
        return torch.where(nearer, z, own[..., 2])

    half = length_mm / 2
    return (height(r1, p1, p2).abs() <= half) | (height(r2, p2, p1).abs() <= half)


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """From ``a (..., 2)`` to ``b (..., 2)``, -pi..pi."""
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return torch.atan2(cross, (a * b).sum(-1))


def _wrapped_angle(angle: Tensor) -> Tensor:
    """The same angle in -pi..pi."""
    return angle - 2 * math.pi * torch.round(angle.detach() / (2 * math.pi))
