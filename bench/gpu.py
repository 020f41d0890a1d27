"""``python -m bench.gpu``: engines on this machine's GPU: how fast, how much is ours, how right.

Builds every shipped network for TensorRT, in each precision it has, and times it at batch 1: a call
as the daemon makes it (from inputs written to outputs readable), without its graph, with the other
kind of memory, and beside the bare floor, a CUDA graph of nothing but the network, as trtexec
replays one.  Prints a table and ends with one line of JSON; minutes, mostly building.  Where there
is no TensorRT, ONNX Runtime's CUDA is timed alone; without either it says what is missing.

Fix the clocks first: ``sudo nvpmodel -m 0 && sudo jetson_clocks``.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from bench.part import NOTHING, Part, number, plain, print_parts
from edge.bundle import Bundle, list_bundles, load_bundle
from edge.bundle_index import Network
from edge.runtime import Engine, EngineError
from edge.runtime.cuda_driver import Graph
from edge.runtime.engine_file import read_engine
from edge.runtime.ort import OrtEngine
from edge.runtime.ort_gpu import OrtGpuEngine
from edge.runtime.settings import Runtime
from edge.runtime.trt import TrtEngine
from edge.runtime.trt_open import this_machine
from export.engine import Made, build_engine

FOLDER = Path("out/bench-gpu")
ROUNDS, WARM = 5000, 500
RATIO, HOST_US = 1.3, 30.0  # targets: a call over the bare graph; a call less the GPU's own time
HEADS = ("build, s", "call p50, us", "p99", "max", "bare p50", "ratio", "host", "no graph p50",
         "other memory", "ort-cuda", "ort cpu", "off")  # fmt: skip
Json = dict[str, Any]


def main() -> int:
    """Exit codes: 0 every target met, 1 one is not, 2 nothing could be measured here."""
    machine, wrong = "", []
    try:
        machine = f"{this_machine()}; {power_mode()}"
    except EngineError as e:
        print(f"bench.gpu: {e}", file=sys.stderr)
        if "CUDAExecutionProvider" not in ort.get_available_providers():
            return 2
        wrong.append(str(e))
    rows: list[tuple[str, ...]] = []
    models: Json = {}
    for bundle in map(load_bundle, list_bundles()):
        for network in networks_of(bundle):
            name = f"{bundle.spec.name} {network.precision}"
            try:
                found = on_tensorrt(bundle, network.precision) if machine else {}
                found |= on_onnx_runtime(bundle, network.precision)
            except EngineError as e:
                wrong.append(f"{name}: {e}")
                continue
            models.setdefault(bundle.spec.name, {})[network.precision] = found
            rows.append(_row(name, found))
            wrong += [f"{name}: {text}" for text in misses(found)]
    title = (
        f"{machine or 'no TensorRT'}; {ROUNDS} calls; off: of the largest output, from the CPU's"
    )
    numbers = {"machine": machine, "onnxruntime": ort.__version__, "models": models}
    print_parts([Part(title, HEADS, rows, numbers, tuple(wrong))], "bench.gpu")
    for text in wrong:
        print(text, file=sys.stderr)
    print(json.dumps(plain(numbers)))
    return int(bool(wrong))


def networks_of(bundle: Bundle) -> list[Network]:
    """Those that TensorRT may run."""
    return [n for n in bundle.networks if not n.targets or "trt" in n.targets]


def on_tensorrt(bundle: Bundle, precision: str) -> Json:
    """One network, built here; times in us.  Raises EngineError."""
    runtime = Runtime("trt", precision=precision, engines=str(FOLDER / "engines"))
    made = build_engine(bundle, runtime)
    plan = read_engine(runtime.folder, made.file)
    with contextlib.closing(TrtEngine(bundle, plan, runtime)) as engine:
        fill(engine)
        found = {"build_s": made.file.seconds, **quantiles("call", engine.run)}
        found["graph"] = engine.graphed
        found |= bare(engine)
        found["mapped"] = engine.mapped
    found["ratio"] = found["call_p50_us"] / found["bare_p50_us"]
    found["host_us"] = found["call_p50_us"] - found["gpu_us"]
    other = Runtime("trt", precision=precision, io="copy" if found["mapped"] else "mapped")
    with contextlib.closing(TrtEngine(bundle, plan, other)) as engine:
        fill(engine)
        found |= quantiles("other_memory", engine.run)
    return found | accuracy(made)


def bare(engine: TrtEngine) -> Json:
    """The floor: launch and wait, for a graph of the network alone; without a graph; GPU time."""
    stream, wait = engine.stream, engine.stream.synchronize

    def enqueue() -> None:
        engine.context.execute_async_v3(stream.handle)

    took = []
    with engine.gpu.active():
        graph = Graph(engine.gpu.driver, stream.handle, enqueue)
        found = quantiles("bare", graph.launch, wait)
        found |= quantiles("no_graph", enqueue, wait)
        graph.close()
        begin, end = engine.gpu.cuda.Event(), engine.gpu.cuda.Event()
        for _ in range(WARM):
            begin.record(stream)
            engine.launch()
            end.record(stream)
            end.synchronize()
            took.append(1000 * begin.time_till(end))
        del begin, end
    return found | {"gpu_us": float(np.median(took))}


def on_onnx_runtime(bundle: Bundle, precision: str) -> Json:
    """The same network on the CPU and, where it is installed, by the CUDA provider; times in us."""
    network = bundle.network("trt", precision)
    found: Json = {"ort_cuda_p50_us": None}
    with contextlib.closing(OrtEngine(bundle, network)) as engine:
        fill(engine)
        found |= quantiles("ort_cpu", engine.run)
    with contextlib.suppress(EngineError):
        engine = OrtGpuEngine(bundle, Runtime("ort-cuda", precision=precision))
        with contextlib.closing(engine):
            fill(engine)
            found |= quantiles("ort_cuda", engine.run)
    return found


def accuracy(made: Made) -> Json:
    """Beside ONNX Runtime on the CPU, as ``build-engine`` compared them."""
    return {
        "off": max(made.difference.relative.values()),
        "off_in_units": made.difference.worst,
        "compared_on": made.difference.inputs,
        "layers": made.layers.count(computes=True),
        "warnings": list(made.warnings),
    }


def quantiles(name: str, *calls: Callable[[], None]) -> Json:
    """Wall time of some calls, one after the other, in us, after warming up."""
    took = np.empty(WARM + ROUNDS)
    for k in range(len(took)):
        begin = time.perf_counter_ns()
        for call in calls:
            call()
        took[k] = time.perf_counter_ns() - begin
    us = took[WARM:] / 1000
    p50, p99 = np.percentile(us, (50, 99))
    return {f"{name}_p50_us": p50, f"{name}_p99_us": p99, f"{name}_max_us": us.max()}


def fill(engine: Engine) -> None:
    """Inputs of a usual size: how fast some kernels are depends on them."""
    rng = np.random.default_rng(0)
    for array in engine.inputs.values():
        array[...] = rng.normal(size=array.shape)


def misses(found: Json) -> Iterator[str]:
    """Which targets one network misses on TensorRT."""
    if "graph" not in found:
        return
    if not found["graph"]:
        yield "it could not be captured as a CUDA graph"
    if found["ratio"] > RATIO:
        yield f"a call takes {found['ratio']:.2f} times the bare graph; {RATIO} is the target"
    if found["host_us"] > HOST_US:
        yield f"{found['host_us']:.0f} us of a call are not the GPU's; {HOST_US:.0f} is the target"
    yield from found["warnings"]


def power_mode() -> str:
    """What a Jetson's clocks are set to: no figure means anything without it."""
    if not shutil.which("nvpmodel"):
        return "no nvpmodel here"
    done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, check=False)
    return ", ".join(done.stdout.split("\n")[:2])


def _row(name: str, f: Json) -> tuple[str, ...]:
    """A cell for each of HEADS; what was not measured is a dash."""
    times = ("call_p50_us", "call_p99_us", "call_max_us", "bare_p50_us")
    rest = (
        "host_us",
        "no_graph_p50_us",
        "other_memory_p50_us",
        "ort_cuda_p50_us",
        "ort_cpu_p50_us",
    )
    return (
        name,
        number(f.get("build_s"), 1),
        *(number(f.get(t), 1) for t in times),
        number(f.get("ratio")),
        *(number(f.get(t), 1) for t in rest),
        f"{f['off']:.1g}" if "off" in f else NOTHING,
    )


if __name__ == "__main__":
    sys.exit(main())
