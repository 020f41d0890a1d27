"""Ultrasound probes that speak the ``usb:`` protocol (``docs/usb-protocol.md``).

``usb:`` the only one plugged in; ``usb:A17`` by serial number; ``usb:1d6b:0105`` or
``usb:1d6b:0105:A17`` with other ids.  ``depth_mm``, ``gain_db`` and ``fps`` change settings;
``hv=on`` allows high voltage, which is off otherwise and after ``close``; ``timeout_ms`` is for
control requests.  ``usb:sim?…`` is a simulated probe (``simulated.py``).
"""

import contextlib
import errno
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from firmware_bridge.address import Address, flag
from firmware_bridge.probes import wire
from firmware_bridge.probes.frame_stream import FrameStream
from firmware_bridge.probes.pool import FramePool
from firmware_bridge.probes.usb_bus import explain, find_usb, text
from firmware_bridge.probes.usb_control import (
    SETTINGS,
    ask_info,
    ask_status,
    change,
    claim,
    make_safe,
    start,
)
from firmware_bridge.probes.wire import Capability, Info, State
from firmware_bridge.types import DeviceError, Frame

log = logging.getLogger(__name__)

PACKET_BYTES = 1024  # a multiple of every bulk packet size
SILENCE_NS = 1_000_000_000  # without a valid frame; then the stream is started again
_IDS = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::|$)")


def open_usb(address: str, backend: Any = None) -> "BulkProbe":
    """Find, set and start a probe; ``backend`` is a pyusb back-end, None for libusb.

    Raises DeviceError: not there, no permission, in use, a setting out of its range.
    """
    import usb.util

    a = Address(address)
    settings = {name: a.take(name, None, float) for name in SETTINGS}
    hv, timeout_ms = a.take("hv", False, flag), a.take("timeout_ms", 1000, _positive)
    target, live = a.target, True
    if target == "sim":
        from firmware_bridge.probes.simulated import simulated_bus

        target, live, backend = "", False, simulated_bus(a)
    a.done()
    dev = find_usb(*_parse(target), backend)
    dev.default_timeout = timeout_ms
    with contextlib.ExitStack() as undo, _explained(dev):
        undo.callback(usb.util.dispose_resources, dev)
        claim(dev)
        undo.callback(make_safe, dev)  # from here on it is ours to stop
        info = ask_info(dev)
        for name, value in settings.items():
            if value is not None:
                change(dev, info, name, value)
        if hv and not info.capabilities & Capability.HV:
            raise DeviceError("this probe has no high voltage: leave out hv=on")
        address = _lasting(dev, address) if live else address
        probe = BulkProbe(dev, ask_info(dev), address, live=live, hv=hv)
        start(dev, hv=hv)  # after the buffers are there: nobody would read meanwhile
        undo.pop_all()
        return probe


class BulkProbe:
    """A started probe.  The data of a frame is a view of a pooled buffer; see ``FramePool``.

    ``counters``: those of ``FrameStream``; ``halts`` of the endpoint; ``overflows`` of a transfer;
    ``stalls``, silences that ended with a new start; ``hv_off``, frames dropped because the probe
    had dropped the high voltage that was asked for: they are another kind of picture.
    """

    def __init__(self, dev: Any, info: Info, address: str, *, live: bool, hv: bool):
        frame_bytes = wire.HEADER_BYTES + info.raster.payload_bytes
        self.address, self.live = address, live
        self.geometry = wire.geometry_of(info.raster)
        self.backend = dev.backend  # the SimulatedBus of a simulated probe: plug, unplug, inject
        self._dev, self._hv = dev, hv
        self._stream = FrameStream(info.raster, max_frame_bytes=2 * frame_bytes)
        self.counters = self._stream.counters
        self.counters |= dict.fromkeys(("halts", "overflows", "stalls", "hv_off"), 0)
        # Larger than a frame, and whole packets: a longer transfer is then split, not refused.
        self._pool = FramePool((frame_bytes // PACKET_BYTES + 1) * PACKET_BYTES)
        self._frames: deque[Frame] = deque()  # more than one only after damage
        self._patience_ns = max(SILENCE_NS, 300 * 10**9 // max(info.rate.now, 1))  # 3 frames
        self._quiet_ns = 0  # time spent in read since the last frame
        self._closed = False
        self._lock = threading.Lock()  # libusb must not lose a handle that another thread reads

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; None after ``timeout_s`` without one, whatever else arrived."""
        with self._lock:
            if self._closed:
                raise DeviceError(f"{self.address} is closed: open it again")
            now_ns = time.monotonic_ns()
            deadline_ns = now_ns + int(timeout_s * 1e9)
            quiet_since_ns = now_ns - self._quiet_ns
            while not self._frames:
                give_up_ns = quiet_since_ns + self._patience_ns
                self._receive(min(deadline_ns, give_up_ns) - now_ns)
                now_ns = time.monotonic_ns()
                if self._frames:
                    break
                if now_ns >= give_up_ns:
                    self._restart((now_ns - quiet_since_ns) / 1e9)
                    quiet_since_ns = now_ns
                if now_ns >= deadline_ns:
                    self._quiet_ns = now_ns - quiet_since_ns
                    return None
            self._quiet_ns = 0
            return self._frames.popleft()

    def close(self) -> None:
        """High voltage off, stop, release; waits for a ``read`` in another thread."""
        import usb.util

        with self._lock:
            if not self._closed:
                self._closed = True
                make_safe(self._dev)
                usb.util.dispose_resources(self._dev)

    def _receive(self, wait_ns: int) -> None:
        """One transfer, into ``_frames`` and ``counters``."""
        buffer = self._pool.take()
        try:
            count = self._dev.read(wire.ENDPOINT, buffer, max(1, -(-wait_ns // 1_000_000)))
        except OSError as e:
            with _explained(self._dev):
                self._survive(e)
            return
        t_ns = time.monotonic_ns()
        for frame in self._stream.feed(memoryview(buffer)[:count]):
            if self._hv and not frame.flags & State.HV:
                self.counters["hv_off"] += 1
            else:
                self._frames.append(Frame(t_ns, frame.seq, frame.data, frame.device_us * 1000))

    def _survive(self, e: OSError) -> None:
        """Recover from an error of a transfer, or raise it."""
        if e.errno == errno.EPIPE:
            self.counters["halts"] += 1
            self._dev.clear_halt(wire.ENDPOINT)
        elif e.errno == errno.EOVERFLOW:
            self.counters["overflows"] += 1
        elif e.errno != errno.ETIMEDOUT:
            raise e

    def _restart(self, silent_s: float) -> None:
        self.counters["stalls"] += 1
        with _explained(self._dev):
            log.warning(
                "%s: no frame for %.1f s: %s", self.address, silent_s, ask_status(self._dev)
            )
            start(self._dev, hv=self._hv)


@contextlib.contextmanager
def _explained(dev: Any) -> Iterator[None]:
    """Errors of libusb become DeviceError."""
    try:
        yield
    except OSError as e:
        raise explain(e, dev) from e


def _parse(target: str) -> tuple[int, int, str]:
    """Vendor id, product id, serial number ("" for any)."""
    ids = _IDS.match(target)
    if ids is None:
        return wire.VENDOR_ID, wire.PRODUCT_ID, target
    return int(ids[1], 16), int(ids[2], 16), target[ids.end() :]


def _lasting(dev: Any, address: str) -> str:
    """The address that finds this very probe again, by its serial number."""
    ids = f"{dev.idVendor:04x}:{dev.idProduct:04x}"
    ours = ids == f"{wire.VENDOR_ID:04x}:{wire.PRODUCT_ID:04x}"
    _, mark, query = address.partition("?")
    serial = text(dev, dev.iSerialNumber)
    return f"usb:{serial if ours else f'{ids}:{serial}'}{mark}{query}" if serial else address


def _positive(text: str) -> int:
    if (value := int(text)) <= 0:
        raise ValueError("must be positive")
    return value
