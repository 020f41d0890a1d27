"""What two minutes of calibration are worth: held-out participants before and after.

Each held-out participant of a cross-validation is personalised from the calibration routine, with a
prior from the other participants, and judged on the session.  Two kinds of knowledge: what a clinic
has (``clinic``: an encoder, a dynamometer in the pushes, rest and MVC as such) and what the
laboratory has (``measured``: every target at every picture).
The participants are simulated; so is every figure.  The networks behind the other participants'
estimates have seen this one, but of them only the strengths of the shrinkage are taken.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.last_layer import fit_last_layer
from calibration.phases import MVC, PASSIVE, PHASES, REST, CalibrationError, Interval
from calibration.prior import Prior, Taught, learn
from calibration.routine import PLATEAU, Routine, check, references
from calibration.subject import SubjectMap, fit, identity
from firmware_bridge.types import Output
from training.cohort.person import Cohort
from training.cohort.protocol import MOTION_S, MVC_S, PUSHES, REST_S
from training.crossval_results import fold_arrays
from training.metrics import Accuracy, accuracy, calibration_error

F64 = NDArray[np.float64]

STATE = (
    Output("ankle_angle", "deg"),
    Output("emg", "share"),
    Output("ankle_moment", "N m"),
)
VARIANTS = ("none", "affine clinic", "affine measured", "last layer measured")
LAYER_S = (math.inf, 3e4, 1e4, 3e3, 1e3, 300.0, 100.0, 30.0)  # strengths to choose from


@dataclass(frozen=True)
class Seen:
    """What the network, which had not seen this person, said of pictures, and the truth."""

    t_s: F64  # (n,)
    values: F64  # (n, outputs)
    sd: F64  # (n, outputs)
    truth: F64  # (n, outputs)
    features: F64  # (n, features) of the last layer


@dataclass(frozen=True)
class Held:
    """A held-out participant."""

    person: int
    routine: Seen
    flagged: NDArray[np.bool_]  # (n,) pictures of the routine that the network does not know
    session: Seen


@dataclass(frozen=True)
class Row:
    """One output of one participant's session under one variant."""

    person: int
    output: str
    variant: str
    accuracy: Accuracy
    rmse: float
    ece: float  # expected calibration error
    gain: float  # NaN for the last layer
    offset: float
    refused: str  # why the routine was refused: then nothing was changed


def held_people(folder: Path, folds: Sequence[int], session: Cohort, routine: Cohort) -> list[Held]:
    """From a cross-validation's folder and the cohorts it was made with.

    Raises FileNotFoundError for folds that are not there, KeyError for a cross-validation without
    routine, ValueError for other cohorts.
    """
    a = fold_arrays(folder, folds)
    parts = {p: _seen(a, p, c) for p, c in (("", session), ("routine_", routine))}
    found = []
    for person in np.unique(a["person"]).tolist():
        rows = np.flatnonzero(a["routine_person"] == person)
        order = rows[np.argsort(parts["routine_"].t_s[rows], kind="stable")]
        found.append(Held(
            person,
            _rows(parts["routine_"], order),
            a["routine_gate"][order] >= 0.5,
            _rows(parts[""], np.flatnonzero(a["person"] == person)),
        ))  # fmt: skip
    return found


def compare(people: Sequence[Held], outputs: Sequence[Output] = STATE) -> list[Row]:
    """Every variant of every participant's every output, in that order of nesting.

    Raises CalibrationError for fewer than four people: three are needed to teach the fourth.
    """
    layers = _layer_errors(people, outputs)
    rows = []
    for k, held in enumerate(people):
        others = [*people[:k], *people[k + 1 :]]
        activity = _activity(others, outputs)
        rows += _judge(held, outputs, VARIANTS[0], held.session.values, _nothing(outputs), "")
        for variant in VARIANTS[1:3]:
            routines = [
                clinic(p, outputs, activity) if "clinic" in variant else measured(p, outputs)
                for p in (held, *others)
            ]
            prior = _prior(others, routines[1:], outputs, activity)
            m, refused = _map(routines[0], prior)
            after = np.array(m.gain) * held.session.values + np.array(m.offset)
            rows += _judge(held, outputs, variant, after, m, refused)
        strength = LAYER_S[int(np.argmin(np.delete(layers, k, axis=0).mean(axis=0)))]
        after, refused = _turned(held, outputs, strength)
        rows += _judge(held, outputs, VARIANTS[3], after, None, refused)
    return rows


def shipped_prior(people: Sequence[Held], outputs: Sequence[Output] = STATE) -> Prior:
    """What a bundle's ``personal.json`` says: the prior of the clinic's routine, from everybody."""
    activity = _activity(people, outputs)
    return _prior(people, [clinic(p, outputs, activity) for p in people], outputs, activity)


def simulated_phases() -> tuple[Interval, ...]:
    """What somebody with a stopwatch writes down of ``training.cohort.protocol.routine``."""
    starts_s = [REST_S + MVC_S / PUSHES * k for k in range(PUSHES)]
    pushes = [Interval(s + 1, s + 6, MVC) for s in starts_s]
    end_s = REST_S + MVC_S + MOTION_S
    return Interval(0, REST_S, REST), *pushes, Interval(REST_S + MVC_S, end_s, PASSIVE)


def clinic(p: Held, outputs: Sequence[Output], activity: tuple[float, float]) -> Routine:
    """The routine with what a clinic knows; ``activity``: what rest and MVC usually are."""
    angle, moment = (_column(p.routine.truth, outputs, unit) for unit in ("deg", "N m"))
    intervals = []
    for i in simulated_phases():
        if i.phase == MVC and moment is not None:
            edge_s = (1 - PLATEAU) / 2 * (i.end_s - i.start_s)
            t_s = p.routine.t_s
            plateau = (t_s >= i.start_s + edge_s) & (t_s <= i.end_s - edge_s)
            if plateau.any():
                i = replace(i, moment_nm=float(moment[plateau].mean()))
        intervals.append(i)
    phase, known = references(p.routine.t_s, intervals, outputs, angle_deg=angle, activity=activity)
    return _routine(p, phase, known)


def measured(p: Held, outputs: Sequence[Output]) -> Routine:
    """The routine with every target known at every picture."""
    phase, _ = references(p.routine.t_s, simulated_phases(), outputs)
    return _routine(p, phase, p.routine.truth)


def means(rows: Sequence[Row]) -> dict[tuple[str, str], tuple[Accuracy, Accuracy]]:
    """Mean and SD (n - 1) of the accuracies over participants, by output and variant."""
    found: dict[tuple[str, str], list[Accuracy]] = {}
    for r in rows:
        found.setdefault((r.output, r.variant), []).append(r.accuracy)
    return {
        key: (Accuracy(*np.mean(each, axis=0)), Accuracy(*np.std(each, axis=0, ddof=1)))
        for key, each in found.items()
    }


def _routine(p: Held, phase: NDArray[np.int8], known: F64) -> Routine:
    s = p.routine
    return Routine(s.t_s, phase, s.values, s.sd, known, p.flagged)


def _activity(people: Sequence[Held], outputs: Sequence[Output]) -> tuple[float, float]:
    """Mean activity at rest and in MVC of ``people``."""
    units = [k for k, o in enumerate(outputs) if o.unit in ("1", "share")]
    if not units:
        return 0.0, 1.0
    level = {REST: [], MVC: []}  # type: dict[str, list[float]]
    for p in people:
        r = measured(p, outputs)
        for name, found in level.items():
            rows = r.phase == PHASES.index(name)
            if rows.any():
                found.append(float(r.references[rows, units[0]].mean()))
    return float(np.mean(level[REST])), float(np.mean(level[MVC]))


def _prior(
    people: Sequence[Held],
    routines: Sequence[Routine],
    outputs: Sequence[Output],
    activity: tuple[float, float],
) -> Prior:
    taught = []
    for p, r in zip(people, routines, strict=True):
        try:
            check(r)
        except CalibrationError:  # nobody would be personalised from it: it teaches nothing
            continue
        taught.append(Taught(r, p.session.values, p.session.sd, p.session.truth))
    return learn([o.name for o in outputs], taught, activity)


def _map(r: Routine, prior: Prior) -> tuple[SubjectMap, str]:
    try:
        return fit(r, prior, "held out", "cross-validation", ""), ""
    except CalibrationError as e:
        return identity(prior.outputs, "held out", "cross-validation", ""), str(e)


def _layer_errors(people: Sequence[Held], outputs: Sequence[Output]) -> F64:
    """Mean squared session error in variances of the truth: ``(people, strengths)``."""
    spread = np.concatenate([p.session.truth for p in people]).std(axis=0)
    return np.array([
        [
            np.mean(((_turned(p, outputs, s)[0] - p.session.truth) / spread) ** 2)
            for s in LAYER_S
        ]
        for p in people
    ])  # fmt: skip


def _turned(p: Held, outputs: Sequence[Output], strength_s: float) -> tuple[F64, str]:
    try:
        layer = fit_last_layer(measured(p, outputs), p.routine.features, strength_s)
    except CalibrationError as e:
        return p.session.values, str(e)
    return layer.apply(p.session.values, p.session.features), ""


def _judge(
    p: Held,
    outputs: Sequence[Output],
    variant: str,
    values: F64,
    m: SubjectMap | None,
    refused: str,
) -> list[Row]:
    sd = p.session.sd if m is None else p.session.sd * np.array(m.sd_gain)
    ece = calibration_error(values, sd, p.session.truth)
    error = values - p.session.truth
    return [
        Row(
            p.person, o.name, variant, accuracy(values[:, k], p.session.truth[:, k]),
            float(np.sqrt(np.mean(error[:, k] ** 2))), float(ece[k]),
            math.nan if m is None else m.gain[k], math.nan if m is None else m.offset[k], refused,
        )
        for k, o in enumerate(outputs)
    ]  # fmt: skip


def _nothing(outputs: Sequence[Output]) -> SubjectMap:
    return identity([o.name for o in outputs], "held out", "cross-validation", "")


def _column(truth: F64, outputs: Sequence[Output], unit: str) -> F64 | None:
    return next((truth[:, k] for k, o in enumerate(outputs) if o.unit == unit), None)


def _seen(a: dict[str, NDArray[np.float32]], prefix: str, cohort: Cohort) -> Seen:
    rows = a[prefix + "rows"]
    if not np.array_equal(cohort.person[rows], a[prefix + "person"]):
        raise ValueError("the cohort is not the one that was cross-validated: generate it again")
    names = ("values", "sd", "truth", "features")
    return Seen(
        cohort.t_s[rows].astype(np.float64),
        *(a[prefix + name].astype(np.float64) for name in names),
    )


def _rows(s: Seen, rows: NDArray[np.intp]) -> Seen:
    return Seen(s.t_s[rows], s.values[rows], s.sd[rows], s.truth[rows], s.features[rows])
