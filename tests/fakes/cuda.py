"""A GPU that is not there: PyCUDA's calls and the driver's, down to ctypes' function pointers.

As strict as the real ones where a mistake would show only there: work on a stream is done when
somebody waits for it, not before; copies want page-locked memory; a kernel finds only what lies at
an address of the GPU's; nothing works on a thread without a context; a thread that ends with a
context on PyCUDA's stack aborts the process.  ``calls`` is what was done, in order.
"""

import itertools
import threading
import time
import types
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_uint, c_ulonglong, c_void_p

import numpy as np

CONTEXT = 0xC0DE
INVALID_CONTEXT, NOT_PERMITTED, INVALIDATED = 201, 800, 901
ERRORS = {201: b"invalid device context", 800: b"operation not permitted when stream is capturing",
          901: b"operation failed due to a previous error during capture",
          708: b"primary context active"}  # fmt: skip


class Error(Exception):
    """``pycuda.driver.Error``."""


class LogicError(Error):
    """``pycuda.driver.LogicError``."""


class _PageLocked:
    """The base of a page-locked array, as PyCUDA's."""

    def __init__(self, cuda, nbytes, mapped):
        self._cuda, self._bytes = cuda, np.zeros(nbytes, np.uint8)
        self.__array_interface__ = self._bytes.__array_interface__
        self._address = cuda.place(self._bytes) if mapped else 0
        cuda.say("host_alloc")

    def get_device_pointer(self):
        if not self._address:
            raise LogicError("cuMemHostGetDevicePointer failed: invalid argument")
        return self._address

    def __del__(self):
        self._cuda.memory.pop(self._address, None)


class _DeviceAllocation:
    def __init__(self, cuda, nbytes):
        self._cuda = cuda
        self._address = cuda.place(np.full(nbytes, 0xAB, np.uint8))
        cuda.say("mem_alloc")

    def __int__(self):
        return self._address

    def free(self):
        self._cuda.require("mem_free")
        del self._cuda.memory[self._address]


class _Stream:
    """Holds back what is put on it until somebody waits."""

    def __init__(self, cuda, flags=0):
        cuda.say("stream")
        self._cuda, self.flags = cuda, flags
        self.handle = next(cuda.numbers)
        self.waiting, self.captured, self.broken = [], None, False
        cuda.streams[self.handle] = self

    def put(self, work):
        if self.captured is None:
            self.waiting.append(work)
        else:
            self.captured.append(work)

    def synchronize(self):
        self._cuda.require("synchronize")
        if self.captured is not None:
            self.broken = True
            raise LogicError("cuStreamSynchronize failed: " + ERRORS[NOT_PERMITTED].decode())
        waiting, self.waiting = self.waiting, []
        for work in waiting:
            work()


class FakeCuda:
    """One GPU.  ``capturable`` False: whatever is captured cannot become a graph."""

    def __init__(self, name="Orin", capability=(8, 7), driver=12060, integrated=True):
        self.name, self.capability, self.driver = name, capability, driver
        self.integrated = integrated
        self.capturable, self.present, self.in_use = True, True, False
        self.stale_graphs = False  # replaying does nothing: its answers are old ones
        self.calls, self.flags = [], None
        self.memory, self.streams, self.graphs = {}, {}, {}
        self.numbers = itertools.count(0x7F00_0000_0000, 0x1_0000_0000)  # none fits 32 bits
        self._current = threading.local()
        self.stacks = {}  # of PyCUDA, by thread

    # What the fake TensorRT asks

    def say(self, call):
        self.calls.append(call)

    def require(self, call):
        """The calling thread has our context, or the call fails as it would."""
        if getattr(self._current, "context", None) != CONTEXT:
            raise LogicError(f"{call} failed: {ERRORS[INVALID_CONTEXT].decode()}")
        self.say(call)

    def freed(self, what):
        """By Python, whenever: raising would go unheard."""
        context = getattr(self._current, "context", None)
        self.say(f"free {what}" + ("" if context == CONTEXT else ", without a context"))

    def place(self, data):
        address = next(self.numbers)
        self.memory[address] = data
        return address

    def at(self, address):
        """The bytes there, as a kernel finds them."""
        if address not in self.memory:
            raise LogicError(f"an illegal memory access was encountered: {address:#x}")
        return self.memory[address]

    # PyCUDA

    def modules(self):
        """``pycuda`` and ``pycuda.driver``."""
        cuda, driver = self, types.ModuleType("pycuda.driver")

        class Context:
            handle = CONTEXT

            def push(self):
                cuda.say("push")
                stack = cuda.stacks.setdefault(threading.get_ident(), [])
                stack.append(getattr(cuda._current, "context", None))
                cuda._current.context = CONTEXT

            def detach(self):
                cuda.say("detach")

            @staticmethod
            def pop():
                cuda.say("pop")
                cuda._current.context = cuda.stacks[threading.get_ident()].pop()

        class Device:
            def __init__(self, number):
                if not cuda.present:
                    raise LogicError("cuDeviceGet failed: no CUDA-capable device is detected")
                assert number == 0

            def name(self):
                return cuda.name

            def compute_capability(self):
                return cuda.capability

            def get_attribute(self, attribute):
                assert attribute == "INTEGRATED"
                return int(cuda.integrated)

            def retain_primary_context(self):
                cuda.say("retain")
                return Context()

        class Event:
            def __init__(self):
                cuda.require("make event")
                self._at = 0.0

            def record(self, stream):
                stream.put(lambda: setattr(self, "_at", time.perf_counter()))
                self._stream = stream

            def synchronize(self):
                self._stream.synchronize()

            def time_till(self, later):
                return 1000 * (later._at - self._at)

        driver.Event = Event
        driver.Error, driver.LogicError, driver.Device = Error, LogicError, Device
        driver.init = lambda flags=0: cuda.say("init")
        driver.get_driver_version = lambda: cuda.driver
        driver.device_attribute = types.SimpleNamespace(INTEGRATED="INTEGRATED")
        driver.host_alloc_flags = types.SimpleNamespace(PORTABLE=1, DEVICEMAP=2, WRITECOMBINED=4)
        driver.pagelocked_empty = self._pagelocked_empty
        driver.mem_alloc = self._mem_alloc
        driver.mem_get_info = lambda: (8 << 30, 8 << 30)
        driver.memcpy_htod_async = self._htod
        driver.memcpy_dtoh_async = self._dtoh
        driver.Stream = self._stream
        package = types.ModuleType("pycuda")
        package.driver = driver
        return {"pycuda": package, "pycuda.driver": driver}

    def _stream(self, flags=0):
        self.require("make stream")
        return _Stream(self, flags)

    def _pagelocked_empty(self, shape, dtype, order="C", mem_flags=0):
        self.require("pagelocked_empty")
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        base = _PageLocked(self, nbytes, bool(mem_flags & 2))
        as_shaped = {"shape": tuple(shape), "typestr": np.dtype(dtype).str, "strides": None}
        base.__array_interface__ = dict(base.__array_interface__) | as_shaped
        return np.asarray(base)

    def _mem_alloc(self, nbytes):
        self.require("make memory")
        return _DeviceAllocation(self, nbytes)

    def _htod(self, dest, src, stream=None):
        self.require("memcpy_htod_async")
        _check_pinned(src)
        stream.put(lambda: np.copyto(self.at(int(dest)), src.reshape(-1).view(np.uint8)))

    def _dtoh(self, dest, src, stream=None):
        self.require("memcpy_dtoh_async")
        _check_pinned(dest)
        stream.put(lambda: np.copyto(dest.reshape(-1).view(np.uint8), self.at(int(src))))

    # The driver's library

    def library(self):
        """What ``ctypes.CDLL("libcuda.so.1")`` gives: real function pointers."""
        table = {
            "cuDeviceGet": (self._device_get, POINTER(c_int), c_int),
            "cuDevicePrimaryCtxSetFlags_v2": (self._set_flags, c_int, c_uint),
            "cuCtxSetCurrent": (self._set_current, c_void_p),
            "cuStreamBeginCapture_v2": (self._begin, c_void_p, c_int),
            "cuStreamEndCapture": (self._end, c_void_p, POINTER(c_void_p)),
            "cuGraphInstantiateWithFlags": (
                self._instantiate, POINTER(c_void_p), c_void_p, c_ulonglong,
            ),
            "cuGraphLaunch": (self._launch, c_void_p, c_void_p),
            "cuGraphExecDestroy": (self._destroy("cuGraphExecDestroy"), c_void_p),
            "cuGraphDestroy": (self._destroy("cuGraphDestroy"), c_void_p),
            "cuGetErrorString": (self._error_string, c_int, POINTER(c_char_p)),
        }  # fmt: skip
        library = types.SimpleNamespace()
        for name, (function, *arguments) in table.items():
            setattr(library, name, CFUNCTYPE(c_int, *arguments)(function))
        return library

    def _here(self, call):
        if getattr(self._current, "context", None) != CONTEXT:
            return INVALID_CONTEXT
        self.say(call)
        return 0

    def _device_get(self, out, number):
        out[0] = number
        return 0

    def _set_flags(self, device, flags):
        if self.in_use:
            return 708
        self.flags = flags
        self.say("cuDevicePrimaryCtxSetFlags_v2")
        return 0

    def _set_current(self, context):
        self._current.context = context
        self.say("cuCtxSetCurrent")
        return 0

    def _begin(self, stream, mode):
        assert mode == 1, "thread local"
        self.streams[stream].captured = []
        return self._here("cuStreamBeginCapture_v2")

    def _end(self, stream, out):
        s = self.streams[stream]
        s.captured, work = None, s.captured
        broken, s.broken = s.broken or not self.capturable, False
        if broken:
            return INVALIDATED
        out[0] = next(self.numbers)
        self.graphs[out[0]] = work
        return self._here("cuStreamEndCapture")

    def _instantiate(self, out, graph, flags):
        out[0] = next(self.numbers)
        self.graphs[out[0]] = list(self.graphs[graph])
        return self._here("cuGraphInstantiateWithFlags")

    def _launch(self, graph, stream):
        if code := self._here("cuGraphLaunch"):
            return code
        for work in [] if self.stale_graphs else self.graphs[graph]:
            self.streams[stream].put(work)
        return 0

    def _destroy(self, call):
        def destroy(graph):
            del self.graphs[graph]
            return self._here(call)

        return destroy

    def _error_string(self, code, out):
        out[0] = ERRORS.get(code, b"unknown error")
        return 0


def _check_pinned(array):
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, _PageLocked), "an asynchronous copy of memory that is not page-locked"
