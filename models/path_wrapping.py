"""Paths of a group of muscles around their surfaces: which piece bends around which.

A path is a row of slots: its points, then two touching points for each surface.  Every slot has a
``key`` that orders it along the path (points 0, 1, 2, ..., touching points between) and is alive or
not.  A surface looks at all pieces between live neighbours and takes the piece that it must bend,
else the one that it bends least (OpenSim's rule).  With several surfaces they take turns, each
seeing the others' touching points, until the path is settled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.kinematics import Transform, pose_transform
from models.osim import OsimError, OsimModel, OsimMuscle, PathWrap, WrapObject
from models.wrap import MUST, NONE, Bend, Side, cylinder
from models.wrap_ellipsoid import cuts, ellipsoid, sphere

_METHODS = ("hybrid", "midpoint", "axial")
_ROUNDS = 4  # of taking turns; a calf on two cylinders is then settled within 1 um


@dataclass
class Row:
    """Slots of a group: position ``(..., muscles, slots, 3)`` mm in the ground, the rest without
    the last dimension; ``arc_mm (..., muscles, surfaces)``."""

    at_mm: Tensor
    key: Tensor
    live: Tensor
    arc_mm: Tensor
    points: int  # the first slots; then pairs

    def in_order(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Positions, keys, live, and surface of each slot (-1: none), along the path."""
        order = torch.where(self.live, self.key, torch.inf).argsort(-1)
        slots = torch.arange(self.key.shape[-1], device=self.key.device)
        owner = torch.where(slots < self.points, -1, (slots - self.points) // 2)
        at = self.at_mm.gather(-2, order.unsqueeze(-1).expand(*order.shape, 3))
        return at, self.key.gather(-1, order), self.live.gather(-1, order), owner[order]

    def length_mm(self) -> Tensor:
        """``(..., muscles)``"""
        at, _, live, owner = self.in_order()
        step = distance(at[..., 1:, :], at[..., :-1, :])
        on_surface = (owner[..., 1:] == owner[..., :-1]) & (owner[..., 1:] >= 0)
        straight = (step * (live[..., 1:] & ~on_surface)).sum(-1)
        return straight + (self.arc_mm * self.live[..., self.points :: 2]).sum(-1)


class Surfaces:
    """The n-th surface of each muscle of a group (all have one)."""

    def __init__(self, model: OsimModel, muscles: Sequence[OsimMuscle], n: int):
        self.n = n
        wraps = [m.wraps[n] for m in muscles]
        self._objects = [surface(model, m, w) for m, w in zip(muscles, wraps, strict=True)]
        self.frames = [o.pose.parent for o in self._objects]
        self._pose = stacked([pose_transform(o.pose) for o in self._objects])
        self._first = torch.tensor([[float(w.first)] for w in wraps])
        self._last = torch.tensor([[float(w.last)] for w in wraps])
        self._active = torch.tensor([[o.active] for o in self._objects])
        kinds: dict[tuple[str, str], list[int]] = {}
        for i, (o, w) in enumerate(zip(self._objects, wraps, strict=True)):
            kinds.setdefault((o.kind, w.method if o.kind == "ellipsoid" else ""), []).append(i)
        self._kinds = [(k, m, torch.tensor(i)) for (k, m), i in kinds.items()]
        # (muscles, 1, ...): one surface for all pieces of a path
        self._size = 1000 * torch.tensor([[o.size_m] for o in self._objects], dtype=torch.float64)
        axes = torch.tensor([[o.side[0]] for o in self._objects])
        self._axis = torch.eye(3, dtype=torch.float64)[axes]
        self._sign = torch.tensor([[o.side[1]] for o in self._objects])

    def wrap(self, row: Row, placed: Mapping[str, Transform]) -> Row:
        """``row`` with this surface's touching points renewed."""
        first = row.points + 2 * self.n
        slots = torch.arange(row.key.shape[-1], device=row.key.device)
        own = (slots == first) | (slots == first + 1)
        row = Row(row.at_mm, row.key, row.live & ~own, row.arc_mm, row.points)
        at, key, live, owner = row.in_order()
        world = batched([placed[f] for f in self.frames], at.shape[:-3]).then(self._pose.like(at))
        local = Transform(world.rotation.unsqueeze(-3), world.shift_mm.unsqueeze(-2))
        here = local.inverse().points_mm(at)
        p1, p2 = here[..., :-1, :], here[..., 1:, :]
        same = (owner[..., 1:] == owner[..., :-1]) & (owner[..., 1:] >= 0)
        left, right = key[..., :-1], key[..., 1:]
        in_range = (left >= self._first.to(key)) & (right <= self._last.to(key))
        open_ = live[..., 1:] & ~same & in_range & self._active.to(live.device)
        best, bend = self._bend(p1, p2, open_)
        bent = bend.state != NONE

        low, high = left.gather(-1, best), right.gather(-1, best)
        high = torch.where(high > low, high, low + 1)
        pair = local.points_mm(torch.cat([bend.r1_mm, bend.r2_mm], -2))
        keys = torch.cat([low + (high - low) / 3, low + 2 * (high - low) / 3], -1)
        stop = first + 2
        arc = torch.where(bent, bend.arc_mm, 0.0)
        return Row(
            torch.cat([row.at_mm[..., :first, :], pair, row.at_mm[..., stop:, :]], -2),
            torch.cat([row.key[..., :first], keys, row.key[..., stop:]], -1),
            torch.cat([row.live[..., :first], bent, bent, row.live[..., stop:]], -1),
            torch.cat([row.arc_mm[..., : self.n], arc, row.arc_mm[..., self.n + 1 :]], -1),
            row.points,
        )

    def _bend(self, p1: Tensor, p2: Tensor, open_: Tensor) -> tuple[Tensor, Bend]:
        """Which of the pieces ``(..., muscles, pieces, 3)`` bends, ``(..., muscles, 1)``, and how;
        kind by kind."""
        parts = []
        for kind, method, index in self._kinds:
            index = index.to(p1.device)
            size = self._size.to(p1)[index]
            side = Side(self._axis.to(p1)[index], self._sign.to(p1.device)[index])
            a, b = p1.index_select(-3, index), p2.index_select(-3, index)
            free = open_.index_select(-2, index)
            if kind == "cylinder":
                all_ = cylinder(a, b, size[..., 0], size[..., 2], side)
                with torch.no_grad():
                    added = distance(a, all_.r1_mm) + all_.arc_mm + distance(b, all_.r2_mm)
                    added = added - distance(a, b)
                best, state = _best(torch.where(free, all_.state, NONE), added)
                r1, r2 = _pick(all_.r1_mm, best), _pick(all_.r2_mm, best)
                bend = Bend(state, r1, r2, all_.arc_mm.gather(-1, best))
            else:  # always MUST or NONE: find the piece first, the rest costs more
                must = torch.where(free & cuts(a, b, size), MUST, NONE)
                best, state = _best(must, torch.zeros_like(a[..., 0]))
                a, b = _pick(a, best), _pick(b, best)
                bend = sphere(a, b, size, side) if kind == "sphere" else (
                    ellipsoid(a, b, size, side, method)
                )  # fmt: skip
                bend = bend._replace(state=state)
            parts.append((best, bend))
        back = torch.cat([index for _, _, index in self._kinds]).argsort().to(p1.device)

        def together(values: Sequence[Tensor], dim: int) -> Tensor:
            return torch.cat(list(values), dim).index_select(dim, back)

        bends = [bend for _, bend in parts]
        return together([best for best, _ in parts], -2), Bend(
            together([bend.state for bend in bends], -2),
            together([bend.r1_mm for bend in bends], -3),
            together([bend.r2_mm for bend in bends], -3),
            together([bend.arc_mm for bend in bends], -2),
        )


@torch.no_grad()
def _best(state: Tensor, added_mm: Tensor) -> tuple[Tensor, Tensor]:
    """Of pieces ``(..., pieces)`` the first that must bend, else the one that bends least: its
    place and its state, ``(..., 1)``."""
    place = torch.arange(state.shape[-1], device=state.device).to(added_mm)
    score = torch.where(state == MUST, place - 1e6, added_mm)
    best = torch.where(state == NONE, torch.inf, score).argmin(-1, keepdim=True)
    return best, state.gather(-1, best)


def _pick(points: Tensor, place: Tensor) -> Tensor:
    """Points ``(..., 1, 3)`` of ``(..., pieces, 3)`` at ``place (..., 1)``."""
    return points.gather(-2, place.unsqueeze(-1).expand(*place.shape, 3))


def settle(row: Row, surfaces: Sequence[Surfaces], placed: Mapping[str, Transform]) -> Row:
    """A row with all its surfaces' touching points."""
    for _ in range(_ROUNDS if len(surfaces) > 1 else 1):
        for s in surfaces:
            row = s.wrap(row, placed)
    return row


def surface(model: OsimModel, muscle: OsimMuscle, wrap: PathWrap) -> WrapObject:
    """The surface a path names.  Raises OsimError for one that is missing or of unknown kind."""
    where = f"{model.name}: muscle {muscle.name!r}"
    if wrap.wrap not in model.wraps:
        raise OsimError(f"{where} wraps {wrap.wrap!r}, which is not there; add it or the wrap goes")
    found = model.wraps[wrap.wrap]
    if found.kind not in ("cylinder", "sphere", "ellipsoid"):
        raise OsimError(
            f"{where} wraps a {found.kind} {found.name!r}; use a cylinder, sphere or ellipsoid"
        )
    if wrap.method not in _METHODS:
        raise OsimError(f"{where}: method {wrap.method!r}; use one of {', '.join(_METHODS)}")
    return found


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Between points ``(..., 3)``; slope 0 where they meet."""
    square = ((a - b) ** 2).sum(-1)
    apart = square > 0
    return torch.where(apart, torch.where(apart, square, 1.0).sqrt(), 0.0)


def stacked(transforms: Sequence[Transform]) -> Transform:
    """``(n, ...)`` of n transforms without batch."""
    return batched(transforms, torch.Size())


def batched(transforms: Sequence[Transform], batch: torch.Size) -> Transform:
    """``(*batch, n, ...)`` of n transforms, some of which may lack batch dimensions."""
    rotations = [t.rotation.expand(*batch, 3, 3) for t in transforms]
    shifts = [t.shift_mm.expand(*batch, 3) for t in transforms]
    return Transform(torch.stack(rotations, -3), torch.stack(shifts, -2))
