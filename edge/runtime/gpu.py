"""The GPU through PyCUDA: one primary context per process, shared with TensorRT.

PyCUDA keeps a stack of contexts per thread and aborts the process when a thread ends with one on
it: so a context is on it only while something is made or freed (``active``).  A thread that merely
runs the network is told its context by the driver itself (``bind``).
"""

import atexit
import ctypes
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge.runtime import EngineError
from edge.runtime.cuda_driver import SCHED_BLOCKING_SYNC, SCHED_SPIN, Driver

log = logging.getLogger(__name__)

_opened: dict[str, "Gpu"] = {}  # one for the life of the process: contexts are not for reopening


class Gpu:
    """The first GPU.  ``cuda`` is ``pycuda.driver``; ``compute_capability`` as in "8.7"."""

    def __init__(self, wait: str):
        self.driver = Driver()
        self.cuda = _pycuda()
        try:
            self.cuda.init()
            device = self.cuda.Device(0)
        except self.cuda.Error as e:
            raise EngineError(
                f"no GPU answers ({e}): does nvidia-smi or tegrastats see it, may this user use it "
                '(group video or render)?  Without a GPU set runtime.engine = "ort"'
            ) from e
        number = ctypes.c_int()
        self.driver.call("cuDeviceGet", ctypes.byref(number), 0)
        # How a thread waits is the context's affair.  Spinning in Python instead, with the GIL
        # held, would keep the release thread from sending.
        flag = SCHED_SPIN if wait == "spin" else SCHED_BLOCKING_SYNC
        try:
            self.driver.call("cuDevicePrimaryCtxSetFlags_v2", number, flag)
        except EngineError as e:  # another library of this process was here first
            log.warning("runtime.wait = %r is not obeyed (%s)", wait, e)
        self._context = device.retain_primary_context()
        self._handle = ctypes.c_void_p(self._context.handle)
        self.name: str = device.name()
        self.compute_capability = "{}.{}".format(*device.compute_capability())
        version = self.cuda.get_driver_version()  # as 12060
        self.cuda_version = f"{version // 1000}.{version % 1000 // 10}"
        # A Jetson's GPU uses the same memory as its processor.
        self.integrated = bool(device.get_attribute(self.cuda.device_attribute.INTEGRATED))

    @contextmanager
    def active(self) -> Iterator[None]:
        """The calling thread may make and free things on the GPU meanwhile."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def leave(self) -> None:
        """At the end of the process; or PyCUDA complains that it cannot let go of the context."""
        self._context.detach()

    def bind(self) -> None:
        """The calling thread may from now on run what was made."""
        self.driver.call("cuCtxSetCurrent", self._handle)


def open_gpu(wait: str = "spin") -> Gpu:
    """The GPU of this process; how its threads wait is settled the first time.

    Raises EngineError with the remedy.
    """
    if not _opened:
        _opened["gpu"] = Gpu(wait)
        atexit.register(_opened["gpu"].leave)
    return _opened["gpu"]


def _pycuda() -> Any:
    try:
        import pycuda.driver
    except ImportError as e:
        raise EngineError(
            f"PyCUDA is not here or does not load ({e}): pip install 'sonomyo[jetson]' (compiles "
            'for minutes; docs/tensorrt.md), or set runtime.engine = "ort"'
        ) from e
    return pycuda.driver
