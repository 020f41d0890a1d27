"""Figures of ``bench.cnn``: every participant over time, calibration, and observers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.cnn_seen import Points
from bench.cnn_stored import Traces
from models.state_cnn import STATE
from training.metrics import LEVELS, accuracy, calibration_error, coverage
from training.real_leg import UNITS

OUT = Path("out")
COLUMNS = 4  # of participants
BINS = 10
LABELS = {"ankle_angle": "angle, deg", "emg": "EMG, share", "ankle_moment": "moment, N m"}


def draw_cohort(traces: Traces) -> list[str]:
    """One figure per output with a panel for each participant, and one of the calibration."""
    plt = _pyplot()
    people = np.unique(traces["person"])
    made = []
    for k, output in enumerate(STATE):
        rows = -(-len(people) // COLUMNS)
        figure, axes = plt.subplots(
            rows, COLUMNS, figsize=(20, 1.9 * rows), sharex=True, sharey=True, squeeze=False,
            constrained_layout=True,
        )  # fmt: skip
        for axis, who in zip(axes.flat, people, strict=False):
            _trace(axis, traces, k, int(who))
        axes[0, 0].legend(loc="upper right", ncols=3, fontsize=7)
        for axis in axes[:, 0]:
            axis.set_ylabel(LABELS[output])
        for axis in axes[-1]:
            axis.set_xlabel("time, s")
        figure.suptitle(f"{LABELS[output]}: simulated participants, each by a network of others")
        made.append(_save(plt, figure, f"cnn_{output}.png"))
    return [*made, _calibration(plt, traces)]


def draw_observers(points: Points) -> str:
    """Ours against the mean of the observers, us_mg_dynamometer."""
    plt = _pyplot()
    figure, axes = plt.subplots(1, 4, figsize=(16, 4.2), constrained_layout=True)
    shown = ("fascicle_deg", "pennation_deg", "thickness_mm", "fascicle_mm")
    for axis, quantity in zip(axes, shown, strict=True):
        theirs, ours = points[quantity]
        ends = [min(theirs.min(), ours.min()), max(theirs.max(), ours.max())]
        axis.plot(ends, ends, "k", linewidth=0.8)
        axis.plot(theirs, ours, ".", markersize=4, alpha=0.6)
        axis.set_title(f"{quantity}, {len(ours)} pictures")
        axis.set_xlabel("mean of the observers")
        axis.set_aspect("equal")
    axes[0].set_ylabel("ours")
    return _save(plt, figure, "cnn_observers.png")


def draw_curve(curve: Sequence[dict[str, Any]]) -> str:
    """Error on the evaluation clips by how many clips of the wearer were learned from."""
    plt = _pyplot()
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    counts = sorted({one["clips"] for one in curve})
    for axis, (output, label) in zip(axes, UNITS.items(), strict=True):
        for start, name in ((True, "after simulated people"), (False, "from nothing")):
            each = [
                [c[output]["rmse"] for c in curve if (c["clips"], c["pretrained"]) == (n, start)]
                for n in counts
            ]
            (line,) = axis.plot(counts, [np.mean(e) for e in each], label=name)
            for n, e in zip(counts, each, strict=True):
                axis.plot([n] * len(e), e, ".", color=line.get_color())
        axis.set(xlabel="clips of the wearer learned from", ylabel=f"RMSE, {label}", ylim=(0, None))
    axes[0].legend()
    figure.suptitle("us_mg_dynamometer, one real person: six clips that were never learned from")
    return _save(plt, figure, "cnn_learning.png")


def _trace(axis: Any, traces: Traces, k: int, who: int) -> None:
    rows = np.flatnonzero(traces["person"] == who)
    t, truth, value, sd = (
        traces["t_s"][rows],
        *(traces[name][rows, k] for name in ("truth", "values", "sd")),
    )
    axis.fill_between(t, value - sd, value + sd, alpha=0.25, linewidth=0, label="1 sd")
    axis.plot(t, truth, "k", linewidth=0.8, label="simulated truth")
    axis.plot(t, value, linewidth=0.8, label="estimated")
    # The gate's sd is far larger than anything a person does.
    low, high = np.percentile(traces["truth"][:, k], (0, 100))
    room = 0.35 * (high - low)
    axis.set_ylim(low - room, high + room)
    axis.set_title(f"participant {who}: A {accuracy(value, truth).a:.0f} %", fontsize=8)


def _calibration(plt: Any, traces: Traces) -> str:
    """Nominal and empirical coverage; the error that comes with every size of sd."""
    truth, values, sd = (traces[name] for name in ("truth", "values", "sd"))
    kept, ece = coverage(values, sd, truth), calibration_error(values, sd, truth)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), constrained_layout=True)
    left.plot((0, 1), (0, 1), "k", linewidth=0.8)
    right.plot((0, 2), (0, 2), "k", linewidth=0.8)
    for k, output in enumerate(STATE):
        left.plot(LEVELS, kept[:, k], ".-", label=f"{LABELS[output]}: ECE {ece[k]:.3f}")
        groups = np.array_split(np.argsort(sd[:, k]), BINS)
        spread = truth[:, k].std()
        error = [np.sqrt(np.mean((values[g, k] - truth[g, k]) ** 2)) / spread for g in groups]
        claimed = [np.sqrt(np.mean(sd[g, k] ** 2)) / spread for g in groups]
        right.plot(claimed, error, ".-", label=LABELS[output])
    left.set(xlabel="nominal coverage", ylabel="share of truths within", aspect="equal")
    right.set(
        xlabel="claimed sd, in sd of the truth", ylabel="rms error of a tenth of the pictures",
        xlim=(0, 2), ylim=(0, 2), aspect="equal",
    )  # fmt: skip
    left.legend()
    right.legend()
    figure.suptitle("calibration on held-out simulated participants")
    return _save(plt, figure, "cnn_calibration.png")


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(plt: Any, figure: Any, name: str) -> str:
    OUT.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT / name, dpi=100)
    plt.close(figure)
    return str(OUT / name)
