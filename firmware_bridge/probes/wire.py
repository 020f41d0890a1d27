"""Bytes of the ``usb:`` probe protocol, version 1; ``docs/usb-protocol.md`` says what they mean.

Frame header, 64 bytes, little endian: ``SMYF`` | version u8 | header bytes u8 | flags u16 |
counter u32 | payload bytes u32 | device time u64 us | lines u16 | samples u16 | format u8 |
3 zero | dz u32 nm | dx u32 nm | depth0 u32 nm | transmit u32 Hz | 12 zero | CRC-32.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import NamedTuple
from zlib import crc32

from firmware_bridge.types import Geometry

VENDOR_ID, PRODUCT_ID = 0x1209, 0x5350  # pid.codes test space: a placeholder
VERSION = 1
ENDPOINT = 0x81  # bulk IN
MAGIC = b"SMYF"
MAX_PAYLOAD_BYTES = 1 << 24  # as much as Linux lends to all USB transfers together, by default
HV_ON = 0x4856  # "HV": no bit error of a zero wValue makes it
HV_WATCHDOG_NS = 1_000_000_000  # the device drops high voltage when nobody reads for so long

HEADER = struct.Struct("<4sBBHIIQHHB3xIIII12xI")
HEADER_BYTES = HEADER.size
_CRC_AT = HEADER_BYTES - 4
_INFO = struct.Struct("<4sHHIIHHB3xIIIIHHHhhhHHH6x")
INFO_BYTES = _INFO.size
_STATUS = struct.Struct("<IIIIQ8x")
STATUS_BYTES = _STATUS.size


class Request(IntEnum):
    """Vendor requests to the device; the argument is wValue, so that a bad one can be refused."""

    INFO = 1  # IN, 64 bytes
    START = 2
    STOP = 3
    STATUS = 4  # IN, 32 bytes
    DEPTH = 5  # 0.1 mm
    GAIN = 6  # 0.1 dB, signed
    RATE = 7  # 0.01 Hz
    HV = 8  # HV_ON or 0


class Capability(IntFlag):
    """What a probe can change."""

    DEPTH = 1
    GAIN = 2
    RATE = 4
    HV = 8


class State(IntFlag):
    """What a probe is doing: in INFO, STATUS and (HV only) in every frame."""

    HV = 1
    STREAMING = 2
    HV_DROPPED = 4  # by the watchdog, since the last HV request


class Format(IntEnum):
    """Pixel format."""

    BMODE_U8 = 1
    RF_I16 = 2


class Raster(NamedTuple):
    """A ``Geometry`` in the integers of the wire, so that equal means equal."""

    lines: int
    samples: int
    format: int
    dz_nm: int
    dx_nm: int
    depth0_nm: int
    tx_hz: int

    @property
    def payload_bytes(self) -> int:
        """Bytes of one picture."""
        return self.lines * self.samples * (1 if self.format == Format.BMODE_U8 else 2)


def raster_of(g: Geometry) -> Raster:
    """The nearest raster the wire can carry."""
    form = Format.BMODE_U8 if g.kind == "bmode" else Format.RF_I16
    dz_nm, dx_nm, depth0_nm = (round(mm * 1e6) for mm in (g.dz_mm, g.dx_mm, g.depth0_mm))
    return Raster(g.lines, g.samples, form, dz_nm, dx_nm, depth0_nm, round(g.tx_hz))


def geometry_of(r: Raster) -> Geometry:
    """The raster in millimetres and hertz."""
    return Geometry(
        "bmode" if r.format == Format.BMODE_U8 else "rf",
        r.lines,
        r.samples,
        dz_mm=r.dz_nm / 1e6,
        dx_mm=r.dx_nm / 1e6,
        depth0_mm=r.depth0_nm / 1e6,
        tx_hz=float(r.tx_hz),
    )


class Header(NamedTuple):
    """What stands before a picture."""

    flags: int
    counter: int  # u32, frames made since power-up, wraps
    device_us: int  # device clock when the last line was acquired
    raster: Raster
    crc: int

    @property
    def frame_bytes(self) -> int:
        """Header and payload."""
        return HEADER_BYTES + self.raster.payload_bytes


def decode_header(data: memoryview) -> Header | None:
    """The header ``data`` begins with, or None when it is not one of version 1."""
    if len(data) < HEADER_BYTES:
        return None
    magic, version, size, flags, counter, payload, device_us, *raster, crc = HEADER.unpack_from(
        data
    )
    header = Header(flags, counter, device_us, Raster(*raster), crc)
    known = (magic, version, size) == (MAGIC, VERSION, HEADER_BYTES)
    fits = payload == header.raster.payload_bytes > 0 and header.raster.format in (1, 2)
    return header if known and fits else None


def intact(data: memoryview, crc: int) -> bool:
    """Whether a whole frame in ``data`` has this CRC-32: of the payload, then of header[:60]."""
    return crc32(data[:_CRC_AT], crc32(data[HEADER_BYTES:])) == crc


def encode_header(
    raster: Raster, counter: int, device_us: int, flags: int, payload_crc: int
) -> bytes:
    """A header; ``payload_crc`` is the CRC-32 of the picture alone."""
    body = HEADER.pack(
        *(MAGIC, VERSION, HEADER_BYTES, flags, counter & 0xFFFF_FFFF, raster.payload_bytes),
        *(device_us, *raster, 0),
    )[:_CRC_AT]
    return body + crc32(body, payload_crc).to_bytes(4, "little")


class Range(NamedTuple):
    """A setting and its limits, in the steps of its request."""

    now: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Info:
    """Answer to INFO: what a probe is, can do and is set to."""

    raster: Raster
    capabilities: Capability
    state: State
    depth: Range
    gain: Range
    rate: Range


def encode_info(i: Info) -> bytes:
    """64 bytes."""
    return _INFO.pack(
        *(b"SMYI", VERSION, INFO_BYTES, i.capabilities, i.state, *i.raster),
        *(*i.depth, *i.gain, *i.rate),
    )


def decode_info(data: bytes) -> Info:
    """Parse INFO.  Raises ValueError when it is not of this protocol and version."""
    if len(data) < INFO_BYTES or data[:4] != b"SMYI":
        raise ValueError(f"no probe information in {data[:8]!r}")
    _, version, _, capabilities, state, *rest = _INFO.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"protocol version {version}, this program speaks {VERSION}")
    raster, ranges = Raster(*rest[:7]), rest[7:]
    if raster.format not in (1, 2) or not 0 < raster.payload_bytes <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"impossible raster {raster}")
    depth, gain, rate = (Range(*ranges[k : k + 3]) for k in (0, 3, 6))
    return Info(raster, Capability(capabilities), State(state), depth, gain, rate)


class Status(NamedTuple):
    """Answer to STATUS: u32 counters since power-up, and the device clock."""

    made: int
    sent: int
    lost: int  # overwritten in the device because nobody read
    state: int
    device_us: int


def encode_status(s: Status) -> bytes:
    """32 bytes."""
    return _STATUS.pack(*s)


def decode_status(data: bytes) -> Status:
    """Parse STATUS.  Raises ValueError when it is too short."""
    if len(data) < STATUS_BYTES:
        raise ValueError(f"STATUS of {len(data)} bytes, expected {STATUS_BYTES}")
    return Status(*_STATUS.unpack_from(data))
