"""The floor: nothing but the ONNX Runtime calls of a tick, in the daemon's thread set-up.

``bench.latency`` runs it as ``python -m bench.floor SECONDS PERIOD_MS FPS OUT.npy BUNDLE...``.
As in the daemon, a model of images runs in the ticks in which a new image would have come.
"""

import sys

import numpy as np

from edge.bundle import load_bundle
from edge.clock import Pacer, now_ns
from edge.realtime import RANK_TICK, RealTime, prepare_process, prepare_thread
from edge.runtime import open_engine


def main(seconds: float, period_ms: float, fps: float, out: str, bundles: list[str]) -> None:
    """Write the duration of every tick's calls in ns."""
    loaded = [load_bundle(b) for b in bundles]
    engines = [open_engine(b) for b in loaded]
    of_images = [any(i.source == "us" for i in b.spec.inputs) for b in loaded]
    rng = np.random.default_rng(0)
    for engine in engines:
        engine.warm_up()
        for array in engine.inputs.values():
            array[...] = rng.normal(size=array.shape)
    prepare_process(RealTime())
    prepare_thread(RealTime(), RANK_TICK)
    pacer = Pacer(int(period_ms * 1e6), now_ns())
    took = []
    for k in range(int(seconds * 1000 / period_ms)):
        pacer.wait()
        new_image = int(k * period_ms * fps / 1000) != int((k - 1) * period_ms * fps / 1000)
        start = now_ns()
        for engine, images in zip(engines, of_images, strict=True):
            if new_image or not images:
                engine.run()
        took.append(now_ns() - start)
    np.save(out, np.array(took, np.int64))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5:])
