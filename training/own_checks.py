"""Do one's own trials mean what the files say?  Electrodes, sides, signs, units, holes.

What is checked must hold for anybody, so that a file with another convention is an error with a
name and a remedy, not a person with strange muscles.
"""

from collections.abc import Sequence

import numpy as np
import torch

from models.hill_joint import Geometry, activation, excitation, forces_n
from models.muscle import Muscle
from models.physiology import Physiology, Values
from training.fit_nmm import Joint
from training.joint_data import F64, JointTrial
from training.joint_geometry import Along
from training.static_optimisation import copied

SETTLE_S = 0.3  # of a trial: activation is still finding its way
AGAINST = -0.2  # correlation below which a single trial goes against its muscles


class TrialsError(ValueError):
    """Trials that do not fit the model or each other; the message names file and remedy."""


def check_electrodes(trials: Sequence[JointTrial], joint: Joint) -> None:
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


def check_sides(coordinate: str, towards: Sequence[str], names: Sequence[str], g: Along) -> None:
    """Muscles are on the side of the joint that the list says."""
    for name, arm in zip(names, g.arm_mm.T, strict=True):
        wanted, arm_mm = (1 if name in towards else -1), float(np.median(arm))
        if arm_mm * wanted <= 0:
            raise TrialsError(
                f"{name} has a moment arm of {arm_mm:.1f} mm about {coordinate}, but is "
                f"listed as pulling it {'towards' if wanted > 0 else 'away'}: wrong sign "
                "convention in the model, or in joint.towards and joint.away"
            )


def check_weight(file: str, moment_nm: F64, weight_nm: F64 | None) -> None:
    """A moment that goes against what forearm and load ask for has the other sign."""
    if weight_nm is not None and np.corrcoef(moment_nm, weight_nm)[0, 1] < 0:
        raise TrialsError(
            f"{file} goes against what forearm and load weigh: another sign convention? "
            "flexion is positive here"
        )


def check_pull(trials: Sequence[JointTrial], files: Sequence[str], joint: Joint) -> None:
    """Moments rise and fall with what the muscles' envelopes and moment arms give.

    ``files`` name what each trial's moment and envelopes were read from.  A usual person in place
    of the real one is enough for a sign; one trial in which little happens may say nothing, so it
    is refused alone only where it clearly goes against its muscles, else all together decide.
    """
    settle = round(SETTLE_S * trials[0].rate_hz)
    wanted = [t.moment_nm[settle:] for t in trials]
    given = [usual_moment_nm(t, joint)[settle:] for t in trials]
    for file, w, g in zip(files, wanted, given, strict=True):
        _check_likeness(file, w, g, AGAINST)
    _check_likeness("; ".join(files), np.concatenate(wanted), np.concatenate(given), 0.0)


def usual_moment_nm(t: JointTrial, joint: Joint) -> F64:
    """Moment ``(n,)`` of a person with the generic muscles, unmeasured ones like neighbours."""
    values = Values(*(v.detach().double() for v in Physiology(len(joint.names))()))
    envelope = torch.from_numpy(copied(t, joint.names, joint.neighbours))
    a = activation(excitation(envelope, values, t.rate_hz), values, t.rate_hz)
    g = Geometry(*(torch.from_numpy(x) for x in (t.length_mm, t.arm_mm, t.path_mm_s)))
    muscle = Muscle(*(m.double() for m in joint.muscle))
    return (forces_n(muscle, values, a, g) * g.arm_mm).sum(-1).numpy() / 1000


def _check_likeness(files: str, wanted: F64, given: F64, least: float) -> None:
    if min(np.ptp(wanted), np.ptp(given)) < 1e-9:
        return  # what never moves has no sign
    r = float(np.corrcoef(wanted, given)[0, 1])
    if r < least:
        raise TrialsError(
            f"{files}: the moment falls where the muscles' envelopes and moment arms make it rise "
            f"(r = {r:.2f}): wrong sign convention? turn the sign of the moment's column; or "
            "flexors and extensors have changed places in the EMG's columns"
        )


def finite(file: str, name: str, x: F64) -> F64:
    """The same, if it has no holes."""
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x))[0])
        raise TrialsError(f"{file}, column {name}: row {row} is {x[row]}: leave it out or fill it")
    return x
