"""One's own trials of one joint, listed in a TOML file, as every method here reads them.

Tables are OpenSim's (``.sto``, ``.mot``, gzipped or not): a motion with the joint's angle,
envelopes of EMG over MVC named as muscles, and the joint's moment from inverse dynamics.  Without
a model file the joint is the elbow of ``models/elbow.py``, whose moment may be left out: forearm
and load make it.  docs/muscle-model.md shows a file.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge.config import parse_toml
from training.fit_nmm import Joint
from training.joint_data import F64, JointTrial
from training.joint_geometry import smooth
from training.own_checks import (
    TrialsError,
    check_electrodes,
    check_pull,
    check_sides,
    check_weight,
    finite,
)
from training.own_joint import JointFile, OwnJoint, open_joint
from training.sto import in_degrees, read_sto

RATE_HZ = 100.0
SPARE_RAD = 0.1  # beyond the joint's range
LEAST_S = 1.5


@dataclass(frozen=True)
class Neighbour:
    """A muscle without an electrode, and the measured ones it is most like."""

    muscle: str
    of: tuple[str, ...]


@dataclass(frozen=True)
class TrialFile:
    """One trial's tables, relative to the TOML file."""

    motion: str
    emg: str
    moment: str = ""
    load_kg: float = 0.0


@dataclass(frozen=True)
class TrialsFile:
    """The whole list."""

    joint: JointFile = field(default_factory=JointFile)
    neighbours: tuple[Neighbour, ...] = ()
    trials: tuple[TrialFile, ...] = ()


def load_own(path: Path) -> tuple[list[JointTrial], Joint]:
    """Trials and their joint.  Raises ConfigError, TrialsError, StoError, OsimError."""
    spec = parse_toml(TrialsFile, path.read_text(encoding="utf-8"), str(path))
    if not spec.trials:
        raise TrialsError(f"{path} lists no trials: add [[trials]] with motion and emg")
    names = spec.joint.names
    like = {n.muscle: n.of for n in spec.neighbours}
    if unknown := {m for a, of in like.items() for m in (a, *of)} - set(names):
        raise TrialsError(f"neighbours name {sorted(unknown)}; muscles are {', '.join(names)}")
    own = open_joint(spec.joint, path.parent)
    trials = [_trial(own, t, path.parent) for t in spec.trials]
    # A moment that was measured may be that of a machine which moves the arm.
    joint = own.shared(like, free=not any(t.moment for t in spec.trials))
    check_electrodes(trials, joint)
    check_pull(trials, [", ".join(filter(None, (t.moment, t.emg))) for t in spec.trials], joint)
    return trials, joint


def _trial(own: OwnJoint, t: TrialFile, folder: Path) -> JointTrial:
    coordinate, names = own.spec.coordinate, own.spec.names
    motion = read_sto(folder / t.motion)
    emg = read_sto(folder / t.emg)
    if coordinate not in motion:
        raise TrialsError(f"{t.motion} has no column {coordinate}: {sorted(motion)[:8]}")
    tables = [motion, emg]
    if t.moment:
        tables.append(read_sto(folder / t.moment))
    start, stop = max(x["time"][0] for x in tables), min(x["time"][-1] for x in tables)
    if stop - start < LEAST_S:
        raise TrialsError(
            f"{t.motion}, {t.emg}: only {max(stop - start, 0):.1f} s in common; are both clocks "
            "in seconds from the same zero?"
        )
    at = np.arange(start, stop, 1 / RATE_HZ)
    scale = np.deg2rad(1.0) if in_degrees(folder / t.motion) else 1.0
    moving = {
        c: smooth(np.interp(at, motion["time"], finite(t.motion, c, motion[c])) * scale, RATE_HZ)
        for c in own.moving(motion)
    }
    angle = moving[coordinate]
    _check_range(t.motion, angle.angle_rad, own.range_rad)
    geometry = own.along(moving)
    check_sides(coordinate, own.spec.towards, names, geometry)
    acceleration = np.gradient(angle.speed_rad_s) * RATE_HZ
    weight_nm, empty, one = (own.moment_nm(angle, acceleration, kg) for kg in (t.load_kg, 0.0, 1.0))
    nothing, loads = np.zeros(len(at)), np.full(len(at), t.load_kg)
    per_kg = nothing if empty is None or one is None else one - empty
    moment_nm = weight_nm
    if t.moment:
        column = f"{coordinate}_moment"
        if column not in tables[2]:
            raise TrialsError(f"{t.moment} has no column {column}: {sorted(tables[2])[:8]}")
        moment_nm = np.interp(at, tables[2]["time"], finite(t.moment, column, tables[2][column]))
        check_weight(t.moment, moment_nm, weight_nm)
    if moment_nm is None:
        raise TrialsError(f"{t.motion}: a model from a file needs moment = inverse dynamics")
    envelope = _envelopes(t, emg, at, names)
    return JointTrial(
        name=_name(t.motion), load_kg=t.load_kg, rate_hz=RATE_HZ,
        features=np.stack([*angle, acceleration, loads, moment_nm], 1),
        angle_rad=angle.angle_rad, speed_rad_s=angle.speed_rad_s, moment_nm=moment_nm,
        length_mm=geometry.length_mm, arm_mm=geometry.arm_mm, path_mm_s=geometry.path_mm_s,
        envelope=envelope, truth=np.full_like(envelope, np.nan),
        features_per_kg=np.stack([nothing, nothing, nothing, nothing + (per_kg.any()), per_kg], 1),
        moment_per_kg=per_kg, start_s=float(start),
    )  # fmt: skip


def _check_range(file: str, x: F64, range_rad: tuple[float, float]) -> None:
    low, high = range_rad
    if x.min() < low - SPARE_RAD or x.max() > high + SPARE_RAD:
        raise TrialsError(
            f"{file}: {x.min():.2f} to {x.max():.2f} rad, but the joint goes from {low:.2f} to "
            f"{high:.2f}: degrees taken for radians, or another sign? correct inDegrees or the file"
        )


def _name(motion: str) -> str:
    """A trial's, for files: its path without what differs in nothing."""
    return motion.removesuffix(".gz").rpartition(".")[0].strip("./").replace("/", "_")


def _envelopes(t: TrialFile, emg: dict[str, F64], at: F64, names: tuple[str, ...]) -> F64:
    """NaN columns for muscles without an electrode."""
    measured = [n for n in names if n in emg]
    if not measured:
        raise TrialsError(f"{t.emg} has none of {', '.join(names)}: name columns as muscles")
    out = np.full((len(at), len(names)), np.nan)
    for n in measured:
        out[:, names.index(n)] = np.interp(at, emg["time"], finite(t.emg, n, emg[n]))
    top = np.nanmax(out)
    if top > 2.0 or np.nanmin(out) < -0.05:
        raise TrialsError(
            f"{t.emg}: envelopes from {np.nanmin(out):.2f} to {top:.2f}: rectify, filter and "
            "divide by MVC first, so that they are 0..1"
        )
    return np.where(np.isnan(out), np.nan, out.clip(min=0.0))
