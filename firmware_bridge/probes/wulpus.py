"""WULPUS wearable probe through its USB dongle (CDC serial).

Wire frame, 813 bytes: ``START\\n`` 00 00 00 FF, pair u8, counter u16le, 400 x int16le.  There is no
checksum, so what is between two preambles must have the right length, pair and counter.

    wulpus:                                  the only dongle there is
    wulpus:/dev/ttyACM0?config=calf.json     this port, configured as in the file
    wulpus:/dev/serial/by-id/usb-...?dx_mm=4 elements 4 mm apart

``config`` is a file of the WULPUS tools, see ``wulpus_config.py``; without it each of the eight
channels sends and listens in turn.  One TX/RX pair: a frame is an acquisition, one line.  Several:
a frame is a whole sweep, a line for each pair; a sweep with a hole is dropped.

The firmware (1.2.3) overwrites the end of each acquisition, so samples from 397 on are not used.
"""

import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.address import Address
from firmware_bridge.parameters import not_negative
from firmware_bridge.probes.by_id import stable_path
from firmware_bridge.probes.serial_port import Port, SerialPort
from firmware_bridge.probes.wulpus_config import (
    MAX_SAMPLES,
    RESTART,
    WulpusConfig,
    encode,
    load_config,
)
from firmware_bridge.types import DeviceError, Frame, Geometry

PREAMBLE = b"START\n\0\0\0\xff"
PAIR_COUNTER = struct.Struct("<BH")
HEAD_BYTES = len(PREAMBLE) + PAIR_COUNTER.size
FRAME_BYTES = HEAD_BYTES + 2 * MAX_SAMPLES
USABLE_SAMPLES = 397

BAUD = 4_000_000  # nominal: USB does not care
UNKNOWN = -1
VID_PID = (0x1915, 0x521A)
RESTART_S = 2.5  # the probe's own start-up
SILENT_S = 3.0  # then the probe has lost its configuration, its power or its dongle


class Wulpus:
    """Opening starts the probe, ``close`` stops it: left alone it would go on sending pulses.

    ``device_ns`` of a frame counts periods of the probe's timer: that is all the clock it has.

    ``counters``: ``garbage_bytes`` between frames, ``torn`` frames cut short, ``bad_pair`` frames
    of a pair that is not configured, ``repeated`` and ``skipped`` acquisitions, ``restarts`` of the
    device counter, ``unused`` acquisitions of sweeps that have a hole.
    """

    live = True

    def __init__(
        self,
        address: str,
        port: Port,
        config: WulpusConfig,
        dx_mm: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.address = address
        self.geometry = Geometry(
            "rf",
            len(config.pairs),
            min(config.samples, USABLE_SAMPLES),
            config.mm_per_sample,
            dx_mm,
            config.depth0_mm,
            config.pulse_hz,
        )
        self.counters = dict.fromkeys(
            ("garbage_bytes", "torn", "bad_pair", "repeated", "skipped", "restarts", "unused"), 0
        )
        self._period_ns = config.period_ns
        self._port: Port | None = port
        self._buffer = bytearray()
        self._counter = UNKNOWN  # of the device, as it is on the wire
        self._count = 0  # the same, unwrapped
        self._origin = UNKNOWN  # its value at the beginning of the first sweep
        self._sweep: list[NDArray[np.int16]] = []  # lines that are there
        try:
            port.send(RESTART)
            sleep(RESTART_S)
            while port.recv(0.0):  # what was sent before is not of this configuration
                pass
            port.send(encode(config))
        except OSError as e:
            self.close()
            raise DeviceError(f"{address}: the dongle does not take bytes ({e}): replug it") from e
        self._arrived_ns = self._heard_ns = time.monotonic_ns()

    def read(self, timeout_s: float) -> Frame | None:
        """The next acquisition or sweep, or None within ``timeout_s``.

        Raises DeviceError when the dongle is gone or the probe is silent for ``SILENT_S``.
        """
        if self._port is None:
            raise DeviceError(f"{self.address} is closed: open it again")
        deadline_ns = time.monotonic_ns() + round(timeout_s * 1e9)
        frame = self._next()
        while frame is None:
            left_s = (deadline_ns - time.monotonic_ns()) * 1e-9
            try:
                data = self._port.recv(max(left_s, 0.0))
            except OSError as e:
                raise DeviceError(f"{self.address}: the dongle is gone ({e}): plug it in") from e
            self._buffer += data
            self._arrived_ns = time.monotonic_ns()
            frame = self._next()
            if frame is None and (left_s <= 0 or not data):
                self._check_silence()
                return None
        return frame

    def close(self) -> None:
        """Stop the probe and release the port."""
        port, self._port = self._port, None
        if port is None:
            return
        try:
            port.send(RESTART)
        except OSError:
            pass  # gone: nothing to stop through it
        finally:
            port.close()

    def _check_silence(self) -> None:
        if time.monotonic_ns() - self._heard_ns > SILENT_S * 1e9:
            raise DeviceError(
                f"{self.address}: no acquisition for {SILENT_S:g} s: switch the probe on, near its "
                "dongle; both must be built with the same device name"
            )

    def _next(self) -> Frame | None:
        """A frame out of what has arrived, if there is one."""
        while len(self._buffer) >= FRAME_BYTES:
            at = self._buffer.find(PREAMBLE, 0, FRAME_BYTES)
            again = self._buffer.find(PREAMBLE, 1, FRAME_BYTES)
            if at == 0 and again < 0:
                wire = bytes(self._buffer[:FRAME_BYTES])
                del self._buffer[:FRAME_BYTES]
                if frame := self._accept(wire):
                    return frame
                continue
            if at == 0:  # the next frame began too early: a radio packet was lost
                self.counters["torn"] += 1
                del self._buffer[:again]
                continue
            garbage = at if at > 0 else FRAME_BYTES - len(PREAMBLE) + 1  # it may have begun
            self.counters["garbage_bytes"] += garbage
            del self._buffer[:garbage]
        return None

    def _accept(self, wire: bytes) -> Frame | None:
        """A wire frame of the right length; a frame when it completes a sweep."""
        pair, counter = PAIR_COUNTER.unpack_from(wire, len(PREAMBLE))
        if pair >= self.geometry.lines:
            self.counters["bad_pair"] += 1
            return None
        step = self._advance(counter)
        if step == 0:
            return None
        self._heard_ns = self._arrived_ns
        if self._sweep and (step != 1 or pair != len(self._sweep)):
            self.counters["unused"] += len(self._sweep)
            self._sweep = []
        if pair != len(self._sweep):
            self.counters["unused"] += 1
            return None
        self._sweep.append(np.frombuffer(wire, "<i2", self.geometry.samples, HEAD_BYTES))
        if len(self._sweep) < self.geometry.lines:
            return None
        data = np.stack(self._sweep)
        data.flags.writeable = False
        self._sweep = []
        begin = self._count - pair
        if self._origin == UNKNOWN:
            self._origin = begin
        seq = (begin - self._origin) // self.geometry.lines
        return Frame(self._arrived_ns, seq, data, self._count * self._period_ns)

    def _advance(self, counter: int) -> int:
        """Unwrap the device counter; how far it went on, 0 for an acquisition already seen."""
        last, self._counter = self._counter, counter
        if last == UNKNOWN:
            return 1
        step = (counter - last) & 0xFFFF
        if step == 0:
            self.counters["repeated"] += 1
        elif step > 0x8000:  # it does not go back: it began again, who knows how much later
            self.counters["restarts"] += 1
            step = 2
        else:
            self.counters["skipped"] += step - 1
        self._count += step
        return step


def open_wulpus(address: str) -> Wulpus:
    """Configure the probe and start it: takes ``RESTART_S``.  Raises DeviceError."""
    parsed = Address(address)
    path = parsed.take("config", None, Path)
    dx_mm = parsed.take("dx_mm", 0.0, not_negative)
    parsed.done()
    config = load_config(path) if path else WulpusConfig()
    device = stable_path(parsed.target or _only_dongle(), "/dev/serial/by-id")
    _, mark, query = address.partition("?")
    try:
        port = SerialPort(device, BAUD)
    except OSError as e:
        raise DeviceError(
            f"cannot open {device} ({e}): plug the dongle in, close other programs that use it, "
            "and join the group that owns it (often dialout)"
        ) from e
    return Wulpus(f"wulpus:{device}{mark}{query}", port, config, dx_mm)


def _only_dongle() -> str:
    from serial.tools.list_ports import comports

    found = sorted(p.device for p in comports() if (p.vid, p.pid) == VID_PID)
    if len(found) != 1:
        raise DeviceError(
            f"found {len(found)} WULPUS dongles {found}: plug one in, or name its port as in "
            "wulpus:/dev/ttyACM0"
        )
    return str(found[0])
