"""Two recordings that cannot score deep muscles, and what they can show: a part of ``bench.nmm``.

``walk_emg_ik_id_moco`` is one stride, with muscle paths and an EMG over its own maxima: here the
activations that static optimisation needs for its ankle moment are laid beside its EMG, and a
person is fitted to all of it; nothing is left to test on.  ``lift_back_emg_ik_id`` has two loads
but no muscle paths: what envelopes say of each other and of the moment, learned at one load and
asked at the other, where technique is another one, too.  Seconds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import nnls

from bench.part import Part, number
from calibration.physiology import identify
from models.physiology import BOUNDS, Physiology, Values
from training import lift_back, walk_moco
from training.joint_data import F64, JointTrial
from training.nmm_study import correlation
from training.static_optimisation import earlier, static_optimisation
from training.synergy import effort
from training.trial_views import time_split
from training.virtual_sensor import learn

EXTENSORS = lift_back.MUSCLES[2:]
Rows = list[tuple[str, ...]]


def recordings_part() -> Part:
    """Both of them.  Raises DataMissing."""
    walk, walked = _stride()
    lift, lifted = _lifting()
    return Part(
        "one real stride, real lifting: what they can show", ("r", "error"),
        [*walk, *lift], {"real_stride": walked, "real_lifting": lifted},
    )  # fmt: skip


def _stride() -> tuple[Rows, dict[str, Any]]:
    """EMG beside static optimisation of a usual person; the moment beside the person's best fit."""
    t, joint = walk_moco.stride(), walk_moco.ankle()
    usual = Values(*(v.detach().double() for v in Physiology(len(joint.names))()))
    needed, left_nm = static_optimisation(t, joint.muscle, usual)
    said = earlier(needed, round(BOUNDS["delay_s"].expect * t.rate_hz))
    r = {m: correlation(said[:, i], t.envelope[:, i]) for i, m in enumerate(joint.names)}
    found = identify([effort(t)], joint.muscle, joint.names, t.rate_hz)
    span_nm, hits = float(np.ptp(t.moment_nm)), sum(p.at_bound for p in found.parameters)
    rows: Rows = [
        *((f"stride: EMG beside static optimisation, {m}", number(x)) for m, x in r.items()),
        ("... ankle moment that it could not make: greatest", "",
         f"{np.abs(left_nm).max():.1f} N m"),
        (f"stride: ankle moment explained by EMG, in hindsight, {hits} parameters at their bounds",
         "", f"{found.rmse_nm:.1f} of {span_nm:.0f} N m"),
    ]  # fmt: skip
    numbers = {"static_r": r, "left_nm": float(np.abs(left_nm).max()), "rmse_nm": found.rmse_nm,
               "span_nm": span_nm, "at_bounds": hits}  # fmt: skip
    return rows, numbers


def _lifting() -> tuple[Rows, dict[str, Any]]:
    """Means over the six extensors of the back and over both trials."""
    squat, stoop = (lift_back.lift(name) for name in lift_back.TRIALS)
    columns = [lift_back.MUSCLES.index(m) for m in EXTENSORS]
    with_moment = [
        correlation(t.envelope[:, i], t.moment_nm) for t in (squat, stoop) for i in columns
    ]
    later = [(first, rest) for (first,), (rest,) in (time_split([t]) for t in (squat, stoop))]
    other = [(squat, stoop), (stoop, squat)]
    rows: Rows = [("lifting: each extensor beside the L5/S1 moment", number(_mean(with_moment)))]
    numbers: dict[str, Any] = {"extensors_with_moment_r": _mean(with_moment)}
    for key, splits, asked in (("later", later, "rest of the trial"),
                               ("other_load", other, "other load and technique")):  # fmt: skip
        for more in (False, True):
            r, nrmse = _hidden(splits, more)
            of = "the others, motion, load, moment" if more else "the others"
            rows.append((f"lifting: an extensor from {of}; {asked}", number(r), number(nrmse)))
            numbers[f"{key}_{'all' if more else 'emg'}"] = {"r": r, "nrmse": nrmse}
    scores = [_moment_from_emg(train, test, columns) for train, test in other]
    r, rmse_nm = (_mean(x) for x in zip(*scores, strict=True))
    peaks = f"{squat.moment_nm.max():.0f}, {stoop.moment_nm.max():.0f}"
    rows.append(("lifting: L5/S1 moment from extensors; other load and technique", number(r),
                 f"{rmse_nm:.0f} of {peaks} N m"))  # fmt: skip
    numbers["moment_from_emg"] = {"r": r, "rmse_nm": rmse_nm}
    return rows, numbers


def _hidden(splits: Sequence[tuple[JointTrial, JointTrial]], features: bool) -> tuple[float, float]:
    """Mean r and NRMSE of the extensors, each as if its electrode had come off after learning."""
    scores = []
    for train, test in splits:
        for muscle in EXTENSORS:
            sensor = learn([train], lift_back.MUSCLES, muscle, "pca", features)
            hidden = lift_back.hidden(test, muscle)
            true, said = hidden.truth[:, lift_back.MUSCLES.index(muscle)], sensor(hidden)
            scores.append((correlation(said, true), _rms(said - true) / float(np.ptp(true))))
    r, nrmse = (_mean(x) for x in zip(*scores, strict=True))
    return r, nrmse


def _moment_from_emg(
    train: JointTrial, test: JointTrial, columns: Sequence[int]
) -> tuple[float, float]:
    """r and RMSE in N m of a sum of envelopes; muscles pull, so no weight is negative."""

    def inputs(t: JointTrial) -> F64:
        return np.column_stack([t.envelope[:, columns], np.ones(len(t.moment_nm))])

    weights, _ = nnls(inputs(train), train.moment_nm)
    said = inputs(test) @ weights
    return correlation(said, test.moment_nm), _rms(said - test.moment_nm)


def _mean(x: Sequence[float]) -> float:
    return float(np.mean(x))


def _rms(x: F64) -> float:
    return float(np.sqrt(np.mean(x**2)))
