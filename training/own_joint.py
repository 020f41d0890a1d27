"""The joint of one's own trials: the elbow of ``models/elbow.py``, or a coordinate of a model file.

Both say where their muscles pass along a motion; only the elbow knows what it weighs, and so what
moment a motion with a load asks for and what motion a moment leads to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import elbow
from models.muscle import Muscle
from models.muscle_set import muscle_set
from models.opensim_import import read_osim
from models.osim import OsimModel
from training.fit_nmm import Joint
from training.joint_data import F64
from training.joint_geometry import Along, Motion, along
from training.own_checks import TrialsError

USUAL_FOREARM_KG = 1.534315


@dataclass(frozen=True)
class JointFile:
    """Which joint: empty = the elbow."""

    osim: str = ""
    coordinate: str = "r_elbow_flex"
    towards: tuple[str, ...] = elbow.MUSCLES[3:]  # muscles that pull to larger angles
    away: tuple[str, ...] = elbow.MUSCLES[:3]
    forearm_kg: float = USUAL_FOREARM_KG  # of the elbow: forearm and hand

    @property
    def names(self) -> tuple[str, ...]:
        """Of its muscles, in the order of all arrays."""
        return (*self.away, *self.towards)


@dataclass(frozen=True)
class Elbow:
    """The elbow under an upper arm that hangs, with a forearm of its own mass."""

    spec: JointFile

    @property
    def range_rad(self) -> tuple[float, float]:
        """Of the angle."""
        return elbow.RANGE_RAD

    def moving(self, columns: Mapping[str, F64]) -> tuple[str, ...]:
        """The angles of a motion that its muscles lengthen by."""
        return (self.spec.coordinate,)

    def along(self, motion: Mapping[str, Motion]) -> Along:
        """Its muscles' paths during a motion."""
        angle = motion[self.spec.coordinate]
        length, arm = (x.numpy() for x in self._paths(torch.from_numpy(angle.angle_rad)))
        return Along(length, arm, -arm * angle.speed_rad_s[:, None])

    def moment_nm(self, angle: Motion, acceleration_rad_s2: F64, load_kg: float) -> F64 | None:
        """What forearm and load ask for."""
        q, v, a = (torch.from_numpy(x) for x in (*angle, acceleration_rad_s2))
        return elbow.inverse_dynamics_nm(q, v, a, load_kg, self._segment).numpy()

    def shared(self, like: dict[str, tuple[str, ...]], free: bool) -> Joint:
        """As fits read it; ``free``: nothing but muscles and weight moves it, so that it may roll
        on by its own dynamics."""
        generic = elbow.muscles(torch.zeros(()))
        muscle = Muscle(*(m[self._order] for m in generic))
        if not free:
            return Joint(self.spec.names, muscle, like)
        return Joint(self.spec.names, muscle, like, self._paths, self._accelerate)

    def _paths(self, angle_rad: Tensor) -> tuple[Tensor, Tensor]:
        length, arm = elbow.paths(angle_rad)
        return length[..., self._order], arm[..., self._order]

    def _accelerate(self, load_kg: Tensor) -> Any:
        return elbow.pendulum(load_kg, self._segment).acceleration_rad_s2

    @property
    def _order(self) -> list[int]:
        return [elbow.MUSCLES.index(n) for n in self.spec.names]

    @property
    def _segment(self) -> elbow.Segment:
        plain, scale = elbow.Segment(), self.spec.forearm_kg / USUAL_FOREARM_KG
        inertia = tuple(i * scale for i in plain.inertia_kg_m2)
        return elbow.Segment(self.spec.forearm_kg, plain.centre_m, inertia)


@dataclass(frozen=True)
class Modelled:
    """A coordinate of a model that was read from a file."""

    spec: JointFile
    model: OsimModel

    @property
    def range_rad(self) -> tuple[float, float]:
        """Of the angle."""
        return self.model.coordinate(self.spec.coordinate).range

    def moving(self, columns: Mapping[str, F64]) -> tuple[str, ...]:
        """The angles of a motion that its muscles may lengthen by: some cross two joints."""
        known = self.model.coordinates
        free = [c for c in columns if c in known and c not in self.model.couplers]
        return tuple(c for c in free if known[c].rotational)

    def along(self, motion: Mapping[str, Motion]) -> Along:
        """Its muscles' paths during a motion; coordinates that are not in it rest."""
        return along(self.model, self.spec.names, motion, self.spec.coordinate)

    def moment_nm(self, angle: Motion, acceleration_rad_s2: F64, load_kg: float) -> F64 | None:
        """Nobody knows where its load is held."""
        return None

    def shared(self, like: dict[str, tuple[str, ...]], free: bool) -> Joint:
        """As fits read it, without dynamics of its own."""
        return Joint(self.spec.names, muscle_set(self.model, self.spec.names), like)


OwnJoint = Elbow | Modelled


def open_joint(spec: JointFile, folder: Path) -> OwnJoint:
    """Reads the model file, if there is one.  Raises OsimError and TrialsError."""
    if spec.osim:
        joint = Modelled(spec, read_osim(folder / spec.osim))
        joint.model.coordinate(spec.coordinate)
        return joint
    if unknown := set(spec.names) - set(elbow.MUSCLES):
        raise TrialsError(
            f"the elbow has no {sorted(unknown)}: name joint.osim, or use its muscles"
        )
    return Elbow(spec)
