"""Where the bodies of an OpenSim model are, given joint angles: batched, differentiable."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.coordinate_function import compile_function
from models.osim import GROUND, Axis, Constant, Joint, OsimError, OsimModel, Pose, Vec3


class Transform(NamedTuple):
    """From a frame's coordinates to another's, as a rule the ground's: x -> rotation x + shift."""

    rotation: Tensor  # (..., 3, 3)
    shift_mm: Tensor  # (..., 3)

    def then(self, inner: "Transform") -> "Transform":
        """``inner`` first, then this."""
        return Transform(self.rotation @ inner.rotation, self.points_mm(inner.shift_mm))

    def points_mm(self, local_mm: Tensor) -> Tensor:
        """Points ``(..., 3)``, one to a transform."""
        return (self.rotation @ local_mm.unsqueeze(-1)).squeeze(-1) + self.shift_mm

    def inverse(self) -> "Transform":
        back = self.rotation.transpose(-1, -2)
        return Transform(back, -(back @ self.shift_mm.unsqueeze(-1)).squeeze(-1))

    def like(self, other: Tensor) -> "Transform":
        """In the dtype and on the device of ``other``."""
        return Transform(self.rotation.to(other), self.shift_mm.to(other))


class Kinematics:
    """Transforms of bodies and frames as functions of chosen coordinates.

    ``coordinates`` are the columns of every ``q_rad (..., coordinates)`` (m where a coordinate is a
    shift); all others stay at their default, or at ``held`` (name to rad or m).  Coordinates that
    a coupler ties to others follow them.  Raises OsimError for names that are not in the model, and
    for a coordinate that follows another.
    """

    def __init__(
        self,
        model: OsimModel,
        coordinates: Sequence[str],
        held: Mapping[str, float] | None = None,
        frames: Iterable[str] | None = None,
    ):
        """``frames``: bodies and offset frames that will be asked for (all bodies if None)."""
        self.model, self.coordinates = model, tuple(coordinates)
        self._held = dict(held or {})
        for name in (*self.coordinates, *self._held):
            model.coordinate(name)
            if name in model.couplers:
                leader = model.couplers[name].independent
                raise OsimError(f"{model.name}: {name!r} follows {leader!r}; name that instead")
        for name in model.couplers:
            self._check_leader(name)
        self._couplers = {
            name: (
                c.independent,
                compile_function(c.function, f"{model.name}: coupler of {name!r}"),
            )
            for name, c in model.couplers.items()
        }
        self._joints: dict[str, _JointMotion] = {}
        self._fixed = {GROUND: _identity()}
        self._offsets: dict[str, tuple[str, Transform]] = {}
        self._moving: list[str] = []  # parents before children
        nothing = torch.zeros(len(self.coordinates), dtype=torch.float64)
        for name in model.bodies if frames is None else frames:
            for link in self._chain(name):
                if self._parent(link) in self._fixed and not self._free(link):
                    self._fixed[link] = self._place(link, self._fixed, nothing)
                else:
                    self._moving.append(link)

    def transforms(self, q_rad: Tensor) -> dict[str, Transform]:
        """Every frame in the ground, for ``q_rad (..., coordinates)``; a frame that no chosen
        coordinate moves has no batch dimensions."""
        placed = {name: fixed.like(q_rad) for name, fixed in self._fixed.items()}
        for name in self._moving:
            placed[name] = self._place(name, placed, q_rad)
        return placed

    def value(self, name: str, q_rad: Tensor) -> Tensor:
        """A coordinate: a column of ``q_rad``, what it follows, or a constant."""
        if name in self.coordinates:
            return q_rad[..., self.coordinates.index(name)]
        if name in self._couplers:
            leader, function = self._couplers[name]
            return function(self.value(leader, q_rad))
        constant = self._held.get(name, self.model.coordinate(name).default)
        return torch.full((), constant, dtype=q_rad.dtype, device=q_rad.device)

    def moved_by(self, coordinate: str) -> frozenset[str]:
        """The chosen coordinates that a coordinate depends on: none, or one."""
        while coordinate in self._couplers:
            coordinate = self._couplers[coordinate][0]
        return frozenset((coordinate,)) & frozenset(self.coordinates)

    def _check_leader(self, name: str) -> None:
        seen, couplers = [name], self.model.couplers
        while name in couplers:
            name = couplers[name].independent
            if name in seen:
                raise OsimError(f"{self.model.name}: {name!r} follows itself; free one coordinate")
            seen.append(name)

    def _chain(self, name: str) -> list[str]:
        """Frames not placed yet between the ground and ``name``, this included."""
        chain: list[str] = []
        while name not in self._fixed and name not in self._moving:
            if name in chain:
                raise OsimError(f"{self.model.name}: {name!r} hangs on itself; correct its joint")
            chain.append(name)
            if name in self.model.joints:
                self._joints[name] = _JointMotion(self.model.joints[name], self.model.name)
            elif name in self.model.frames:
                pose = self.model.frames[name]
                self._offsets[name] = pose.parent, pose_transform(pose)
            else:
                self.model.body(name)  # says what there is
                raise OsimError(f"{self.model.name}: no joint carries body {name!r}; add one")
            name = self._parent(name)
        return chain[::-1]

    def _parent(self, name: str) -> str:
        return self._joints[name].parent if name in self._joints else self._offsets[name][0]

    def _free(self, name: str) -> bool:
        moved = self._joints[name].coordinates if name in self._joints else ()
        return any(self.moved_by(c) for c in moved)

    def _place(self, name: str, placed: Mapping[str, Transform], q_rad: Tensor) -> Transform:
        if name in self._joints:
            joint = self._joints[name]
            values = {c: self.value(c, q_rad) for c in joint.coordinates}
            return placed[joint.parent].then(joint(values, q_rad))
        parent, offset = self._offsets[name]
        return placed[parent].then(offset.like(q_rad))


class _JointMotion:
    """Child body in parent body or frame."""

    def __init__(self, joint: Joint, model: str):
        self.parent = joint.parent.parent
        self._before = pose_transform(joint.parent)
        self._after = pose_transform(joint.child).inverse()
        where = f"{model}: joint {joint.name!r}"
        self._turns = [_AxisMotion(a, where) for a in joint.rotations if not _idle(a)]
        self._shifts = [_AxisMotion(a, where) for a in joint.translations if not _idle(a)]
        named = (a.coordinate for a in (*self._turns, *self._shifts))
        self.coordinates = tuple({name: None for name in named if name is not None})

    def __call__(self, values: Mapping[str, Tensor], like: Tensor) -> Transform:
        shift = torch.zeros(3, dtype=like.dtype, device=like.device)
        for axis in self._shifts:
            shift = shift + 1000 * axis(values, like).unsqueeze(-1) * axis.direction.to(like)
        rotation = torch.eye(3, dtype=like.dtype, device=like.device)
        for axis in self._turns:
            rotation = rotation @ axis_rotation(axis.direction.to(like), axis(values, like))
        middle = Transform(rotation, shift)
        return self._before.like(like).then(middle).then(self._after.like(like))


class _AxisMotion:
    def __init__(self, axis: Axis, where: str):
        self.direction = torch.tensor(axis.direction, dtype=torch.float64)
        self.coordinate = axis.coordinate
        self._function = compile_function(axis.function, where)

    def __call__(self, values: Mapping[str, Tensor], like: Tensor) -> Tensor:
        nothing = torch.zeros((), dtype=like.dtype, device=like.device)
        return self._function(nothing if self.coordinate is None else values[self.coordinate])


def axis_rotation(axis: Tensor, angle_rad: Tensor) -> Tensor:
    """Turns ``(..., 3, 3)`` by ``angle_rad (...)`` about a unit ``axis (3,)`` (Rodrigues)."""
    x, y, z = axis.unbind()
    o = torch.zeros_like(x)
    cross = torch.stack([o, -z, y, z, o, -x, -y, x, o]).reshape(3, 3)
    angle = angle_rad[..., None, None]
    eye = torch.eye(3, dtype=axis.dtype, device=axis.device)
    return eye + torch.sin(angle) * cross + (1 - torch.cos(angle)) * (cross @ cross)


def pose_transform(pose: Pose) -> Transform:
    """A fixed frame in its parent, float64."""
    axes, angles = torch.eye(3, dtype=torch.float64), _f64(pose.rotation_rad)
    x, y, z = (axis_rotation(a, angle) for a, angle in zip(axes, angles, strict=True))
    return Transform(x @ y @ z, 1000 * _f64(pose.translation_m))


def _idle(axis: Axis) -> bool:
    return isinstance(axis.function, Constant) and axis.function.value == 0


def _identity() -> Transform:
    return Transform(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))


def _f64(vector: Vec3) -> Tensor:
    return torch.tensor(vector, dtype=torch.float64)
