"""Figures of ``bench.lfads``: what waiting buys, and what it costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.lfads_accuracy import CAUSAL, LOW_PASSES
from models.streaming import LAGS

LAGS_MS = tuple(2 * lag for lag in LAGS)


def draw_lags(
    beds: Mapping[str, Sequence[Mapping[str, Any]]], twin_us: float, window_ms: float, path: Path
) -> Path:
    """R2 of known activation against the lag of each streaming method; a panel a bed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots(1, len(beds))
    streams = {
        f"causal twin: {twin_us:.0f} µs every 2 ms": [f"twin {lag} ms" for lag in LAGS_MS],
        f"LFADS over the last window: {window_ms:.1f} ms every 10 ms": [
            f"window {lag} ms" for lag in LAGS_MS
        ],
    }
    for axis, (name, rows) in zip(axes, beds.items(), strict=True):
        for label, methods in streams.items():
            mean, low, high = zip(*(_range(rows, m) for m in methods), strict=True)
            (line,) = axis.plot(LAGS_MS, mean, "o-", label=label)
            axis.fill_between(LAGS_MS, low, high, color=line.get_color(), alpha=0.15, lw=0)
        for label, value, style in (
            ("LFADS in hindsight", _range(rows, "lfads")[0], "-"),
            ("best low-pass in hindsight", _best(rows, LOW_PASSES), "--"),
            ("best causal low-pass, no lag added", _best(rows, CAUSAL), ":"),
        ):
            axis.axhline(value, color="0.4", ls=style, lw=1, label=label)
        axis.set_title(f"{name.removeprefix('bed:')} (SIMULATED)", fontsize=10)
        axis.set_xlabel("said so long after the newest datum (ms)")
        axis.set_ylabel("R² of known activation")
    axes[0].legend(fontsize=7, frameon=False, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def draw_methods(by_set: Mapping[str, Mapping[str, float]], path: Path) -> Path:
    """R2 of every method on every set, beside each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.6 * len(by_set)), layout="constrained")
    axes = figure.subplots(len(by_set), 1)
    for axis, (name, methods) in zip(axes, by_set.items(), strict=True):
        colours = ["C3" if m == "lfads" else "C1" if "twin" in m else "C0" for m in methods]
        axis.bar(range(len(methods)), list(methods.values()), color=colours)
        axis.set_xticks(range(len(methods)), list(methods), rotation=30, ha="right", fontsize=7)
        simulated = ", SIMULATED" if name.startswith("bed:") else ""
        axis.set_title(f"{name}{simulated}: R²", fontsize=9)
        values = list(methods.values())
        axis.set_ylim(max(0.0, min(values) - 0.1), max(values) + 0.03)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def _range(rows: Sequence[Mapping[str, Any]], method: str) -> tuple[float, float, float]:
    """Mean, least and most over seeds."""
    values = [float(row[method]) for row in rows]
    return sum(values) / len(values), min(values), max(values)


def _best(rows: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> float:
    return max(_range(rows, m)[0] for m in methods)
