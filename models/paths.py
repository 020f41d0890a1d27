"""Muscle-tendon lengths and moment arms of an OpenSim model's muscles, from joint angles.

Lengths in mm, moment arms in mm (mm per m, so without a dimension, for coordinates that are
shifts).  Batched over joint angles, in the dtype and on the device of the angles, differentiable.
Where a point joins or leaves a path, or a path goes over to another side of a surface, lengths
jump or kink as OpenSim's do.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.coordinate_function import compile_function
from models.kinematics import Kinematics, Transform
from models.osim import MovingPoint, OsimError, OsimModel, OsimMuscle, Point
from models.path_wrapping import Row, Surfaces, batched, distance, settle, surface

_EDGE_RAD = 1e-5  # by which OpenSim widens the range of a conditional point


class Paths:
    """Paths of ``muscles`` as functions of ``coordinates``, names in the order of all results.

    Other coordinates stay at their default or at ``held`` (name to rad or m).  Raises OsimError for
    names that are not in the model and for parts of it that are not supported.
    """

    def __init__(
        self,
        model: OsimModel,
        muscles: Sequence[str],
        coordinates: Sequence[str],
        held: Mapping[str, float] | None = None,
    ):
        self.model, self.muscles, self.coordinates = model, tuple(muscles), tuple(coordinates)
        chosen = [model.muscle(name) for name in self.muscles]
        frames = dict.fromkeys(p.frame for m in chosen for p in m.points)
        frames |= dict.fromkeys(surface(model, m, w).pose.parent for m in chosen for w in m.wraps)
        self.kinematics = Kinematics(model, coordinates, held, frames)
        counts = sorted({len(m.wraps) for m in chosen})
        picked = [[i for i, m in enumerate(chosen) if len(m.wraps) == n] for n in counts]
        self._groups = [_Group(self, [chosen[i] for i in index]) for index in picked]
        self._back = torch.tensor([i for index in picked for i in index]).argsort()
        self.lengths_mm(torch.zeros(len(self.coordinates)))  # what is missing is an error now

    def lengths_mm(self, q_rad: Tensor) -> Tensor:
        """``(..., muscles)`` at joint angles ``(..., coordinates)``."""
        if q_rad.shape[-1:] != (len(self.coordinates),):
            raise ValueError(
                f"angles {tuple(q_rad.shape)}: the last dimension holds {self.coordinates}"
            )
        placed = self.kinematics.transforms(q_rad)
        lengths = [group.lengths_mm(q_rad, placed) for group in self._groups]
        return torch.cat(lengths, -1).index_select(-1, self._back.to(q_rad.device))

    def moment_arms_mm(self, q_rad: Tensor) -> Tensor:
        """``(..., muscles, coordinates)``: r = -dL/dq, > 0 where the muscle pulls the coordinate
        towards higher values.  Exact; may be differentiated again."""
        return self.lengths_and_arms_mm(q_rad)[1]

    def lengths_and_arms_mm(self, q_rad: Tensor) -> tuple[Tensor, Tensor]:
        """Both, for little more than the moment arms alone."""
        # Backward, as one batch of muscles: nested transforms and a second backward pass work.
        length, pull = torch.func.vjp(self.lengths_mm, q_rad)[:2]
        n = len(self.muscles)
        one_each = torch.eye(n, dtype=length.dtype, device=length.device)
        one_each = one_each.reshape(n, *[1] * (length.dim() - 1), n).expand(n, *length.shape)
        (slopes,) = torch.func.vmap(pull)(one_each)
        return length, -slopes.movedim(0, -2)


class _Group:
    """Muscles with the same number of surfaces, as rows of slots of one length."""

    def __init__(self, paths: Paths, muscles: Sequence[OsimMuscle]):
        where = paths.model.name
        for m in muscles:
            if len(m.points) < 2:
                raise OsimError(f"{where}: muscle {m.name!r} has no path of points; give it one")
        self._kinematics = paths.kinematics
        self._points = max(len(m.points) for m in muscles)
        self._surfaces = [Surfaces(paths.model, muscles, n) for n in range(len(muscles[0].wraps))]
        rows = [[*m.points, *(m.points[-1:] * (self._points - len(m.points)))] for m in muscles]
        flat = [p for row in rows for p in row]
        self._shape = len(muscles), self._points
        self._frames = [p.frame for p in flat]
        fixed = [p.location_m if isinstance(p, Point) else (0.0, 0.0, 0.0) for p in flat]
        self._local_mm = 1000 * torch.tensor(fixed, dtype=torch.float64)
        self._present = torch.tensor([[i < len(m.points) for i in range(self._points)]
                                      for m in muscles])  # fmt: skip
        self._conditional = [
            (i, p.coordinate, p.range_rad)
            for i, p in enumerate(flat)
            if isinstance(p, Point) and p.coordinate is not None
        ]
        self._moving = [
            (i, axis.coordinate, torch.tensor(axis.direction, dtype=torch.float64),
             compile_function(axis.function, f"{where}: a point of a path"))
            for i, p in enumerate(flat) if isinstance(p, MovingPoint) for axis in p.location
        ]  # fmt: skip

    def lengths_mm(self, q_rad: Tensor, placed: Mapping[str, Transform]) -> Tensor:
        batch = q_rad.shape[:-1]
        at = self._locations_mm(q_rad)
        at = batched([placed[f] for f in self._frames], batch).points_mm(at)
        at = at.reshape(*batch, *self._shape, 3)
        live = self._live(q_rad)
        if not self._surfaces and not self._conditional:
            step = distance(at[..., 1:, :], at[..., :-1, :])
            return (step * live[..., 1:]).sum(-1)
        spare = 2 * len(self._surfaces)
        slots = self._points + spare
        at = torch.cat([at, at[..., -1:, :].expand(*at.shape[:-2], spare, 3)], -2)
        dead = torch.zeros(spare, dtype=torch.bool, device=live.device)
        live = torch.cat([live, dead.expand(*live.shape[:-1], spare)], -1)
        key = torch.arange(slots, dtype=at.dtype, device=at.device).expand(at.shape[:-1])
        arc = at.new_zeros(*at.shape[:-2], len(self._surfaces))
        return settle(Row(at, key, live, arc, self._points), self._surfaces, placed).length_mm()

    def _locations_mm(self, q_rad: Tensor) -> Tensor:
        """Points in their frames, ``(..., points of all muscles, 3)``."""
        local = self._local_mm.to(q_rad)
        if not self._moving:
            return local
        columns = list(local.expand(*q_rad.shape[:-1], *local.shape).unbind(-2))
        for i, coordinate, direction, function in self._moving:
            q = q_rad.new_zeros(()) if coordinate is None else (
                self._kinematics.value(coordinate, q_rad)
            )  # fmt: skip
            columns[i] = columns[i] + 1000 * function(q).unsqueeze(-1) * direction.to(q_rad)
        return torch.stack(columns, -2)

    def _live(self, q_rad: Tensor) -> Tensor:
        """Which points belong to the path, ``(..., muscles, points)``."""
        present = self._present.to(q_rad.device).expand(*q_rad.shape[:-1], *self._shape)
        columns = list(present.flatten(-2).unbind(-1))
        for i, coordinate, (low, high) in self._conditional:
            q = self._kinematics.value(coordinate, q_rad)
            columns[i] = columns[i] & (q >= low - _EDGE_RAD) & (q <= high + _EDGE_RAD)
        return torch.stack(columns, -1).reshape(present.shape)
