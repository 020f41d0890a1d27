"""``python -m bench.lfads``: how well LFADS and its twin find activation, and what they cost.

Prints a table, draws ``out/lfads_*.png`` and ends with one line of JSON; a few minutes.  Needs the
recordings only with ``FULL=1``, which studies every bed and person again (an hour or two) and keeps
the results in ``bench/results/lfads``; else those are shown and one short bed is fitted again.
The fused loops are timed beside the naive ones, turn by turn, so that a busy machine slows both.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.lfads_accuracy import again_part, bed_rows, real_part, truth_part
from bench.lfads_figures import draw_lags, draw_methods
from bench.lfads_population import population_part, study_population
from bench.lfads_stored import run_all
from bench.part import Part, number, plain, print_parts
from edge.bundle import MODEL
from edge.runtime import open_engine
from export.bundle import write_bundle
from export.onnx import export_onnx
from firmware_bridge.types import Output
from models.lfads import Lfads, LfadsConfig
from models.spec import ModelSpec, State
from models.streaming import LAGS, Scaled, Twin, TwinAt, TwinConfig, WindowLfads
from training.datasets import DataMissing
from training.emg import EmgChain
from training.fit_lfads import LfadsFit
from training.lfads_config import Sizes
from training.lfads_loss import Weights, total

FULL = os.environ.get("FULL") == "1"

CHANNELS, BINS = 12, 100
BATCHES = (16, 64)
TURNS = 7
STEPS = 500
HOP_BINS = 5  # of the window on the device: a step every 10 ms
NAMES = tuple(f"m{k + 1:02d}" for k in range(CHANNELS))


def main() -> int:
    """Exit codes: 0 all there and repeatable, 1 something missing or not as stored, 2 no data."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    try:
        if FULL:
            run_all()
            study_population()
        parts = [truth_part(), real_part(), population_part(), again_part()]
    except DataMissing as e:
        print(f"bench.lfads: {e}", file=sys.stderr)
        return 2
    parts += [training_part(), device_part()]
    print_parts(parts, "bench.lfads")
    numbers = {k: v for p in parts for k, v in p.numbers.items()}
    for figure in _figures(numbers):
        print(f"figure {figure}")
    wrong = [text for p in parts for text in p.wrong]
    for text in wrong:
        print(f"bench.lfads: {text}", file=sys.stderr)
    print(json.dumps(plain(numbers)))
    return 1 if wrong else 0


def _figures(numbers: dict[str, Any]) -> list[Path]:
    """What can be drawn of what is there."""
    found = []
    if "truth_r2" in numbers:
        cost = numbers["twin_step_us"], numbers["window_ms"]
        found.append(draw_lags(bed_rows(), *cost, Path("out/lfads_lags.png")))
    by_set = numbers.get("truth_r2_by_bed", {}) | numbers.get("real_r2_by_set", {})
    if by_set:
        found.append(draw_methods(by_set, Path("out/lfads_methods.png")))
    return found


def training_part() -> Part:
    """Windows a second through loss and gradient, fused and naive."""
    print("training", file=sys.stderr)
    sizes = {"default": Sizes().config(CHANNELS, BINS), "paper's": LfadsConfig(CHANNELS, BINS)}
    rows, found = [], {}
    for name, config in sizes.items():
        for batch in BATCHES:
            fused, naive = _side_by_side(Lfads(config), batch)
            found[f"{name} {batch}"] = {"fused": fused, "naive": naive, "ratio": fused / naive}
            cells = (number(fused, 0), number(naive, 0), number(fused / naive, 1))
            rows.append((f"{name} sizes, {batch} windows a batch", *cells))
    numbers = {
        "train_speedup": found[f"default {LfadsFit().batch}"]["ratio"],  # as training runs
        "train_windows_per_s": found,
    }
    title = f"training on one thread: windows of {BINS} bins, {CHANNELS} channels, a second"
    return Part(title, ("fused", "step by step", "ratio"), rows, numbers)


def device_part() -> Part:
    """A step of the twin and a window of LFADS, through the device's engine."""
    print("device", file=sys.stderr)
    chain = EmgChain(2000.0)
    outputs = tuple(Output(f"{n}_activation", "1", 0, 100) for n in NAMES)
    twin = TwinAt(Twin(TwinConfig(CHANNELS)), LAGS[2]).eval()
    hidden = twin.twin.config.hidden
    step = ModelSpec(
        "twin",
        (chain.input(NAMES),),
        outputs,
        period_ms=2,
        states=(State("h", "h_next", (1, hidden)),),
        ahead="ahead",
        ahead_ms=twin.ahead_ms,
    )
    net = Lfads(Sizes().config(CHANNELS, BINS)).eval()
    window = WindowLfads(net, Scaled(CHANNELS), LAGS[2])
    whole = ModelSpec(
        "window", (chain.window(NAMES, BINS, HOP_BINS),), outputs, period_ms=2.0 * HOP_BINS
    )
    step_us = _cost_us(twin, step)
    window_us = _cost_us(window, whole)
    with torch.inference_mode():
        x = torch.rand(1, BINS, CHANNELS)
        eager_us = _median_us(lambda: net(x))
    rows = [
        ("causal twin, a step every 2 ms", number(step_us, 1)),
        (f"LFADS over {BINS} bins, a step every {2 * HOP_BINS} ms", number(window_us, 0)),
        ("the same in PyTorch", number(eager_us, 0)),
    ]
    numbers = {
        "twin_step_us": step_us,
        "window_ms": window_us / 1000,
        "window_eager_ms": eager_us / 1000,
        "sizes": asdict(Sizes()),
    }
    title = "one thread of ONNX Runtime, weights untrained: cost does not depend on them"
    return Part(title, ("median, us",), rows, numbers)


def _side_by_side(net: Lfads, batch: int) -> tuple[float, float]:
    """Median windows a second, fused and naive, in turns."""
    x = torch.rand(batch, BINS, CHANNELS)
    kernels = list(net.parameters())
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(1 + TURNS):  # the first of each warms up
        for naive, seen in times.items():
            start = time.perf_counter()
            said = net(x, sample=True, dropout=0.1, naive=naive)
            loss, _ = total(net, said, x, Weights())
            torch.autograd.grad(loss, kernels)
            seen.append(time.perf_counter() - start)
    fused, naive_s = (statistics.median(times[k][1:]) for k in (False, True))
    return batch / fused, batch / naive_s


def _cost_us(net: torch.nn.Module, spec: ModelSpec) -> float:
    """Median time of a run of the exported graph."""
    rng = np.random.default_rng(1)
    example: dict[str, Any] = {
        i.name: (50 * rng.random(i.shape)).astype(np.float32) for i in spec.inputs
    }
    example |= {s.input: np.zeros(s.shape, np.float32) for s in spec.states}
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(net, spec, [example], Path(folder) / MODEL)
        engine = open_engine(write_bundle(Path(folder), spec, "", {}))
        try:
            for name, array in example.items():
                engine.inputs[name][...] = array
            return _median_us(engine.run)
        finally:
            engine.close()


def _median_us(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(STEPS):
        start = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - start) / 1000)
    return statistics.median(times[STEPS // 10 :])


if __name__ == "__main__":
    sys.exit(main())
