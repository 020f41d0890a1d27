"""What can be wrong with a probe, on purpose: ``garbage@120x3,hang@200``."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

from firmware_bridge.probes.wire import HEADER_BYTES, decode_header, encode_header

BABBLE_BYTES = 700


@dataclass
class Fault:
    """From frame ``at`` on, the next ``left`` frames suffer ``name`` (one of ``FAULTS``)."""

    name: str
    at: int
    left: int = 1

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(f"no fault {self.name!r}; known: {', '.join(FAULTS)}")


def parse_faults(text: str) -> tuple[Fault, ...]:
    """``NAME@FRAME`` or ``NAME@FRAMExCOUNT``, separated by commas.  Raises ValueError."""
    faults = []
    for item in filter(None, text.split(",")):
        name, _, where = item.partition("@")
        at, _, count = where.partition("x")
        faults.append(Fault(name, int(at), int(count or 1)))
    return tuple(faults)


def spoil(name: str, frame: bytes) -> bytes:
    """What a fault leaves of a frame on its way."""
    return _SPOIL[name](frame)


def _corrupt(frame: bytes) -> bytes:
    spoilt = bytearray(frame)
    spoilt[(HEADER_BYTES + len(frame)) // 2] ^= 0xFF
    return bytes(spoilt)


def _geometry(frame: bytes) -> bytes:
    """A well-formed frame with one sample less in each line."""
    was = decode_header(memoryview(frame))
    assert was is not None
    raster = was.raster._replace(samples=was.raster.samples - 1)
    payload = frame[HEADER_BYTES : HEADER_BYTES + raster.payload_bytes]
    return encode_header(raster, was.counter, was.device_us, was.flags, crc32(payload)) + payload


def _noise(frame: bytes, count: int) -> bytes:
    return random.Random(frame[:HEADER_BYTES]).randbytes(count)


_SPOIL: dict[str, Callable[[bytes], bytes]] = {
    "corrupt": _corrupt,  # one byte, so that the CRC is wrong
    "truncate": lambda frame: frame[: len(frame) // 2 + 1],
    "garbage": lambda frame: _noise(frame, len(frame)),  # instead of the frame
    "babble": lambda frame: frame + _noise(frame, BABBLE_BYTES),  # longer than it says
    "geometry": _geometry,
}
FAULTS = (*_SPOIL, "repeat", "skip", "stall", "hang", "unplug")
