"""``python -m tests.fakes.real_pycuda FOLDER``: PyCUDA itself, over ``driver.c``; prints "good".

``tests/edge/runtime/test_pycuda.py`` starts it as a process of its own, with that library on its
path.  TensorRT stays the stand-in; its kernels are put on PyCUDA's streams.
"""

import ctypes
import gc
import sys
import threading
from pathlib import Path

import numpy as np

from bench import gpu as bench
from edge.runtime import open_engine
from edge.runtime.settings import Runtime
from export.engine import build_engine
from tests.fakes.bundles import calf
from tests.fakes.tensorrt import Jetson

DRIVER = ctypes.CDLL("libcuda.so.1")
DRIVER.stand_in_size.argtypes, DRIVER.stand_in_size.restype = [ctypes.c_void_p], ctypes.c_size_t
DRIVER.stand_in_put.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
CALL = ctypes.CFUNCTYPE(None)


class ForGood:
    """As pytest's monkeypatch, but nothing is put back."""

    setattr = staticmethod(setattr)

    @staticmethod
    def setitem(mapping, key, value):
        mapping[key] = value


class Streams:
    """Of the driver, by handle; the fake TensorRT's kernels are called back."""

    def __init__(self):
        self._kept = []

    def __getitem__(self, handle):
        self._handle = handle
        return self

    def put(self, work):
        self._kept.append(CALL(work))
        DRIVER.stand_in_put(self._handle, ctypes.cast(self._kept[-1], ctypes.c_void_p))


class Gpu:
    """What the fake TensorRT asks of a GPU, answered by the driver."""

    name, capability = "Orin", (8, 7)

    def __init__(self):
        self.calls, self.streams = [], Streams()

    def require(self, call):
        self.calls.append(call)

    freed = require

    def at(self, address):
        n = DRIVER.stand_in_size(address)
        assert n, f"{address:#x} is not memory of the GPU"
        return np.ctypeslib.as_array((ctypes.c_uint8 * n).from_address(address))

    def modules(self):
        return {}  # PyCUDA itself

    def library(self):
        return DRIVER


def made_here_run_there_closed_elsewhere(bundle, runtime):
    """Threads end with PyCUDA's stack empty, or it aborts this process."""
    e = open_engine(bundle, runtime)
    assert e.graphed
    found = []

    def tick():
        e.inputs["load"][...] = 3
        e.run()
        found.append(e.outputs["values"])

    for work in (tick, e.close):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert np.allclose(found[0], 3)  # still there to be read


def main(folder):
    """Everything that our code asks of PyCUDA."""
    Jetson("10.3.0", cuda=Gpu()).install(ForGood)
    bundle = calf(folder / "calf")
    for io in ("mapped", "copy"):
        for wait in ("spin", "block"):
            runtime = Runtime("trt", io=io, wait=wait, engines=str(folder / "engines"))
            build_engine(bundle, runtime, say=lambda _: None)
            made_here_run_there_closed_elsewhere(bundle, runtime)
            gc.collect()
            assert DRIVER.stand_in_live() == 0, "memory of a closed engine that nobody looks at"
    assert DRIVER.stand_in_flags() == 1  # spinning: as settled first
    bench.list_bundles = lambda: [str(bundle.path)]
    bench.FOLDER, bench.ROUNDS, bench.WARM = folder / "bench", 5, 2
    bench.RATIO = bench.HOST_US = 1e9
    assert bench.main() == 0
    assert DRIVER.stand_in_retained() == 1
    print("good")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
