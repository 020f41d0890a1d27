"""Way of a straight piece of muscle around an ellipsoid or a sphere, in one plane.

The path stays in a plane through both ends and a third point on the surface; for a sphere, whose
third point lies over the middle, it is the shortest path.  For an ellipsoid the third point is
chosen as OpenSim's ``WrapEllipsoid`` does, so lengths agree with it, and the path is near the
shortest.  Stretching the axes makes the ellipsoid a unit sphere and leaves tangents tangents: there
the plane cuts a circle, and only the length of the arc has to be integrated.
"""

import math

import torch
from torch import Tensor

from models.closest_point import closest_point
from models.wrap import MUST, NONE, Bend, Side

_FAN_ONLY, _AXIAL_ONLY = 0.7073, 0.9  # cosine of the line to the nearest axis
_EDGE = 0.3  # share of the chord at whose ends the axial point fades out
_FAN_POINTS = 32
_GRAZE = 1e-4  # of a half axis
_ARC_POINTS = 24
_TOUCH = 1e-4  # of the surface's equation, by which an end may be inside


def sphere(p1: Tensor, p2: Tensor, half_mm: Tensor, side: Side) -> Bend:
    """Around a sphere centred in 0.  Ends ``(..., 3)``, radius thrice ``(..., 3)``."""
    half_mm = half_mm.expand_as(p1)
    hits, p1, p2, _, _ = _chord(p1, p2, half_mm)
    along = p2 - p1
    foot = p1 - ((p1 * along).sum(-1) / (along * along).sum(-1)).unsqueeze(-1) * along
    # A line through the centre may go round any way: take that of a fixed direction.
    aside = torch.linalg.cross(along, _least_axis(along))
    centred = (foot * foot).sum(-1, keepdim=True) < 1e-10 * half_mm[..., :1] ** 2
    over = torch.where(centred, aside, foot)
    over = over / _norm(over) * half_mm
    bent = _section(p1, p2, over, half_mm)
    limited = (side.sign != 0) & ~(side.allows(p1) & side.allows(p2))
    around = _section(p1, p2, -over, half_mm)
    pull = ((around.r1_mm - p1 + around.r2_mm - p2) * side.axis).sum(-1) * side.sign
    take = limited & (pull >= 0)
    wide = take.unsqueeze(-1)
    return Bend(
        torch.where(hits, MUST, NONE),
        torch.where(wide, around.r1_mm, bent.r1_mm),
        torch.where(wide, around.r2_mm, bent.r2_mm),
        torch.where(take, around.arc_mm, bent.arc_mm),
    )


def ellipsoid(p1: Tensor, p2: Tensor, half_mm: Tensor, side: Side, method: str) -> Bend:
    """Around an ellipsoid centred in 0.  Ends ``(..., 3)``, half axes ``(..., 3)``; ``method`` is
    OpenSim's: hybrid, midpoint or axial."""
    half_mm = half_mm.expand_as(p1)
    hits, p1, p2, near, far = _chord(p1, p2, half_mm)
    size = half_mm.mean(-1, keepdim=True)  # OpenSim measures its "fan" in mean half axes
    third = size * _third_point(
        p1 / size, p2 / size, near / size, far / size, half_mm / size, side, method
    )
    short = _crosses_outside(near, far) if method == "axial" else None
    bend = _section(p1, p2, third, half_mm, short)
    return bend._replace(state=torch.where(hits, MUST, NONE))


def cuts(p1: Tensor, p2: Tensor, half_mm: Tensor) -> Tensor:
    """Whether a piece enters and leaves the surface; not with an end inside."""
    u1, u2 = p1.detach() / half_mm, p2.detach() / half_mm
    along = u2 - u1
    a, b = (along * along).sum(-1), (u1 * along).sum(-1)
    c = (u1 * u1).sum(-1) - 1
    outside = (c >= -_TOUCH) & ((u2 * u2).sum(-1) - 1 >= -_TOUCH)
    return outside & (b * b > a * c) & (b < 0) & (a + b > 0)


def _chord(p1: Tensor, p2: Tensor, half: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Whether a piece cuts the surface, its ends, and where it enters and leaves.

    Where it does not, ends of a piece that does stand in for its own.
    """
    hits = cuts(p1, p2, half)
    keep = hits.unsqueeze(-1)
    direction = torch.tensor([0.3, 0.5, 0.7], dtype=p1.dtype, device=p1.device)
    p1 = torch.where(keep, p1, half * (2 * direction + 0.2))
    p2 = torch.where(keep, p2, half * (-2 * direction))
    u1, u2 = p1 / half, p2 / half
    along = u2 - u1
    a, b = (along * along).sum(-1, keepdim=True), (u1 * along).sum(-1, keepdim=True)
    root = (b * b - a * ((u1 * u1).sum(-1, keepdim=True) - 1)).clamp(min=1e-12).sqrt()
    return hits, p1, p2, p1 + (-b - root) / a * (p2 - p1), p1 + (-b + root) / a * (p2 - p1)


def _section(
    p1: Tensor, p2: Tensor, over: Tensor, half: Tensor, short: Tensor | None = None
) -> Bend:
    """Path in the plane of both ends and ``over``, on the side of this or, where ``short (...)``,
    the short way; state MUST."""
    u1, u2, u3 = p1 / half, p2 / half, over / half
    along = (u2 - u1) / _norm(u2 - u1)
    aside = u3 - u1 - ((u3 - u1) * along).sum(-1, keepdim=True) * along
    # Where the piece all but passes the surface, ``over`` is on it: take the outward normal.
    aside = torch.where((aside * aside).sum(-1, keepdim=True) < _GRAZE**2, u3, aside)
    normal = torch.linalg.cross(aside, along)
    normal = normal / _norm(normal)
    height = (normal * u1).sum(-1, keepdim=True)
    centre = height * normal
    if short is not None:
        turned = torch.linalg.cross(u1 - centre, u2 - centre)
        long = short & ((normal * turned).sum(-1) < 0)
        normal = torch.where(long.unsqueeze(-1), -normal, normal)
    radius = (1 - height**2).clamp(min=1e-9).sqrt()
    out1, out2 = u1 - centre, u2 - centre
    e1 = out1 / _norm(out1)
    e2 = torch.linalg.cross(normal, e1)
    start = _turn(out1, radius)
    angle = torch.atan2((out2 * e2).sum(-1), (out2 * e1).sum(-1))
    stop = torch.where(angle < 0, angle + 2 * math.pi, angle) - _turn(out2, radius)
    stop = torch.maximum(stop, start)

    def at(turn: Tensor) -> Tensor:
        cos, sin = torch.cos(turn).unsqueeze(-1), torch.sin(turn).unsqueeze(-1)
        point: Tensor = half * (centre + radius * (cos * e1 + sin * e2))
        return point

    nodes, weights = _gauss(_ARC_POINTS, p1)
    turns = start.unsqueeze(-1) + (stop - start).unsqueeze(-1) * nodes  # (..., nodes)
    cos, sin = torch.cos(turns).unsqueeze(-1), torch.sin(turns).unsqueeze(-1)
    pace = (half * radius).unsqueeze(-2) * (cos * e2.unsqueeze(-2) - sin * e1.unsqueeze(-2))
    arc = (stop - start) * (_norm(pace).squeeze(-1) * weights).sum(-1)
    return Bend(torch.full_like(arc, MUST, dtype=torch.int64), at(start), at(stop), arc)


def _crosses_outside(near: Tensor, far: Tensor) -> Tensor:
    """Whether the plane of the axis that the chord runs along most cuts the line outside of it."""
    most = (far - near).detach().abs().argmax(-1, keepdim=True)
    return (near.gather(-1, most) * far.gather(-1, most) > 0).squeeze(-1)


def _third_point(
    p1: Tensor, p2: Tensor, near: Tensor, far: Tensor, half: Tensor, side: Side, method: str
) -> Tensor:
    """Point ``(..., 3)`` on the surface that the plane of the path goes through."""
    middle = 0.5 * (near + far)
    everywhere = torch.ones_like(half)
    if method == "midpoint":
        third = closest_point(middle, half, everywhere)
        return _to_side(third, half, side, torch.zeros_like(third[..., :1]))

    # Axial: where the line crosses the plane of the axis it runs along most.
    along = (p2 - p1) / _norm(p2 - p1)
    most = along.detach().abs().argmax(-1, keepdim=True)
    chord = far - near
    crossing = -near.gather(-1, most) / chord.gather(-1, most)
    flat = torch.ones_like(half).scatter(-1, most, 0.0)
    axial = closest_point((near + crossing * chord) * flat, half, flat)
    if method == "axial":
        return _to_side(axial, half, side, torch.zeros_like(crossing))

    # Fan: along the chord, the mean direction to the nearest surface.
    cosine = along.gather(-1, most).abs()
    inner = (crossing / _EDGE).minimum((1 - crossing) / _EDGE).clamp(0, 1)
    cosine = torch.where(cosine > _FAN_ONLY, _FAN_ONLY + inner * (cosine - _FAN_ONLY), cosine)
    nodes, weights = _gauss(_FAN_POINTS, p1)
    blades = near.unsqueeze(-2) + nodes.unsqueeze(-1) * chord.unsqueeze(-2)
    spread, whole = half.unsqueeze(-2), everywhere.unsqueeze(-2)
    reach = closest_point(blades, spread, whole) - blades
    mean = (reach / _norm(reach) * weights.unsqueeze(-1)).sum(-2)
    fan = closest_point(middle + mean / _norm(mean), half, everywhere)
    share = ((cosine - _FAN_ONLY) / (_AXIAL_ONLY - _FAN_ONLY)).clamp(0, 1)  # of the axial point
    mixed = closest_point(share * axial + (1 - share) * fan, half, everywhere)
    third = torch.where(share >= 1, axial, torch.where(share <= 0, fan, mixed))
    return _to_side(third, half, side, 1 - share)


def _to_side(third: Tensor, half: Tensor, side: Side, fan: Tensor) -> Tensor:
    """``third`` mirrored to the allowed half; the more it is of the ``fan``, the nearer the rim."""
    wrong = ((side.sign != 0) & ~side.allows(third)).unsqueeze(-1)
    kept = 1 - side.axis * (2 - fan)  # factor on the limited axis: -1 axial, 0 fan
    mirrored = torch.where(wrong, third * kept, third)
    return torch.where(wrong, closest_point(mirrored, half, torch.ones_like(half)), third)


def _turn(out: Tensor, radius: Tensor) -> Tensor:
    """Angle at the centre between an end and its touching point."""
    tangent = ((out * out).sum(-1) - radius.squeeze(-1) ** 2).clamp(min=1e-9).sqrt()
    return torch.atan2(tangent, radius.squeeze(-1))


def _least_axis(direction: Tensor) -> Tensor:
    """Unit axis least along ``direction (..., 3)``."""
    least = direction.detach().abs().argmin(-1, keepdim=True)
    return torch.zeros_like(direction).scatter(-1, least, 1.0)


def _norm(vector: Tensor) -> Tensor:
    """Length ``(..., 1)``, never 0."""
    return (vector * vector).sum(-1, keepdim=True).clamp(min=1e-18).sqrt()


def _gauss(points: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss and Legendre on 0..1."""
    k = torch.arange(1, points, dtype=torch.float64)
    off = k / (4 * k * k - 1).sqrt()
    value, vector = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return ((1 + value) / 2).to(like), (vector[0] ** 2).to(like)
