"""``python -m bench.accuracy``: the shipped models on held-out recordings, beside linear baselines.

Prints a table, draws ``out/accuracy.png``, and ends with one line of JSON.  Needs the recordings
(``SONOMYO_DATA`` or ``sonomyo data get``); the baselines are fitted again from them.  Two more rows
show what a slightly different set-up does: the same held-out pictures brighter, and moved.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edge.bundle import Bundle, load_bundle
from training import recipe_emg, recipe_leg
from training.baselines import ENVELOPE
from training.datasets import DataMissing
from training.emg_steps import Trial, ta_steps
from training.evaluate import run_bundle
from training.frames import IMAGE, Clips, mg_frames
from training.metrics import Score
from training.splits import MG_EVAL, MG_TRAIN, TA_EVAL, TA_TRAIN

FIGURE = Path("out/accuracy.png")


def main() -> int:
    """Exit codes: 0 every model beats its baseline over all held-out data, 1 not, 2 no data."""
    try:
        pictures, trials = (
            mg_frames(MG_EVAL, IMAGE),
            ta_steps(TA_EVAL, recipe_emg.FEATURES),
        )
        found = {"mg-state": _frames(pictures), "ta-emg": _emg(trials)}
    except DataMissing as e:
        print(f"bench.accuracy: {e}", file=sys.stderr)
        return 2
    report: dict[str, dict[str, dict[str, float]]] = {}
    better = True
    for name, (network, linear) in found.items():
        _print(name, network, linear)
        for ours, theirs in zip(network, linear, strict=True):
            rmse = {"network": round(ours.rmse, 3), "linear": round(theirs.rmse, 3)}
            report.setdefault(f"{name}_{ours.output}_rmse", {})[ours.group] = rmse
            better = better and (ours.group != "all" or ours.rmse < theirs.rmse)
    _draw(load_bundle("mg-state"), pictures, load_bundle("ta-emg"), trials)
    print(json.dumps(report | {"figure": str(FIGURE), "better": better}))
    return 0 if better else 1


def _frames(test: Clips) -> tuple[list[Score], list[Score]]:
    train, bundle = mg_frames(MG_TRAIN, IMAGE), load_bundle("mg-state")
    network = recipe_leg.score_frames(bundle, test)
    linear = recipe_leg.score_baseline(train, test)
    outputs = len(bundle.spec.outputs)
    for name, images in _other_days(test.images).items():
        changed = replace(test, images=images)
        for found, new in (
            (network, recipe_leg.score_frames(bundle, changed)),
            (linear, recipe_leg.score_baseline(train, changed)),
        ):
            found += [replace(s, group=name) for s in new[:outputs]]
    return network, linear


def _other_days(images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The pictures ``(n, 1, lines, samples)`` as another gain or place of the probe shows them.

    Two pixels are 0.94 mm across and 0.78 mm deep.
    """
    (scale,) = (s.args for s in IMAGE.steps if s.op == "normalise")
    brightness = images * scale["std"] + scale["mean"]
    brighter = (np.minimum(1.1 * brightness, 255) - scale["mean"]) / scale["std"]
    moved = np.pad(images, ((0, 0), (0, 0), (2, 0), (2, 0)), "edge")[..., :-2, :-2]
    return {"gain +10 %": brighter.astype(np.float32), "moved 1 mm": moved}


def _emg(test: list[Trial]) -> tuple[list[Score], list[Score]]:
    network = recipe_emg.score_steps(load_bundle("ta-emg"), test)
    linear = recipe_emg.score_baseline(ta_steps(TA_TRAIN, ENVELOPE), ta_steps(TA_EVAL, ENVELOPE))
    return network, linear


def _print(name: str, network: Sequence[Score], linear: Sequence[Score]) -> None:
    table = Table("recordings", "output", "n", "rmse", "R2", "linear rmse", "R2", title=name)
    for a, b in zip(network, linear, strict=True):
        numbers = (f"{v:.2f}" for v in (a.rmse, a.r2, b.rmse, b.r2))
        table.add_row(a.group, a.output, str(a.n), *numbers)
    Console().print(table)


def _draw(mg: Bundle, pictures: Clips, ta: Bundle, trials: Sequence[Trial]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, 1, figsize=(11, 9), constrained_layout=True)
    values, sd = run_bundle(mg, pictures.images)
    for k, o in enumerate(mg.spec.outputs):
        _panel(axes[k], pictures.targets[:, k], values[:, k], sd[:, k], f"{o.name}, {o.unit}")
    runs = [run_bundle(ta, t.features) for t in trials]
    values, sd = (np.concatenate(part) for part in zip(*runs, strict=True))
    truth = np.concatenate([t.targets for t in trials])
    _panel(axes[2], truth[:, 0], values[:, 0], sd[:, 0], "dorsiflexion_torque, N m")
    axes[0].set_title(f"{mg.id}: {', '.join(pictures.conditions)}")
    axes[2].set_title(f"{ta.id}: {', '.join(t.name for t in trials)}")
    axes[2].set_xlabel("held-out frames and steps, one recording after the other")
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


def _panel(
    axis: Any,
    truth: NDArray[np.float32],
    value: NDArray[np.float32],
    sd: NDArray[np.float32],
    label: str,
) -> None:
    n = np.arange(len(truth))
    axis.fill_between(n, value - sd, value + sd, alpha=0.25, linewidth=0, label="1 sd")
    axis.plot(n, truth, "k", linewidth=1, label="measured")
    axis.plot(n, value, linewidth=1, label="estimated")
    axis.set_ylabel(label)
    axis.legend(loc="upper right")


if __name__ == "__main__":
    sys.exit(main())
