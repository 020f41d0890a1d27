"""TensorRT through PyCUDA: fixed buffers, a stream of its own, one CUDA graph replayed per call."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.runtime import EngineError
from edge.runtime.contract import check_contract, settle
from edge.runtime.cuda_driver import Graph
from edge.runtime.gpu import Gpu, open_gpu
from edge.runtime.settings import Runtime
from edge.runtime.tensorrt_module import errors, import_tensorrt, log, logger

SMALL_BYTES = 64 * 1024  # io = "auto" on a Jetson: what is read once need not be copied first
_STREAM_NON_BLOCKING = 1  # nobody's work on the default stream is waited for
SEED = 0


@dataclass(frozen=True)
class Tensor:
    """A buffer that host and GPU share; ``address`` is the GPU's.

    ``device`` is memory of the GPU's own, which is copied to or from; None: it reads the host's.
    """

    name: str
    host: NDArray[np.float32]
    address: int
    device: Any


class TrtEngine:
    """See ``edge.runtime.Engine``.  ``plan`` is a serialised engine; the buffers are pinned.

    Any thread may make it, another one run it, and a third close it, one after the other.
    ``launch`` and ``wait`` are the halves of ``run``; they, ``gpu``, ``stream`` and TensorRT's
    ``context`` are there to be measured.
    """

    def __init__(self, bundle: Bundle, plan: bytes, runtime: Runtime):
        trt = import_tensorrt()
        self.gpu = open_gpu(runtime.wait)
        self._bound = threading.local()  # not a thread's number: the next thread may get it again
        self._io = runtime.io
        self._graph: Graph | None = None
        # A stream; TensorRT's runtime, engine and execution context.
        self.stream: Any = None
        self._runtime: Any = None
        self._engine: Any = None
        self.context: Any = None
        self._in: list[Tensor] = []
        self._out: list[Tensor] = []
        with self.gpu.active():
            try:
                self._open(trt, bundle, plan)
                self._capture()
            except self.gpu.cuda.Error as e:
                self._release()
                raise EngineError(
                    f"the GPU cannot take {bundle.id} ({e}): is its memory used up by others?"
                ) from e
            except BaseException:
                self._release()
                raise
        self.inputs = {t.name: t.host for t in self._in}
        self.outputs = {t.name: t.host for t in self._out}
        self.name = f"TensorRT {trt.__version__}, {self.gpu.name}"

    @property
    def graphed(self) -> bool:
        """Whether one launch replays everything, or each copy and kernel is launched."""
        return self._graph is not None

    @property
    def mapped(self) -> bool:
        """Whether the GPU reads and writes the host's memory, all of it, without copies."""
        return all(t.device is None for t in (*self._in, *self._out))

    def warm_up(self) -> float:
        """Run until the time per call settles, then zero every buffer; the median time in ms."""
        return settle(self.run, (*self.inputs.values(), *self.outputs.values()))

    def run(self) -> None:
        """One inference from ``inputs`` to ``outputs``.  Raises EngineError and PyCUDA's errors."""
        if not hasattr(self._bound, "here"):
            self.gpu.bind()
            self._bound.here = True
        self.launch()
        self.wait()

    def close(self) -> None:
        """Release the GPU's memory; may be called twice.  Who holds a buffer may still read it."""
        if self.stream is not None:
            with self.gpu.active():
                self._release()

    def information(self) -> str:
        """TensorRT's own JSON on every layer."""
        trt = import_tensorrt()
        with self.gpu.active():
            inspector = self._engine.create_engine_inspector()
            text: str = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
            del inspector
        return text

    def _open(self, trt: Any, bundle: Bundle, plan: bytes) -> None:
        self.stream = self.gpu.cuda.Stream(_STREAM_NON_BLOCKING)
        self._runtime = trt.Runtime(logger(trt))
        # No local names for these: an exception would keep them beyond what they depend on.
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(
                f"TensorRT {trt.__version__} cannot load the engine of {bundle.id}: {errors(trt)}"
            )
        names = [self._engine.get_tensor_name(k) for k in range(self._engine.num_io_tensors)]
        shapes = {n: tuple(self._engine.get_tensor_shape(n)) for n in names}
        wrong = [n for n in names if self._engine.get_tensor_dtype(n) != trt.DataType.FLOAT]
        wrong += [n for n in names if min(shapes[n], default=0) < 1]
        if wrong:
            raise EngineError(
                f"{bundle.id}: tensors {wrong} of the engine are not float32 of a fixed shape: "
                "export the network again"
            )
        into = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        out = [n for n in names if n not in into]
        check_contract(bundle.spec, {n: shapes[n] for n in into}, {n: shapes[n] for n in out})
        self.context = self._engine.create_execution_context()
        if self.context is None:
            raise EngineError(f"{bundle.id}: too little GPU memory for the engine: {errors(trt)}")
        self._in = [make_tensor(self.gpu, self._io, n, shapes[n]) for n in into]
        self._out = [make_tensor(self.gpu, self._io, n, shapes[n]) for n in out]
        for t in (*self._in, *self._out):
            if not self.context.set_tensor_address(t.name, t.address):
                raise EngineError(f"{bundle.id}: TensorRT refuses a buffer for {t.name!r}")
        self.wait: Callable[[], None] = self.stream.synchronize

    def _enqueue(self) -> None:
        """Put copies and kernels on the stream, one after the other."""
        cuda, stream = self.gpu.cuda, self.stream
        for t in self._in:
            if t.device is not None:
                cuda.memcpy_htod_async(t.device, t.host, stream)
        if not self.context.execute_async_v3(stream.handle):
            raise EngineError(f"TensorRT cannot run the network: {errors(import_tensorrt())}")
        for t in self._out:
            if t.device is not None:
                cuda.memcpy_dtoh_async(t.host, t.device, stream)

    def _capture(self) -> None:
        """Run once, make a graph of it, and keep the graph only if it gives the same again."""
        self.launch: Callable[[], None] = self._enqueue
        rng = np.random.default_rng(SEED)
        for t in self._in:
            t.host[...] = rng.normal(size=t.host.shape)
        self._enqueue()  # the first time, TensorRT allocates: that cannot be captured
        self.wait()
        wanted = [t.host.copy() for t in self._out]
        try:
            handle = self.stream.handle
            self._graph = Graph(self.gpu.driver, handle, self._enqueue)
            for t in self._out:
                t.host.fill(np.nan)
            self._graph.launch()
            self.wait()
        except (EngineError, self.gpu.cuda.Error) as e:
            self._forget_graph(f"cannot be captured ({e})")
        else:
            same = (np.allclose(t.host, w, rtol=1e-3, atol=1e-6, equal_nan=True)
                    for t, w in zip(self._out, wanted, strict=True))  # fmt: skip
            if all(same):
                self.launch = self._graph.launch
            else:
                self._forget_graph("does not give again what it gave")
        for t in (*self._in, *self._out):
            t.host.fill(0)

    def _forget_graph(self, why: str) -> None:
        log.warning("the network %s as a CUDA graph: launched kernel by kernel, slower", why)
        if self._graph is not None:
            self._graph.close()
            self._graph = None

    def _release(self) -> None:
        """In the opposite order of making; pinned memory goes with the last who looks at it."""
        self.launch = self.wait = _closed
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        self.context = None
        self._engine = None
        self._runtime = None
        for t in (*self._in, *self._out):
            if t.device is not None:
                t.device.free()
        self._in, self._out = [], []
        self.stream = None


def make_tensor(gpu: Gpu, io: str, name: str, shape: tuple[int, ...]) -> Tensor:
    """A pinned buffer of zeros, ``shape`` float32, and where the GPU finds it."""
    cuda = gpu.cuda
    small = 4 * int(np.prod(shape)) <= SMALL_BYTES
    if io == "mapped" or (io == "auto" and gpu.integrated and small):
        host = cuda.pagelocked_empty(shape, np.float32, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
        address, device = int(host.base.get_device_pointer()), None
    else:
        host = cuda.pagelocked_empty(shape, np.float32)
        device = cuda.mem_alloc(host.nbytes)
        address = int(device)
    host.fill(0)
    return Tensor(name, host, address, device)


def _closed() -> None:
    raise EngineError("the engine was closed: open it again")
