"""What a picture costs on the device: preprocessing and graph, one thread, every shipped bundle."""

import os
import sys
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.part import Part, number
from edge.bundle import MODEL, Bundle, list_bundles, load_bundle
from edge.preprocess import UsPipeline
from edge.runtime import open_engine
from firmware_bridge.types import Geometry
from training.readers import MG_PX_MM, mg_clip, video_frames
from training.splits import MG_EVAL

REPEATS = 400
BUDGET_MS = 8.0


@dataclass(frozen=True)
class Cost:
    """Times of every repeat (n,) in ms."""

    bundle: Bundle
    graph_ms: NDArray[np.float64]
    path_ms: NDArray[np.float64]  # preprocessing and graph


def device_part() -> Part:
    """Latency and size of every bundle that reads pictures.  Raises DataMissing, EngineError."""
    print("device: latency", file=sys.stderr)
    video = mg_clip(MG_EVAL[0]).video
    frame = np.ascontiguousarray(next(video_frames(video)).T)
    bundles = [b for b in map(load_bundle, list_bundles()) if _reads_pictures(b)]
    costs = [cost(b, frame) for b in bundles]
    # One graph that gives maps and values: segment and state.
    whole = [c for c in costs if c.bundle.spec.maps and c.bundle.spec.values]
    load = os.getloadavg()[0]
    numbers = {
        "image_path_ms": max(float(np.median(c.path_ms)) for c in whole) if whole else None,
        "load_average": load,
        "device": {c.bundle.spec.name: _plain(c) for c in costs},
    }
    wrong = () if whole else ("no shipped bundle gives maps and values: nothing to be timed",)
    lines, samples = frame.shape
    title = (
        f"one thread of ONNX Runtime, load average {load:.1f} on {os.cpu_count()} cores; "
        f"path: a picture of {lines} x {samples} to an estimate"
    )
    heads = ("file, kB", "graph p50, ms", "graph p99, ms", "path p50, ms", "path p99, ms")
    return Part(title, heads, [_row(c) for c in costs], numbers, wrong)


def cost(bundle: Bundle, frame: NDArray[np.uint8]) -> Cost:
    """Time ``frame (lines, samples)`` of MG_PX_MM a pixel through a bundle, again and again."""
    (given,) = (i for i in bundle.spec.inputs if i.source == "us")
    lines, samples = frame.shape
    geometry = Geometry("bmode", lines, samples, dz_mm=MG_PX_MM, dx_mm=MG_PX_MM)
    pipeline, engine = UsPipeline(geometry, given), open_engine(bundle)
    try:
        engine.warm_up()
        tensor = engine.inputs[given.name]
        s = np.empty((REPEATS, 3))
        for k in range(REPEATS):
            begin = time.perf_counter()
            np.copyto(tensor, pipeline.run(frame))
            ready = time.perf_counter()
            engine.run()
            s[k] = begin, ready, time.perf_counter()
    finally:
        engine.close()
    graph, path = (1000 * (s[:, 2] - s[:, k]) for k in (1, 0))
    return Cost(bundle, graph, path)


def _reads_pictures(bundle: Bundle) -> bool:
    return any(i.source == "us" for i in bundle.spec.inputs)


def _plain(c: Cost) -> dict[str, float]:
    found = {"file_kb": len(c.bundle.files[MODEL]) / 1000}
    for name, ms in (("graph", c.graph_ms), ("path", c.path_ms)):
        for q in (50, 99):
            found[f"{name}_p{q}_ms"] = float(np.percentile(ms, q))
    return found


def _row(c: Cost) -> tuple[str, ...]:
    spec = c.bundle.spec
    gives = [w for w, there in (("maps", spec.maps), ("values", spec.values)) if there]
    size, *times = _plain(c).values()
    return f"{c.bundle.id}: {' and '.join(gives)}", f"{size:.0f}", *(number(t) for t in times)
