"""A recorded walk or run: EMG, joint angles, joint moments and the forces under both feet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.kinematics import Kinematics
from models.opensim_import import read_osim
from models.osim import OsimModel
from training.datasets import locate
from training.sto import in_degrees, read_sto

F64 = NDArray[np.float64]

DATA = "gait_emg_ik_id_sub06"
RECORDINGS = {"walk36": 3.6, "run81": 8.1}  # km/h
RIGHT, LEFT = "ground_force", "l_ground_force"


class ConventionError(ValueError):
    """A table that contradicts its model, or another table.

    The message names file, column, what was seen and the remedy.
    """


@dataclass(frozen=True)
class Table:
    """Columns ``(n,)`` by name, ``time`` in s among them."""

    file: str
    columns: Mapping[str, F64]

    def __getitem__(self, name: str) -> F64:
        if name not in self.columns:
            raise ConventionError(
                f"{self.file} has no column {name!r}; there are: {', '.join(self.columns)}"
            )
        return self.columns[name]


@dataclass(frozen=True)
class Gait:
    """One recording as its files tell it, angles turned into rad.

    In the ground's frame x is forward, y up; forces are those on the feet, in N at points in m.
    """

    name: str
    model: OsimModel
    emg: Table  # envelopes, 0..1
    angles: Table  # by coordinate, rad or m
    moments: Table  # <coordinate>_moment in N m
    forces: Table
    right: str = RIGHT  # <right>_vx .. _vz and _px .. _pz: the belt under the right foot
    left: str = LEFT

    def force_n(self, belt: str) -> F64:
        """``(n, 3)``."""
        return np.stack([self.forces[f"{belt}_v{axis}"] for axis in "xyz"], 1)

    def point_m(self, belt: str) -> F64:
        """Centre of pressure ``(n, 3)``; of no meaning where there is no force."""
        return np.stack([self.forces[f"{belt}_p{axis}"] for axis in "xyz"], 1)

    def places_m(self, *bodies: str) -> list[F64]:
        """Origins of bodies in the ground, ``(n, 3)`` each."""
        followers = self.model.couplers
        names = [c for c in self.model.coordinates if c in self.angles.columns]
        names = [c for c in names if c not in followers]
        q = np.stack([self.angles[c] for c in names], 1)
        placed = Kinematics(self.model, names, frames=bodies).transforms(torch.from_numpy(q))
        return [placed[b].shift_mm.numpy() / 1000 for b in bodies]


def read_gait(name: str) -> Gait:
    """One of ``RECORDINGS``, 100 Hz.  Raises DataMissing, StoError, OsimError."""
    model = read_osim(locate(DATA, "model/gait2392.osim.gz"))
    emg, ik, moments, forces = (
        locate(DATA, f"{name}/{file}") for file in ("emgFilt.sto", "ik.sto", "id.sto", "XLD.mot")
    )
    return Gait(
        name=name,
        model=model,
        emg=table(emg),
        angles=angle_table(ik, model),
        moments=table(moments),
        forces=table(forces),
    )


def table(path: Path) -> Table:
    """An OpenSim table under the name of its folder and file."""
    return Table(f"{path.parent.name}/{path.name}", read_sto(path))


def angle_table(path: Path, model: OsimModel) -> Table:
    """Coordinates in rad or m, by their bare names, as the file's header says they are given."""
    raw = table(path)
    columns = {(c.split("/")[-2] if "/" in c else c): x for c, x in raw.columns.items()}
    if in_degrees(path):
        known = model.coordinates
        turn = {c for c in columns if c in known and known[c].rotational}
        columns = {c: np.deg2rad(x) if c in turn else x for c, x in columns.items()}
    return Table(raw.file, columns)
