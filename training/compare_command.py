"""``sonomyo compare``: the networks of a bundle beside each other on a recording; a gate.

It knows the recordings that shipped models were evaluated on, so it lives in ``training``.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from edge.bundle import load_bundle
from export.compare import FULL, Comparison, compare
from export.recorded import InputsError, stream_of
from export.streams import Played, Stream
from models.spec import ModelSpec
from training.export_command import FAILURES, budget_of, finite_only, kept_budget
from training.export_streams import MAKERS, shipped_streams

SHOWN = 1500  # steps of the figure


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo compare``."""
    p.add_argument("bundle", help="a bundle, or a shipped name")
    p.add_argument("--recording", type=Path, nargs="+", metavar="FILE",
                   help="recordings (.mcap) or inputs (.npz); default for shipped models: what "
                   "they never saw")  # fmt: skip
    p.add_argument("--budget", metavar="OUTPUT=NUMBER,...",
                   help="RMS that is allowed; default: that of the export")  # fmt: skip
    p.add_argument("--json", type=Path, metavar="FILE")
    p.add_argument("--figure", type=Path, metavar="FILE", help="default out/compare_NAME.png")


def main(a: argparse.Namespace) -> int:
    """Exit codes: 0 every network is within its budget, 1 one is not, 2 it could not be tried."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        bundle = load_bundle(a.bundle)
        budget = budget_of(bundle, a.budget)
        if not a.budget:
            budget |= kept_budget(bundle)
        with console.status("recorded inputs"):
            streams = _streams(a, bundle.spec)
        with console.status(f"{bundle.id}: every network, step by step"):
            found = compare(bundle, streams, budget)
    except FAILURES as e:
        print(f"sonomyo compare: {e}", file=sys.stderr)
        return 2
    console.print(table(found, budget))
    for text in found.missing:
        console.print(f"not run here: {text}")
    figure = a.figure or Path("out") / f"compare_{bundle.spec.name}.png"
    plain = finite_only({"bundle": bundle.id, "budget_rms": budget, **found.plain()})
    try:
        if a.json:
            a.json.parent.mkdir(parents=True, exist_ok=True)
            a.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        if bundle.spec.outputs:
            draw(figure, bundle.spec, streams, found.played)
            console.print(f"figure {figure}")
    except OSError as e:
        print(f"sonomyo compare: {e.filename}: {e.strerror}: choose another file", file=sys.stderr)
        return 2
    if not found.worst <= 1:
        print(f"sonomyo compare: {found.worst:.2f} of the budget: export again, or give a larger "
              "--budget", file=sys.stderr)  # fmt: skip
        return 1
    return 0


def _streams(a: argparse.Namespace, spec: ModelSpec) -> list[Stream]:
    bundle = load_bundle(a.bundle)
    if a.recording:
        return [stream_of(path, bundle) for path in a.recording]
    if spec.name not in MAKERS:
        raise InputsError(f"no recording is known for {spec.name}: give --recording FILE")
    return shipped_streams(bundle, "unseen")


def table(found: Comparison, budget: Mapping[str, float]) -> Table:
    """A row for each output of each network."""
    t = Table("network", "run by", "KB", "ms p50", "p99", "output", "RMS off", "p99", "worst",
              "of budget", "10 min: first, last")  # fmt: skip
    for name, kept in found.torch.items():
        t.add_row("fp32", "beside reference.npz", "", "", "", name, f"{kept.rms:.2g}", "",
                  f"{kept.worst:.2g}", "", "")  # fmt: skip
    for r in found.rows:
        head = (r.name, r.runtime, f"{r.bytes / 1000:.0f}", f"{r.p50_ms:.3f}", f"{r.p99_ms:.3f}")
        drift = f"{r.drift.first:.2f}, {r.drift.last:.2f}" if r.drift else ""
        for o in r.off if r.name != FULL else r.off[:1]:
            share = f"{o.rms / budget[o.output]:.2f}" if o.output in budget else ""
            numbers = (f"{x:.2g}" for x in (o.rms, o.p99, o.worst))
            if r.name == FULL:
                t.add_row(*head, *[""] * 6)
            else:
                t.add_row(*head, _label(o.output, o.unit), *numbers, share, drift)
            head, drift = ("", "", "", "", ""), ""
    return t


def draw(
    path: Path, spec: ModelSpec, streams: Sequence[Stream], played: Mapping[str, Sequence[Played]]
) -> None:
    """Every output over time, and how far each network is from full precision."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    n = len(spec.outputs)
    fig, axes = plt.subplots(2 * n, 1, figsize=(10, 1.6 * 2 * n + 0.6), sharex=True,
                             squeeze=False, layout="constrained")  # fmt: skip
    full = np.concatenate([p.values for p in played[FULL]])[:SHOWN]
    at_s = np.arange(len(full)) * spec.period_ms / 1000
    for k, o in enumerate(spec.outputs):
        top, below = axes[2 * k, 0], axes[2 * k + 1, 0]
        top.plot(at_s, full[:, k], "k", lw=0.8, label=FULL)
        top.set_ylabel(_label(o.name, o.unit), fontsize=7)
        for name, parts in played.items():
            if name != FULL:
                values = np.concatenate([p.values for p in parts])[:SHOWN, k]
                top.plot(at_s, values, lw=0.6, label=name)
                below.plot(at_s, values - full[:, k], lw=0.6, label=name)
        below.axhline(0, color="k", lw=0.5)
        below.set_ylabel("off", fontsize=7)
    axes[0, 0].legend(fontsize=7, ncols=5)
    names = ", ".join(s.name for s in streams[:4])
    axes[0, 0].set_title(f"{spec.name} on {names}{' ...' * (len(streams) > 4)}", fontsize=9)
    axes[-1, 0].set_xlabel("s")
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=120)
    plt.close(fig)


def _label(output: str, unit: str) -> str:
    return f"{output}, {unit}" if unit else output
