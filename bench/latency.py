"""Sense-to-receiver latency of the whole daemon, beside the floor and the script most would write.

``make bench-latency`` takes about 8 minutes; ``FULL=1`` 17, with one case of 10 minutes.  A
probe served through the ``usb:`` driver at 61 frames/s, EMG through BrainFlow's playback board at
2 kHz, both networks, a 10 ms tick, a recording, and a receiver process behind a pseudo-terminal.

*Sense to receiver* is from the newest EMG sample in the state to the arrival of the packet; it
contains the wait for the next sample, which no program can shorten.  *Path* is from the tick to the
arrival: that minus the floor is what the daemon adds.
"""

import json
import os
import sys
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.cases import (
    OUT,
    Case,
    Times,
    daemon_case,
    floor_case,
    hogs,
    naive_case,
    quick_to_open,
)
from demo.sources import open_sources

FULL = os.environ.get("FULL") == "1"
SECONDS = 62.0
STEADY_SECONDS = 600.0 if FULL else SECONDS  # the case that shows whether memory grows


def quantiles(ns: Times) -> dict[str, float]:
    """Milliseconds."""
    p50, p99, p999 = np.percentile(ns, [50, 99, 99.9]) * 1e-6
    return {k: round(float(v), 3) for k, v in zip(
        ("p50", "p99", "p999", "max"), (p50, p99, p999, ns.max() * 1e-6), strict=True)}  # fmt: skip


def main() -> int:
    """Run every case, print the table, save the figure, end with one line of JSON."""
    OUT.mkdir(parents=True, exist_ok=True)
    sources = quick_to_open(open_sources(OUT))
    console = Console(highlight=False)
    console.print(f"{sources.note}\n{SECONDS:g} s each, {os.cpu_count()} cores")
    floor_idle = floor_case(sources, SECONDS / 2)
    fixed = daemon_case(sources, "idle_fixed", STEADY_SECONDS, 8.0, True)
    idle = daemon_case(sources, "idle", SECONDS, 0.0, True)
    with hogs(2):
        floor = floor_case(sources, SECONDS / 2)
        loaded = daemon_case(sources, "hogs", SECONDS, 0.0, True)
        nort = daemon_case(sources, "hogs_nort", SECONDS, 0.0, False)
        ages = naive_case(sources, SECONDS)  # last: its receiver makes this process real-time
    rows = {
        "floor: bare ONNX Runtime, idle": floor_idle,
        "floor: bare ONNX Runtime, 2 hogs": floor,
        "daemon, idle: sense to receiver": idle.sense,
        "daemon, idle: path": idle.path,
        "daemon, 2 hogs: sense to receiver": loaded.sense,
        "daemon, 2 hogs: path": loaded.path,
        "daemon, 2 hogs: inference only": loaded.infer,
        "daemon, 2 hogs, no real-time: sense to receiver": nort.sense,
        "daemon, 2 hogs, no real-time: path": nort.path,
        "naive script, 2 hogs: sense to receiver": ages,
        "daemon, idle, release at 8 ms: emit jitter": fixed.jitter,
        "daemon, idle, release at 8 ms: image to receiver": fixed.image,
    }
    print_table(console, rows, {"idle": idle, "release 8 ms": fixed, "hogs": loaded, "nort": nort})
    draw(rows)
    print(json.dumps(summary(floor_idle, floor, idle, fixed, loaded, nort, ages)))
    return 0


def summary(
    floor_idle: Times, floor: Times, idle: Case, fixed: Case, loaded: Case, nort: Case, ages: Times
) -> dict[str, Any]:
    """The line of JSON."""
    added = {
        k: round(quantiles(loaded.path)[k] - quantiles(floor)[k], 3) for k in ("p50", "p99", "p999")
    }
    return {
        "seconds": SECONDS,
        "steady_seconds": STEADY_SECONDS,
        "floor_idle_ms": quantiles(floor_idle),
        "floor_hogs_ms": quantiles(floor),
        "daemon_idle_ms": quantiles(idle.sense),
        "daemon_hogs_ms": quantiles(loaded.sense),
        "daemon_hogs_nort_ms": quantiles(nort.sense),
        "naive_hogs_ms": quantiles(ages),
        "path_idle_ms": quantiles(idle.path),
        "path_hogs_ms": quantiles(loaded.path),
        "added_hogs_ms": added,
        "emit_jitter_idle_ms": quantiles(fixed.jitter),
        "naive_over_daemon_p999": round(
            quantiles(ages)["p999"] / quantiles(loaded.sense)["p999"], 1
        ),
        "missed": idle.missed + fixed.missed + loaded.missed,
        "missed_nort": nort.missed,
        "lost": idle.lost + fixed.lost + loaded.lost + nort.lost,
        "rss_growth_mb": round(max(c.rss_growth_mb for c in (idle, fixed, loaded)), 2),
        "rss_mb": round(fixed.rss_mb[-1], 1),
        "cpu_pct": round(fixed.cpu_pct, 1),
        "start_s": round(max(c.start_s for c in (idle, fixed)), 2),
    }


def print_table(console: Console, rows: dict[str, Times], cases: dict[str, Case]) -> None:
    """All distributions, then what each case cost and lost."""
    table = Table("ms", "p50", "p99", "p99.9", "max", "n")
    for name, ns in rows.items():
        table.add_row(name, *(f"{v:.2f}" for v in quantiles(ns).values()), str(len(ns)))
    console.print(table)
    table = Table("case", "states", "missed", "lost", "CPU %", "RSS MB", "growth MB", "start s")
    for name, c in cases.items():
        table.add_row(
            name, str(c.states), str(c.missed), str(c.lost), f"{c.cpu_pct:.0f}",
            f"{c.rss_mb[-1]:.0f}", f"{c.rss_growth_mb:+.2f}", f"{c.start_s:.2f}",
        )  # fmt: skip
    console.print(table)


def draw(rows: dict[str, Times]) -> None:
    """Share of states slower than x, both axes logarithmic: the tail is what matters."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axis = figure.subplots()
    for name, ns in rows.items():
        x = np.sort(ns) * 1e-6
        axis.loglog(x, 1 - np.arange(len(x)) / len(x), label=name, lw=1.2)
    axis.set_xlabel("ms")
    axis.set_ylabel("share of states slower")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    figure.savefig(OUT / "latency.png", dpi=130)


if __name__ == "__main__":
    sys.exit(main())
