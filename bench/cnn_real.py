"""The real recording: what is known of a leg from its other clips, and from its other conditions.

us_mg_dynamometer is one person; these figures say nothing about other people.
"""

import sys
from typing import Any

import numpy as np

from bench.cnn_stored import LEG, REMEDY, Json, stored_leg
from bench.part import Part, number
from training.leave_out import group_scores, leave_out
from training.leg import Leg
from training.real_leg import OUTPUTS, leg_clips
from training.state_config import load_run
from training.state_material import maps_of

PASSIVE = "passive"  # how the name of the condition begins
NAMES = {"ours": "ours", "pca": "80 principal components + ridge"}
AGAIN = "p6_isokinetic500_01_push_02"  # the clip that is left out again
TOLERANCE = 0.02  # of R2; another CPU rounds otherwise, and 1400 steps make something of it


def real_part() -> Part:
    """Leave-one-clip-out, leave-one-condition-out and the learning curve.  Raises DataMissing."""
    title = "us_mg_dynamometer, one real person: R2 and RMSE on what was not trained on"
    heads = ("angle R2", "angle RMSE, deg", "torque R2", "torque RMSE, N m")
    real, wrong = stored_leg()
    if real is None:
        return Part(title, heads, [(w,) for w in wrong], _numbers(None), wrong)
    worst, broken = _again(real)
    rows = []
    for kind in ("clip", "condition"):
        for who, name in NAMES.items():
            rows.append((f"every {kind} left out in turn: {name}", *_cells(real[kind][who]["all"])))
    for condition in real["condition"]["ours"]["each"]:
        for who, name in NAMES.items():
            cells = _cells(real["condition"][who]["each"][condition])
            rows.append((f"condition {condition} left out: {name}", *cells))
    rows += [
        (f"learned from {count} clips, {'after' if start else 'without'} simulated people, "
         f"evaluation clips: mean of {len(each)} draws", *_cells(_mean(each)))
        for (count, start), each in _curve(real).items()
    ]  # fmt: skip
    name = f"ours, {AGAIN} left out again: largest difference from the stored R2"
    rows.append((name, f"{number(worst, 3)} (limit {TOLERANCE:g})"))
    again = {"clip": AGAIN, "worst_r2": worst, "tolerance": TOLERANCE}
    numbers = _numbers(real) | {"leg_again": again}
    return Part(title, heads, rows, numbers, (*wrong, *broken))


def _again(real: Json) -> tuple[float | None, list[str]]:
    """Fit without one clip once more."""
    print("real leg: leave one clip out again", file=sys.stderr)
    run = load_run(LEG)
    leg = Leg(leg_clips(), run, maps_of(run.data))
    out = (AGAIN, [leg.clips.names.index(AGAIN)])
    try:
        found = list(leave_out(leg.clips, [out], leg.estimate))
    except ValueError as e:  # the network is no longer the one whose weights are stored
        return None, [f"{AGAIN} cannot be left out again: {e}; {REMEDY}"]
    stored_r2 = real["clip"]["ours"]["each"][AGAIN]
    scores = group_scores(leg.clips, found, OUTPUTS)
    worst = max(abs(s.r2 - stored_r2[s.output]["r2"]) for s in scores)
    if worst <= TOLERANCE:
        return worst, []
    return worst, [
        f"{AGAIN} left out again: R2 is {worst:.3f} from the stored one, more than {TOLERANCE:g}: "
        f"what makes it has changed; {REMEDY}"
    ]


def _curve(real: Json) -> dict[tuple[int, bool], list[Json]]:
    """Scores by number of clips and whether simulated people came first, a draw each."""
    found: dict[tuple[int, bool], list[Json]] = {}
    for one in real["curve"]:
        found.setdefault((one["clips"], one["pretrained"]), []).append(one)
    return found


def _mean(each: list[Json]) -> Json:
    return {
        o: {k: float(np.mean([one[o][k] for one in each])) for k in ("r2", "rmse")} for o in OUTPUTS
    }


def _cells(of: Json) -> tuple[str, ...]:
    return tuple(number(of[o][k], 3 if k == "r2" else 2) for o in OUTPUTS for k in ("r2", "rmse"))


def _numbers(real: Json | None) -> dict[str, Any]:
    """``null`` for what is not stored."""
    found: dict[str, Any] = {
        "real_clip": dict.fromkeys(f"{o}_r2" for o in OUTPUTS),
        "real_condition": dict.fromkeys(f"{who}_passive_torque_rmse_nm" for who in NAMES),
        "real": real,
    }
    if real is None:
        return found
    found["real_clip"] = {f"{o}_r2": real["clip"]["ours"]["all"][o]["r2"] for o in OUTPUTS}
    for who in NAMES:
        each = real["condition"][who]["each"]
        passive = next(of for name, of in each.items() if name.startswith(PASSIVE))
        found["real_condition"][f"{who}_passive_torque_rmse_nm"] = passive["torque"]["rmse"]
    return found
