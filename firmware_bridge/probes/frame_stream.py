"""Whole frames out of raw ``usb:`` transfers, whatever happened to the bytes on the way."""

from array import array
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.probes.wire import (
    HEADER_BYTES,
    MAGIC,
    Format,
    Header,
    Raster,
    decode_header,
    intact,
)

LATE_COPIES = 8  # a frame at most so far behind the newest is an old one sent again


class WireFrame(NamedTuple):
    """A valid frame; ``data`` is (lines, samples), read-only, and may be a view of the transfer."""

    seq: int  # device counter, unwrapped
    device_us: int
    flags: int  # wire.State
    data: NDArray[Any]


class FrameStream:
    """Feed transfers of any size, get frames of ``raster``; everything else is counted.

    ``counters``: ``crc`` frames with a wrong checksum; ``torn`` frames cut off; ``garbage_bytes``
    that belong to no frame; ``skipped`` steps of the device counter without a valid frame, lost or
    damaged; ``repeated`` frames sent again; ``geometry`` frames of another raster; ``restarts`` of
    the device counter.
    """

    def __init__(self, raster: Raster, max_frame_bytes: int):
        self.counters = dict.fromkeys(
            ("crc", "torn", "garbage_bytes", "skipped", "repeated", "geometry", "restarts"), 0
        )
        self._raster = raster
        self._max_frame_bytes = max_frame_bytes  # a header that claims more is not waited for
        self._rest = b""
        self._last: Header | None = None
        self._seq = 0

    def feed(self, transfer: "bytes | bytearray | memoryview | array[int]") -> list[WireFrame]:
        """The frames that ``transfer`` completes.

        A transfer that is exactly one frame is checked where it lies: ``data`` is then a view of
        it, and its owner must not write to it while ``data`` lives (see ``FramePool``).
        """
        view = memoryview(transfer)
        if not self._rest:
            header = decode_header(view)
            if header and len(view) == header.frame_bytes and intact(view, header.crc):
                return self._accept(header, view)
        return self._resynchronise(self._rest + view)

    def _resynchronise(self, data: bytes) -> list[WireFrame]:
        """Take every whole frame out of ``data`` and keep what may still become one."""
        frames: list[WireFrame] = []
        while found := self._first_whole(data):
            at, header = found
            self._settle(data[:at], ended=True)
            end = at + header.frame_bytes
            frames += self._accept(header, memoryview(data)[at:end])
            data = data[end:]
        self._rest = self._settle(data, ended=False)
        return frames

    def _first_whole(self, data: bytes) -> tuple[int, Header] | None:
        """Looks behind unfinished frames too: a whole frame there proves them torn."""
        view = memoryview(data)
        at = data.find(MAGIC)
        while at >= 0:
            header = self._header(view[at:])
            end = at + header.frame_bytes if header else 0
            if header and end <= len(data) and intact(view[at:end], header.crc):
                return at, header
            at = data.find(MAGIC, at + 1)
        return None

    def _settle(self, data: bytes, *, ended: bool) -> bytes:
        """Count the damage in bytes without a whole frame; gives the tail that may become one."""
        done, at = 0, data.find(MAGIC)
        while at >= 0:
            header = self._header(memoryview(data)[at:])
            end = at + (header.frame_bytes if header else HEADER_BYTES)
            if end > len(data) and not ended:
                self.counters["garbage_bytes"] += at - done
                return data[at:]
            if header or end > len(data):
                self.counters["garbage_bytes"] += at - done
                cut = data.find(MAGIC, at + 1, end)
                self.counters["torn" if cut >= 0 or end > len(data) else "crc"] += 1
                done = cut if cut >= 0 else min(end, len(data))
            at = data.find(MAGIC, max(at + 1, done))
        keep = 0 if ended else _magic_begun(data[done:])
        self.counters["garbage_bytes"] += len(data) - done - keep
        return data[len(data) - keep :]

    def _header(self, data: memoryview) -> Header | None:
        header = decode_header(data)
        return header if header and header.frame_bytes <= self._max_frame_bytes else None

    def _accept(self, header: Header, frame: memoryview) -> list[WireFrame]:
        """An intact frame, unless it was seen before or is of another raster."""
        if not self._advance(header):
            self.counters["repeated"] += 1
            return []
        if header.raster != self._raster:
            self.counters["geometry"] += 1
            return []
        dtype = np.uint8 if header.raster.format == Format.BMODE_U8 else np.dtype("<i2")
        data = np.frombuffer(frame[HEADER_BYTES:], dtype)
        data = data.reshape(header.raster.lines, header.raster.samples)
        data.setflags(write=False)
        return [WireFrame(self._seq, header.device_us, header.flags, data)]

    def _advance(self, new: Header) -> bool:
        """Unwrap the counter into ``_seq``; False for a frame already seen."""
        last, self._last = self._last, new
        if last is None:
            self._seq = new.counter
            return True
        ahead = (new.counter - last.counter) & 0xFFFF_FFFF
        behind = -ahead & 0xFFFF_FFFF
        if behind <= LATE_COPIES and new.device_us <= last.device_us:
            self._last = last
            return False
        if ahead == 0 or behind < ahead or new.device_us < last.device_us:
            self.counters["restarts"] += 1  # the firmware began again: how much is lost, who knows
            ahead = 1
        self.counters["skipped"] += ahead - 1
        self._seq += ahead
        return True


def _magic_begun(data: bytes) -> int:
    """How many of the last bytes may be the beginning of a magic."""
    return next((n for n in (3, 2, 1) if data.endswith(MAGIC[:n])), 0)
