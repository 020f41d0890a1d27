"""One's own trials of one joint, listed in a TOML file, as every method here reads them.

Tables are OpenSim's (``.sto``, ``.mot``, gzipped or not): a motion with the joint's angle,
envelopes of EMG over MVC named as muscles, and the joint's moment from inverse dynamics.  Without
a model file the joint is the elbow of ``models/elbow.py``, whose moment may be left out: forearm
and load make it.  docs/muscle-model.md shows a file.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from edge.config import parse_toml
from models import elbow
from models.muscle_set import muscle_set
from models.opensim_import import read_osim
from training.fit_nmm import Joint
from training.joint_data import F64, JointTrial
from training.joint_geometry import Along, Motion, along, smooth
from training.sto import in_degrees, read_sto

RATE_HZ = 100.0
SPARE_RAD = 0.1  # beyond the joint's range
LEAST_S = 1.5
USUAL_FOREARM_KG = 1.534315


class TrialsError(ValueError):
    """Trials that do not fit the model or each other; the message names file and remedy."""


@dataclass(frozen=True)
class JointFile:
    """Which joint: empty = the elbow."""

    osim: str = ""
    coordinate: str = "r_elbow_flex"
    towards: tuple[str, ...] = elbow.MUSCLES[3:]  # muscles that pull to larger angles
    away: tuple[str, ...] = elbow.MUSCLES[:3]
    forearm_kg: float = USUAL_FOREARM_KG  # of the elbow: forearm and hand


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
    names = (*spec.joint.away, *spec.joint.towards)
    joint = _joint(spec, names, path.parent)
    trials = [_trial(spec, t, names, path.parent) for t in spec.trials]
    _check_electrodes(trials, joint)
    return trials, joint


def _check_electrodes(trials: list[JointTrial], joint: Joint) -> None:
    """Every muscle is measured in all trials, or has measured neighbours."""
    missing = [
        {n for n, x in zip(joint.names, t.envelope.T, strict=True) if np.isnan(x).all()}
        for t in trials
    ]
    if any(m != missing[0] for m in missing):
        raise TrialsError("all trials need the same electrodes: columns of EMG differ between them")
    bare = missing[0]
    if alone := sorted(bare - set(joint.neighbours)):
        raise TrialsError(
            f"{', '.join(alone)}: no column of EMG; say in [[neighbours]] who is alike"
        )
    for muscle, of in joint.neighbours.items():
        if muscle not in bare:
            raise TrialsError(f"{muscle} has EMG of its own: take it out of [[neighbours]]")
        if not of or set(of) & bare:
            raise TrialsError(f"[[neighbours]] of {muscle} must have EMG, {list(of)} have not all")


def _name(motion: str) -> str:
    """A trial's, for files: its path without what differs in nothing."""
    return motion.removesuffix(".gz").rpartition(".")[0].strip("./").replace("/", "_")


def _finite(file: str, name: str, x: F64) -> F64:
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x))[0])
        raise TrialsError(f"{file}, column {name}: row {row} is {x[row]}: leave it out or fill it")
    return x


def _joint(spec: TrialsFile, names: tuple[str, ...], folder: Path) -> Joint:
    like = {n.muscle: n.of for n in spec.neighbours}
    if unknown := {m for a, of in like.items() for m in (a, *of)} - set(names):
        raise TrialsError(f"neighbours name {sorted(unknown)}; muscles are {', '.join(names)}")
    if spec.joint.osim:
        model = read_osim(folder / spec.joint.osim)
        return Joint(names, muscle_set(model, names), like)
    if unknown := set(names) - set(elbow.MUSCLES):
        raise TrialsError(
            f"the elbow has no {sorted(unknown)}: name joint.osim, or use its muscles"
        )
    order = [elbow.MUSCLES.index(n) for n in names]
    generic = elbow.muscles(torch.zeros(()))
    return Joint(names, type(generic)(*(m[order] for m in generic)), like)


def _trial(spec: TrialsFile, t: TrialFile, names: tuple[str, ...], folder: Path) -> JointTrial:
    coordinate = spec.joint.coordinate
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
    angle = smooth(
        np.interp(at, motion["time"], _finite(t.motion, coordinate, motion[coordinate])) * scale,
        RATE_HZ,
    )
    geometry, per_kg, weight_nm = _geometry(spec, angle, names, folder, t)
    moment_nm = weight_nm
    if t.moment:
        column = f"{coordinate}_moment"
        if column not in tables[2]:
            raise TrialsError(f"{t.moment} has no column {column}: {sorted(tables[2])[:8]}")
        moment_nm = np.interp(at, tables[2]["time"], _finite(t.moment, column, tables[2][column]))
        _check_sign(t, moment_nm, weight_nm)
    if moment_nm is None:
        raise TrialsError(f"{t.motion}: a model from a file needs moment = inverse dynamics")
    envelope = _envelopes(t, emg, at, names)
    n, loads = len(at), np.full(len(at), t.load_kg)
    acceleration = np.gradient(angle.speed_rad_s) * RATE_HZ
    nothing = np.zeros(n)
    return JointTrial(
        name=_name(t.motion), load_kg=t.load_kg, rate_hz=RATE_HZ,
        features=np.stack(
            [angle.angle_rad, angle.speed_rad_s, acceleration, loads, moment_nm], 1
        ),
        angle_rad=angle.angle_rad, speed_rad_s=angle.speed_rad_s, moment_nm=moment_nm,
        length_mm=geometry.length_mm, arm_mm=geometry.arm_mm, path_mm_s=geometry.path_mm_s,
        envelope=envelope, truth=np.full_like(envelope, np.nan),
        features_per_kg=np.stack([nothing, nothing, nothing, nothing + (per_kg.any()), per_kg], 1),
        moment_per_kg=per_kg,
    )  # fmt: skip


def _geometry(
    spec: TrialsFile, angle: Motion, names: tuple[str, ...], folder: Path, t: TrialFile
) -> tuple[Along, F64, F64 | None]:
    """Paths, what a kilogram adds to the moment, and the moment where bodies are known."""
    low, high = elbow.RANGE_RAD
    if spec.joint.osim:
        model = read_osim(folder / spec.joint.osim)
        low, high = model.coordinate(spec.joint.coordinate).range
    x = angle.angle_rad
    if x.min() < low - SPARE_RAD or x.max() > high + SPARE_RAD:
        raise TrialsError(
            f"{t.motion}: {x.min():.2f} to {x.max():.2f} rad, but the joint goes from {low:.2f} to "
            f"{high:.2f}: degrees taken for radians, or another sign? correct inDegrees or the file"
        )
    if spec.joint.osim:
        geometry = along(model, names, {spec.joint.coordinate: angle}, spec.joint.coordinate)
        _check_sides(spec, names, geometry)
        return geometry, np.zeros_like(x), None
    q, v = torch.from_numpy(x), torch.from_numpy(angle.speed_rad_s)
    a = torch.from_numpy(np.gradient(angle.speed_rad_s) * RATE_HZ)
    plain = elbow.Segment()
    scale = spec.joint.forearm_kg / USUAL_FOREARM_KG
    inertia = tuple(i * scale for i in plain.inertia_kg_m2)
    segment = elbow.Segment(spec.joint.forearm_kg, plain.centre_m, inertia)
    empty, one, held = (
        elbow.inverse_dynamics_nm(q, v, a, kg, segment).numpy() for kg in (0.0, 1.0, t.load_kg)
    )
    order = [elbow.MUSCLES.index(n) for n in names]
    length, arm = (y.numpy()[:, order] for y in elbow.paths(q))
    geometry = Along(length, arm, -arm * angle.speed_rad_s[:, None])
    _check_sides(spec, names, geometry)
    return geometry, one - empty, held


def _check_sides(spec: TrialsFile, names: tuple[str, ...], g: Along) -> None:
    for i, name in enumerate(names):
        wanted = 1 if name in spec.joint.towards else -1
        arm_mm = float(np.median(g.arm_mm[:, i]))
        if arm_mm * wanted <= 0:
            raise TrialsError(
                f"{name} has a moment arm of {arm_mm:.1f} mm about {spec.joint.coordinate}, but is "
                f"listed as pulling it {'towards' if wanted > 0 else 'away'}: wrong sign "
                "convention in the model, or in joint.towards and joint.away"
            )


def _check_sign(t: TrialFile, moment_nm: F64, weight_nm: F64 | None) -> None:
    """A moment that goes against what forearm and load ask for has the other sign."""
    if weight_nm is not None and np.corrcoef(moment_nm, weight_nm)[0, 1] < 0:
        raise TrialsError(
            f"{t.moment} goes against what forearm and load weigh: another sign convention? "
            "flexion is positive here"
        )


def _envelopes(t: TrialFile, emg: dict[str, F64], at: F64, names: tuple[str, ...]) -> F64:
    """NaN columns for muscles without an electrode."""
    measured = [n for n in names if n in emg]
    if not measured:
        raise TrialsError(f"{t.emg} has none of {', '.join(names)}: name columns as muscles")
    out = np.full((len(at), len(names)), np.nan)
    for n in measured:
        out[:, names.index(n)] = np.interp(at, emg["time"], _finite(t.emg, n, emg[n]))
    top = np.nanmax(out)
    if top > 2.0 or np.nanmin(out) < -0.05:
        raise TrialsError(
            f"{t.emg}: envelopes from {np.nanmin(out):.2f} to {top:.2f}: rectify, filter and "
            "divide by MVC first, so that they are 0..1"
        )
    return np.where(np.isnan(out), np.nan, out.clip(min=0.0))
