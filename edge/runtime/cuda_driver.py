"""The few functions of CUDA's driver library that PyCUDA lacks, through ctypes.

Graphs, and whose context a thread works in.  All are in the driver since CUDA 11.4 (JetPack 5).
"""

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_uint, c_ulonglong, c_void_p
from typing import Any

from edge.runtime import EngineError

LIBRARY = "libcuda.so.1"
# A capture fails if this thread does what cannot be captured; others may do as they like.
CAPTURE_THREAD_LOCAL = 1
SCHED_SPIN, SCHED_BLOCKING_SYNC = 1, 4
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDevicePrimaryCtxSetFlags_v2": (c_int, c_uint),
    "cuCtxSetCurrent": (c_void_p,),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cuGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphExecDestroy": (c_void_p,),
    "cuGraphDestroy": (c_void_p,),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
}


class Driver:
    """``libcuda``.  Every call raises EngineError where it fails, and releases the GIL."""

    def __init__(self) -> None:
        library = _load()
        self._functions: dict[str, Any] = {}
        for name, arguments in _FUNCTIONS.items():
            try:
                function = getattr(library, name)
            except AttributeError as e:
                raise EngineError(
                    f"the GPU's driver has no {name}: it is older than CUDA 11.4 (JetPack 5); "
                    'update it, or set runtime.engine = "ort"'
                ) from e
            function.argtypes, function.restype = arguments, c_int
            self._functions[name] = function

    def call(self, name: str, *arguments: Any) -> None:
        """Raises EngineError with what the driver says of the failure."""
        if code := self._functions[name](*arguments):
            raise self.error(name, code)

    def function(self, name: str) -> Callable[..., int]:
        """For the tick: the bare call, which returns a code, 0 = good."""
        function: Callable[..., int] = self._functions[name]
        return function

    def error(self, name: str, code: int) -> EngineError:
        """What the driver says of ``code``."""
        text = c_char_p()
        self._functions["cuGetErrorString"](code, ctypes.byref(text))
        said = text.value.decode() if text.value else "unknown error"
        return EngineError(f"{name} failed: {said} (CUDA error {code})")


class Graph:
    """Work on a stream, captured once, replayed by one call."""

    def __init__(self, driver: Driver, stream: int, work: Callable[[], None]):
        """``work`` puts on ``stream`` (a CUstream) what is to be captured; it does not run now.

        Raises what ``work`` raises, and EngineError where it cannot be captured.
        """
        self._driver = driver
        self._stream = c_void_p(stream)
        self._exec = c_void_p()
        self._launch = driver.function("cuGraphLaunch")
        graph = c_void_p()
        driver.call("cuStreamBeginCapture_v2", self._stream, CAPTURE_THREAD_LOCAL)
        try:
            work()
        except BaseException:
            # Or the stream would stay in capture, and refuse everything after.
            driver.function("cuStreamEndCapture")(self._stream, ctypes.byref(graph))
            if graph:
                driver.call("cuGraphDestroy", graph)
            raise
        driver.call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        try:
            driver.call("cuGraphInstantiateWithFlags", ctypes.byref(self._exec), graph, 0)
        finally:
            driver.call("cuGraphDestroy", graph)

    def launch(self) -> None:
        """Put the captured work on the stream; does not wait for it.  Raises EngineError."""
        if code := self._launch(self._exec, self._stream):
            raise self._driver.error("cuGraphLaunch", code)

    def close(self) -> None:
        """Destroy it; may be called twice."""
        if self._exec:
            self._driver.call("cuGraphExecDestroy", self._exec)
            self._exec = c_void_p()


def _load() -> Any:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as e:
        raise EngineError(
            f"no GPU driver on this machine ({e}): on a Jetson it comes with JetPack (in a "
            'container: --runtime nvidia); without a GPU set runtime.engine = "ort"'
        ) from e
