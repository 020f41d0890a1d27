"""Every method on one simulated person with one load held out: what ``bench/nmm`` keeps.

NMM reads motion and load of the held-out trials; the others read their surface EMG or their moment
as well, as they need to.  Errors are over the range that the muscle had in all trials of the
person, so that a load that hardly uses a muscle is no division by nearly nothing.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.hill_problem import ALLOWED_ACTIVITY
from models import elbow
from models.physiology import BOUNDS, PER_MUSCLE, Values, at_bounds
from training.fit_nmm import Joint, fit, read_trial
from training.joint_data import JointTrial, elbow_trial
from training.nmm_config import NmmRun
from training.static_optimisation import best_shift, copied, earlier, static_optimisation
from training.synergy import CHEAPER, Method, extrapolate
from training.virtual_measure import measured_of, segment_of
from training.virtual_people import DEEP, person

F64 = NDArray[np.float64]
Json = dict[str, Any]
# By what unmeasured activity is allowed, the reference's last: by it, static optimisation's person.
SYNERGIES = {CHEAPER: "_cheaper", ALLOWED_ACTIVITY: ""}
SETTLE = 30  # samples of a trial before its moment counts: activation finds its way

NEIGHBOURS = {"BRA": ("BIClong", "BICshort"), "TRImed": ("TRIlat",)}


def elbow_joint(name: str) -> Joint:
    """The elbow of a simulated person, whose forearm was weighed."""
    segment = segment_of(name)

    def accelerate(load_kg: torch.Tensor) -> Any:
        return elbow.pendulum(load_kg, segment).acceleration_rad_s2

    muscle = elbow.muscles(torch.zeros(()))
    return Joint(elbow.MUSCLES, muscle, NEIGHBOURS, elbow.paths, accelerate)


def study(name: str, held_kg: float, run: NmmRun) -> Json:
    """All methods on one person, trained without the trials of one load."""
    trials = [elbow_trial(m) for m in measured_of(name)]
    train = [t for t in trials if t.load_kg != held_kg]
    test = [t for t in trials if t.load_kg == held_kg]
    joint = elbow_joint(name)
    span = np.ptp(np.concatenate([t.truth for t in trials]), axis=0)
    return {
        "person": name, "held_kg": held_kg,
        **nmm_part(train, test, joint, run, span),
        "person_true": true_person(name),
        **baselines(train, test, joint, span),
    }  # fmt: skip


def without(name: str, held_kg: float, run: NmmRun, moment_input: bool = True) -> Json:
    """NMM alone, of other settings or from kinematics and load only: what its parts are worth."""
    trials = [elbow_trial(m) for m in measured_of(name)]
    span = np.ptp(np.concatenate([t.truth for t in trials]), axis=0)
    if not moment_input:
        trials = [_blind(t) for t in trials]
    run = replace(run, network=replace(run.network, inputs=trials[0].features.shape[1]))
    train = [t for t in trials if t.load_kg != held_kg]
    test = [t for t in trials if t.load_kg == held_kg]
    found = nmm_part(train, test, elbow_joint(name), run, span)
    return {"person": name, "held_kg": held_kg, "nmm": found["nmm"], "torque": found["torque"]}


def nmm_part(
    train: Sequence[JointTrial], test: Sequence[JointTrial], joint: Joint, run: NmmRun, span: F64
) -> Json:
    """Scores of deep muscles, of envelopes that have an electrode, of torque; and the person."""
    fitted = fit(train, joint, run)
    read = [read_trial(fitted, t) for t in test]
    said = [r[0] for r in read]
    shown = [replace(t, truth=t.envelope) for t in test]  # electrodes have gains
    top = np.ptp(np.concatenate([t.envelope for t in (*train, *test)]), axis=0)
    values = fitted.model.person()
    return {
        "nmm": scores(joint.names, said, test, span, DEEP),
        "surface": scores(joint.names, said, shown, top, _surface(joint.names)),
        "torque": moment_score([r[1] for r in read], test),
        "seconds": fitted.seconds,
        "person_found": plain(values),
        "at_bounds": {n: hit for n, hit in at_bounds(values).items() if any(hit)},
    }


def baselines(
    train: Sequence[JointTrial], test: Sequence[JointTrial], joint: Joint, span: F64
) -> Json:
    """Scores of synergies, of static optimisation and of copies, on the deep muscles."""
    out: Json = {}
    for allowed, label in SYNERGIES.items():
        methods: tuple[Method, ...] = ("nmf", "pca")
        for method in methods:
            began = time.monotonic()
            found = extrapolate(train, joint.muscle, joint.names, method, allowed_activity=allowed)
            scored = scores(joint.names, [found(t) for t in test], test, span, DEEP)
            scored["synergies"] = len(found.synergies.weights)
            scored["seconds"] = time.monotonic() - began
            out[f"{method}{label}"] = scored
    # Static optimisation gets the person that the last extrapolation found, and the best delay.
    values = found.person.values
    shift = best_shift(train, [static_optimisation(t, joint.muscle, values)[0] for t in train])
    said = [earlier(static_optimisation(t, joint.muscle, values)[0], shift) for t in test]
    out["static"] = scores(joint.names, said, test, span, DEEP)
    said = [copied(t, joint.names, joint.neighbours) for t in test]
    out["copy"] = scores(joint.names, said, test, span, DEEP)
    return out


def scores(
    names: Sequence[str], said: Sequence[F64], test: Sequence[JointTrial], span: F64,
    muscles: Sequence[str],
) -> Json:  # fmt: skip
    """``r`` and ``nrmse`` of each of ``muscles``, over all test trials together."""
    got, truth = np.concatenate(said), np.concatenate([t.truth for t in test])
    result: Json = {}
    for m in muscles:
        i = names.index(m)
        error = np.sqrt(np.mean((got[:, i] - truth[:, i]) ** 2)) / span[i]
        result[m] = {"r": correlation(got[:, i], truth[:, i]), "nrmse": round(float(error), 4)}
    return result


def correlation(a: F64, b: F64) -> float:
    """Pearson's r; 0 where one of them does not move."""
    if a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return round(float(np.corrcoef(a, b)[0, 1]), 4)


def moment_score(said: Sequence[F64], test: Sequence[JointTrial]) -> Json:
    """RMSE in N m and in per cent of the greatest moment of the test trials, and R2."""
    got = np.concatenate([s[SETTLE:] for s in said])
    true = np.concatenate([t.moment_nm[SETTLE:] for t in test])
    error = float(np.sqrt(np.mean((got - true) ** 2)))
    return {
        "rmse_nm": round(error, 4),
        "rmse_pct": round(100 * error / float(np.abs(true).max()), 3),
        "r2": round(1 - error**2 / float(true.var()), 4),
    }


def true_person(name: str) -> Json:
    """What the fit should find, as far as the simulation has the same parameter."""
    p = person(name)
    return {
        "f_max": _plain(p.body.f_max), "l_opt": _plain(p.body.l_opt),
        "l_slack": _plain(p.body.l_slack), "gain": _plain(p.electrodes.gain),
        "rise_s": round(p.body.rise_s, 5), "delay_s": round(p.electrodes.delay_s, 5),
        "damping_nm_s": round(p.body.damping_nm_s, 5),
    }  # fmt: skip


def recovery(results: Sequence[Mapping[str, Any]]) -> Json:
    """RMSE of each parameter over people, folds and muscles, beside that of knowing nothing but
    what is usual; gains only of muscles with an electrode."""
    out: Json = {}
    keep = [i for i, m in enumerate(elbow.MUSCLES) if m not in DEEP]
    for name in results[0]["person_true"]:
        found, true = (
            np.array([r[k][name] for r in results]) for k in ("person_found", "person_true")
        )
        if name == "gain":
            found, true = found[:, keep], true[:, keep]
        out[name] = {
            "rmse": round(float(np.sqrt(np.mean((found - true) ** 2))), 5),
            "usual": round(float(np.sqrt(np.mean((BOUNDS[name].expect - true) ** 2))), 5),
            "per_muscle": name in PER_MUSCLE,
        }
    return out


def _blind(t: JointTrial) -> JointTrial:
    """Without its last feature, which is the moment."""
    return replace(t, features=t.features[:, :-1], features_per_kg=t.features_per_kg[:, :-1])


def _surface(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(n for n in names if n not in DEEP)


def plain(values: Values) -> Json:
    """Parameters by name, for JSON."""
    return {n: _plain(getattr(values, n)) for n in BOUNDS}


def _plain(x: Any) -> Any:
    values = np.asarray(x.detach() if isinstance(x, torch.Tensor) else x, dtype=np.float64)
    return np.round(values, 5).tolist()
