"""``python -m bench.cnn``: the ultrasound network, from the simulated cohort to the device.

Prints one table, draws ``out/cnn_*.png``, and ends with one line of JSON; up to 10 minutes on two
cores.  Needs the recordings (``SONOMYO_DATA`` or ``sonomyo data get``).  The 16 folds over the
cohort take hours: their results are stored in ``bench/results/cnn``, one fold is fitted again and
compared with them.  ``FULL=1`` does every fold again and stores what comes out.
The participants of the cohort are simulated; so is every figure that names them.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from bench.cnn_cohort import PAPER, cohort_part
from bench.cnn_device import BUDGET_MS, device_part
from bench.cnn_figures import draw_cohort, draw_curve, draw_observers
from bench.cnn_gate import gate_part
from bench.cnn_methods import SHORT
from bench.cnn_personal import personal_part
from bench.cnn_real import real_part
from bench.cnn_seen import observers_part, overlap_part
from bench.cnn_stored import run_all, stored_leg, stored_traces
from bench.part import NOTHING, Part, number, plain, print_parts
from edge.bundle import BundleError
from training.datasets import DataMissing

FULL = os.environ.get("FULL") == "1"


def main() -> int:
    """Exit codes: 0 all there and repeatable, 1 something missing or not as stored, 2 no data."""
    figures: list[str] = []
    try:
        if FULL:
            run_all()
        parts = [
            _tried(cohort_part, "cohort", "cohort"),
            gate_part(),
            personal_part(),
            _tried(real_part, "real leg", "real"),
            _tried(overlap_part, "segmentation", "dice"),
            _tried(lambda: _observers(figures), "observers", "observers"),
            _tried(device_part, "device", "image_path_ms"),
        ]
    except DataMissing as e:
        print(f"bench.cnn: {e}", file=sys.stderr)
        return 2
    if (traces := stored_traces()) is not None:
        figures += draw_cohort(traces)
    if (leg := stored_leg()[0]) is not None:
        figures.append(draw_curve(leg["curve"]))
    numbers = {name: value for p in parts for name, value in p.numbers.items()}
    parts.append(goals := _goals(numbers))
    print_parts(parts, "bench.cnn")
    wrong = [w for p in parts for w in p.wrong]
    for w in wrong:
        print(f"bench.cnn: {w}", file=sys.stderr)
    print(json.dumps(plain(numbers | goals.numbers | {"wrong": wrong, "figures": figures})))
    return 1 if wrong else 0


def _tried(part: Callable[[], Part], title: str, missing: str) -> Part:
    """A part, or a line that says why there is none."""
    try:
        return part()
    except BundleError as e:
        return Part(title, (), [(f"not measured: {e}",)], {missing: None}, (str(e),))


def _observers(figures: list[str]) -> Part:
    part, points = observers_part()
    figures.append(draw_observers(points))
    return part


def _goals(numbers: dict[str, Any]) -> Part:
    """What we set out to reach, and whether it was; a miss is a finding, not a failure."""
    clip, condition = numbers.get("real_clip", {}), numbers.get("real_condition", {})
    cohort, margin = numbers.get("cohort"), numbers.get("cohort_ours_less_plain")
    bar = condition.get("pca_passive_torque_rmse_nm")
    path_ms = numbers["image_path_ms"]
    found: list[tuple[str, float | None, float | None, bool]] = [
        ("real clips left out: angle R2 at least", clip.get("angle_r2"), 0.985, True),
        ("real clips left out: torque R2 at least", clip.get("torque_r2"), 0.97, True),
        ("passive left out: torque RMSE at most half of PCA + ridge's, N m",
         condition.get("ours_passive_torque_rmse_nm"), bar / 2 if bar else None, False),
    ]  # fmt: skip
    for output, short in SHORT.items():
        a = cohort["ours"][short] if cohort else None
        over = margin[short] if margin else None
        found += [
            (f"{short}: A above the paper's accuracy (theirs are real people, ours simulated)",
             a, float(PAPER[output][0]), True),
            (f"simulated {short}: A above the plain CNN's by more than the SD over folds",
             over["mean"] if over else None, over["sd"] if over else None, True),
        ]  # fmt: skip
    found.append(("whole image path at most, ms", path_ms, BUDGET_MS, False))
    met: dict[str, bool | None] = {}
    rows = []
    for name, value, limit, more in found:
        met[name] = None
        if value is not None and limit is not None:
            met[name] = value >= limit if more else value <= limit
        word = {None: NOTHING, True: "yes", False: "no"}[met[name]]
        rows.append((name, number(limit, 3), number(value, 3), word))
    return Part("what we set out to reach", ("goal", "measured", "reached"), rows, {"goals": met})


if __name__ == "__main__":
    sys.exit(main())
