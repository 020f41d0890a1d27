"""``python -m bench.export``: every shipped network in fewer bits: size, speed, error, drift.

Exports each as ``sonomyo export`` does, from what it was trained on, and judges it on recordings
that it never saw (simulated where it learned on simulated people).  Prints a table, draws
``out/export.png`` and ends with one line of JSON; some minutes.  ``FULL=1``: ten minutes of steps
of slow networks with a state, too.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.part import Part, number, plain, print_parts
from calibration.ranges import choose
from edge.bundle import MODEL, Bundle, list_bundles, load_bundle
from export.budget import Off, measure, worst_share
from export.compare import DRIFT_S, Drift, drift
from export.lower import lower
from export.precision import Candidate
from export.quantize import integer_layers
from export.streams import OrtNetwork, play, side_by_side_ms, steps_of
from training.datasets import DataMissing
from training.export_command import budget_of
from training.export_streams import TAUGHT, shipped_streams

FIGURE = Path("out/export.png")
ROUNDS = 1000
FULL = os.environ.get("FULL") == "1"
QUICK_S = 60.0  # ten minutes of steps that take longer are for FULL=1
SIZE, FASTER = 3.5, 2.0  # targets
Json = dict[str, Any]


def main() -> int:
    """Exit codes: 0 all measured and every budget kept, 1 one is not, 2 no data."""
    parts: list[Part] = []
    models: Json = {}
    wrong: list[str] = []
    try:
        for name in list_bundles():
            part, numbers = one(load_bundle(name))
            parts.append(part)
            models[name] = numbers
            wrong += part.wrong
    except DataMissing as e:
        print(f"bench.export: {e}", file=sys.stderr)
        return 2
    print_parts(parts, "bench.export")
    print(f"figure {draw(models)}")
    print(json.dumps(plain({"cpu": cpu(), "models": models})))
    return 1 if wrong else 0


def one(bundle: Bundle) -> tuple[Part, Json]:
    """Export a shipped network, then judge every candidate on what it never saw."""
    learn, judge, unseen = (shipped_streams(bundle, p) for p in ("learn", "judge", "unseen"))
    budget = budget_of(bundle, None)
    began = time.monotonic()
    found = lower(bundle, budget, learn, judge, say=_say)
    seconds = time.monotonic() - began
    networks = {"fp32": OrtNetwork(bundle.files[MODEL])}
    networks |= {_name(c): OrtNetwork(c.model) for c in found.tried}
    full = [play(networks["fp32"], bundle.spec, s) for s in unseen]
    some = steps_of(networks["fp32"], bundle.spec, [s.part(slice(0, 100)) for s in unseen[:4]])
    times = side_by_side_ms(networks, [some[k] for k in choose(some, 64)], ROUNDS)
    rows: list[tuple[str, ...]] = []
    wrong: list[str] = []
    numbers: Json = {"fp32_mb": networks["fp32"].size / 1e6, "export_s": seconds}
    rows.append(("fp32", *_speed(times["fp32"]), number(numbers["fp32_mb"], 3), *[""] * 5))
    numbers["fp32_ms"] = float(np.median(times["fp32"]))
    quick = DRIFT_S / bundle.spec.period_ms * numbers["fp32_ms"] < QUICK_S
    for c in (c for c in found.tried if c.lowered):
        name, network = _name(c), networks[_name(c)]
        off = measure(network, bundle.spec, unseen, full)
        share = worst_share(off, budget)
        drifted = None
        if bundle.spec.states and (FULL or quick):
            drifted = drift(bundle, networks["fp32"], network, unseen, budget)
        taken = c in found.taken
        if taken and share > 1:
            wrong.append(
                f"{bundle.spec.name} {name}: {share:.2f} of its budget on unseen recordings"
            )
        if taken and drifted and drifted.grows:
            wrong.append(f"{bundle.spec.name} {name}: drifts to {drifted.last:.2f} of its budget")
        rows.append(
            (f"{name}{'' if taken else ' (not taken)'}", *_speed(times[name]),
             number(network.size / 1e6, 3), _off(off), number(share, 2), _loss(off),
             _drift(drifted), f"{len(c.fell_back)} of {len(c.fell_back) + len(c.lowered)}")
        )  # fmt: skip
        numbers |= _numbers(c, network, times[name], off, share, drifted, taken)
    numbers["int8_ms"], numbers["int8_mb"] = numbers.get("int8_cpu_ms"), numbers.get("int8_cpu_mb")
    numbers["r2_loss"] = numbers.get("int8_cpu_r2_loss")
    numbers["drift"] = numbers.get("int8_cpu_drift")
    numbers["notes"] = list(found.notes)
    rows += [(note,) for note in found.notes]
    kind = "steps that taught it" if bundle.spec.name in TAUGHT else "unseen steps"
    title = (f"{bundle.spec.name}: {sum(map(len, unseen))} {kind}; export and judging took "
             f"{seconds:.0f} s")  # fmt: skip
    columns = ("ms p50", "p99", "MB", "off (RMS)", "of budget", "R2 lost", "10 min: first, last",
               "fell back")  # fmt: skip
    return Part(title, columns, rows, {}, tuple(wrong)), numbers


def cpu() -> str:
    """What integers are multiplied with here: it decides what INT8 is worth."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = set(next((x for x in text.splitlines() if x.startswith("flags")), "").split())
    found = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if f in flags]
    return " ".join(found) or "unknown"


def _numbers(
    c: Candidate, network: OrtNetwork, times: np.ndarray, off: list[Off], share: float,
    drifted: Drift | None, taken: bool,
) -> Json:  # fmt: skip
    key = _name(c).replace("-", "_")
    return {
        f"{key}_ms": float(np.median(times)), f"{key}_mb": network.size / 1e6,
        f"{key}_p99_ms": float(np.quantile(times, 0.99)),
        f"{key}_off": {o.output: o.rms for o in off}, f"{key}_share": share,
        f"{key}_r2_loss": _lost(off),
        f"{key}_drift": drifted.last / drifted.first if drifted and drifted.first else None,
        f"{key}_fell_back": list(c.fell_back), f"{key}_taken": taken,
        f"{key}_integer_layers": len(integer_layers(c.model, c.lowered)),
    }  # fmt: skip


def _name(c: Candidate) -> str:
    return f"{c.precision}-{c.target}"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _speed(times: np.ndarray) -> tuple[str, str]:
    return number(float(np.median(times)), 3), number(float(np.quantile(times, 0.99)), 3)


def _off(off: list[Off]) -> str:
    return ", ".join(f"{o.output} {o.rms:.2g} {o.unit}".strip() for o in off[:3]) + (
        " ..." if len(off) > 3 else ""
    )


def _loss(off: list[Off]) -> str:
    return number(100 * _lost(off), 2) + " %"


def _lost(off: list[Off]) -> float:
    """The most R2 that any output or map loses; a doubt has none."""
    return max((o.r2_loss for o in off if not o.output.endswith(("_sd", "_ahead"))), default=0.0)


def _drift(d: Drift | None) -> str:
    return f"{d.first:.2f}, {d.last:.2f}" if d else ""


def draw(models: dict[str, Json]) -> Path:
    """Speed and size of INT8 for the CPU, over full precision."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(models)
    at = np.arange(len(names))
    fig, axes = plt.subplots(1, 2, figsize=(10, 0.45 * len(names) + 1.4), sharey=True,
                             layout="constrained")  # fmt: skip
    for ax, unit, title, goal in ((axes[0], "ms", "times faster", FASTER),
                                  (axes[1], "mb", "times smaller", SIZE)):  # fmt: skip
        for k, kind in enumerate(("int8_cpu", "int8_trt", "fp16_trt")):
            ratio = [models[n][f"fp32_{unit}"] / models[n].get(f"{kind}_{unit}", np.nan)
                     for n in names]  # fmt: skip
            ax.barh(at + 0.25 * (k - 1), ratio, 0.23, label=kind.replace("_", ", "))
        ax.axvline(goal, color="k", lw=0.8, ls=":")
        ax.axvline(1, color="k", lw=0.5)
        ax.set_xlabel(f"{title} than fp32, on this CPU" if unit == "ms" else f"{title} than fp32")
    axes[0].set_yticks(at, names)
    axes[0].invert_yaxis()
    axes[1].legend(fontsize=7)
    FIGURE.parent.mkdir(exist_ok=True)
    fig.savefig(FIGURE, dpi=120)
    plt.close(fig)
    return FIGURE


if __name__ == "__main__":
    sys.exit(main())
