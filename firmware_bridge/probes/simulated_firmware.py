"""What the firmware of a ``usb:`` probe does, as a state machine without a bus or a thread.

It is the executable form of ``docs/usb-protocol.md``.  All times are the caller's.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from firmware_bridge.probes import wire
from firmware_bridge.probes.simulated_faults import Fault, spoil
from firmware_bridge.probes.wire import Capability, Info, Raster, Request, State

BUFFERED = 4  # frames that wait in the device for a reader; then the oldest is lost
_RATE_NS = 100 * 10**9  # nanoseconds per frame = this / rate in 0.01 Hz

Picture = tuple[memoryview, int]  # payload bytes, and their CRC-32
Source = Callable[[int], Picture | None]  # by frame counter; None: nothing to show any more


class Firmware:
    """One powered-up probe.  Frame k of a run is ready (k + 1) / rate after START, exactly."""

    def __init__(
        self,
        info: Info,
        source: Source,
        faults: Iterable[Fault] = (),
        clock_offset_us: int = 0,
        clock_skew_ppm: float = 0.0,
    ):
        self.info = info
        self.halted = False  # the bulk endpoint, until CLEAR_FEATURE(ENDPOINT_HALT)
        self.unplugged = False  # a fault of that name came up
        self._source = source
        self._faults = list(faults)
        self._clock_offset_us, self._clock_skew_ppm = clock_offset_us, clock_skew_ppm
        self._start_ns = self._first = 0  # when this run began, and its first counter
        self._next = 0  # counter of the oldest frame not sent
        self._sent = self._lost = 0
        self._silent = False
        self._read_ns = 0  # when the host last wanted data
        self._again = b""

    def control(self, request: int, value: int, now_ns: int) -> bytes | None:
        """Answer to a vendor request (empty for OUT), or None: STALL."""
        self._watch_voltage(now_ns)
        match request:
            case Request.INFO:
                return wire.encode_info(self.info)
            case Request.STATUS:
                return wire.encode_status(self._status(now_ns))
            case Request.START:
                self.stop(now_ns, keep=State.HV)
                self._start_ns, self._first, self._silent = now_ns, self._next, False
                self._switch(State.STREAMING, True)
                return b""
            case Request.STOP:
                self.stop(now_ns)
                return b""
            case Request.HV:
                return self._set_voltage(value, now_ns)
            case Request.DEPTH | Request.GAIN | Request.RATE:
                return self._set(Request(request), value)
        return None

    def stop(self, now_ns: int, keep: int = 0) -> None:
        """End the run, forget its frames, switch high voltage off."""
        self._next = self._first + self._made(now_ns)
        self._again = b""
        self.info = replace(self.info, state=self.info.state & keep)

    def inject(self, name: str, count: int = 1) -> None:
        """Let the next ``count`` frames suffer a fault."""
        self._faults.append(Fault(name, self._next, count))

    def wants_data(self, now_ns: int) -> None:
        """The host begins a bulk read."""
        self._watch_voltage(now_ns)
        self._read_ns = now_ns

    def next_ns(self) -> int | None:
        """When the next frame is ready; None if nothing is coming."""
        if self._silent or not self.info.state & State.STREAMING:
            return None
        run = self._next - self._first + 1
        return self._start_ns + run * _RATE_NS // self.info.rate.now

    def transfer(self, now_ns: int) -> bytes:
        """The next bulk transfer, empty if none is ready; may set ``halted`` or ``unplugged``."""
        self._read_ns = now_ns
        if self._again:
            again, self._again = self._again, b""
            return again
        self._overwrite_oldest(now_ns)
        while not self.halted and (ready_ns := self.next_ns()) is not None and ready_ns <= now_ns:
            fault = self._fault()
            if fault in ("stall", "hang", "unplug"):
                self.halted |= fault == "stall"
                self._silent |= fault == "hang"
                self.unplugged |= fault == "unplug"
                return b""
            picture = self._source(self._next)
            if picture is None:
                self._silent = True
                return b""
            self._next += 1
            if fault != "skip":
                self._sent += 1
                return self._frame(fault, self._next - 1, picture, self._device_us(ready_ns))
        return b""

    def _frame(self, fault: str, counter: int, picture: Picture, device_us: int) -> bytes:
        hv, (payload, crc) = self.info.state & State.HV, picture
        frame = wire.encode_header(self.info.raster, counter, device_us, hv, crc) + payload
        if fault == "repeat":
            self._again = frame
        elif fault:
            return spoil(fault, frame)
        return frame

    def _made(self, now_ns: int) -> int:
        """Frames of this run whose ready time has come."""
        if not self.info.state & State.STREAMING:
            return self._next - self._first
        return ((now_ns - self._start_ns + 1) * self.info.rate.now - 1) // _RATE_NS

    def _overwrite_oldest(self, now_ns: int) -> None:
        lost = self._first + self._made(now_ns) - BUFFERED - self._next
        if lost > 0:
            self._lost += lost
            self._next += lost

    def _fault(self) -> str:
        for fault in self._faults:
            if fault.left and fault.at <= self._next:
                fault.left -= 1
                return fault.name
        return ""

    def _set(self, request: Request, value: int) -> bytes | None:
        """DEPTH, GAIN or RATE.  The raster and the rate of a run are constant."""
        value = value - 0x10000 if request == Request.GAIN and value > 0x7FFF else value
        capability, limits = {
            Request.DEPTH: (Capability.DEPTH, self.info.depth),
            Request.GAIN: (Capability.GAIN, self.info.gain),
            Request.RATE: (Capability.RATE, self.info.rate),
        }[request]
        busy = request != Request.GAIN and self.info.state & State.STREAMING
        allowed = capability & self.info.capabilities and limits.least <= value <= limits.most
        if busy or not allowed:
            return None
        done = limits._replace(now=value)
        if request == Request.DEPTH:
            self.info = replace(self.info, depth=done, raster=_deeper(self.info, value))
        elif request == Request.GAIN:
            self.info = replace(self.info, gain=done)
        else:
            self.info = replace(self.info, rate=done)
        return b""

    def _set_voltage(self, value: int, now_ns: int) -> bytes | None:
        if value not in (0, wire.HV_ON) or not self.info.capabilities & Capability.HV:
            return None
        self._read_ns = now_ns
        self._switch(State.HV_DROPPED, False)
        self._switch(State.HV, value == wire.HV_ON)
        return b""

    def _watch_voltage(self, now_ns: int) -> None:
        if self.info.state & State.HV and now_ns - self._read_ns > wire.HV_WATCHDOG_NS:
            self._switch(State.HV, False)
            self._switch(State.HV_DROPPED, True)

    def _switch(self, bit: State, on: bool) -> None:
        state = self.info.state
        self.info = replace(self.info, state=state | bit if on else state & ~bit)

    def _status(self, now_ns: int) -> wire.Status:
        self._overwrite_oldest(now_ns)
        made = self._first + self._made(now_ns)
        state, clock_us = self.info.state, self._device_us(now_ns)
        return wire.Status(made, self._sent, self._lost, state, clock_us)

    def _device_us(self, now_ns: int) -> int:
        return self._clock_offset_us + int(now_ns * (1 + self._clock_skew_ppm * 1e-6)) // 1000


def _deeper(info: Info, depth: int) -> Raster:
    """The same number of samples over another depth (0.1 mm, of the last sample)."""
    raster = info.raster
    dz_nm = (depth * 100_000 - raster.depth0_nm) // raster.samples
    return raster._replace(dz_nm=dz_nm)
