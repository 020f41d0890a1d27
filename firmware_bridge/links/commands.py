"""Commands from a rehab device to the daemon: every one is validated and acknowledged.

``HELLO`` is the receiver's heartbeat (at least once a second).  ``STOP`` makes the states go out as
FAULT and NaN until ``START``: the stream itself never ends, so silence keeps its one meaning.  A
command sent again after a missing ACK has the same ``seq``; each of them does no harm twice.
"""

import math
import struct
from dataclasses import dataclass

from firmware_bridge.links.packet import (
    COMMAND,
    FIELDS,
    KINDS,
    UNKNOWN_AGE,
    Kind,
    Packet,
    Status,
    age_us,
    encode,
)
from firmware_bridge.types import UNKNOWN_NS

MAX_NAME = 31  # bytes of UTF-8
MAX_TEXT = 63
MAX_ANGLE_DEG = 360.0
MAX_VELOCITY_DEG_S = 5000.0
MAX_LOAD = 1000.0
MAX_AGE_US = 10_000_000
LOAD_UNITS = ("kg", "N m")


@dataclass(frozen=True, slots=True)
class Hello:
    """The receiver is there.  ``t_ns``: arrival."""

    seq: int
    t_ns: int
    name: str


@dataclass(frozen=True, slots=True)
class Start:
    """Let estimates flow again.  ``t_ns``: arrival."""

    seq: int
    t_ns: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Send FAULT and NaN until ``Start``.  ``t_ns``: arrival."""

    seq: int
    t_ns: int


@dataclass(frozen=True, slots=True)
class Encoder:
    """A joint as the device measures it.  ``t_ns``: of the measurement; UNKNOWN_NS if not said."""

    seq: int
    t_ns: int
    angle_deg: float
    velocity_deg_s: float  # NaN = not known


@dataclass(frozen=True, slots=True)
class Load:
    """A load as the device measures it.  ``t_ns``: of the measurement; UNKNOWN_NS if not said."""

    seq: int
    t_ns: int
    value: float
    unit: str  # one of LOAD_UNITS


@dataclass(frozen=True, slots=True)
class Mark:
    """An event worth finding again in the recording.  ``t_ns``: arrival."""

    seq: int
    t_ns: int
    code: int
    text: str


Command = Hello | Start | Stop | Encoder | Load | Mark


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that is not obeyed, and why; the ACK says the same."""

    seq: int
    kind: int
    status: Status


def decode_command(p: Packet, now_ns: int) -> Command | Refused:
    """The command of a packet that arrived at ``now_ns`` (CLOCK_MONOTONIC)."""
    try:
        command = _parse(p, now_ns)
    except (struct.error, UnicodeDecodeError):
        return Refused(p.seq, p.kind, Status.MALFORMED)
    return command if not isinstance(command, Status) else Refused(p.seq, p.kind, command)


def _parse(p: Packet, now_ns: int) -> Command | Status:
    if p.kind not in KINDS or not p.kind & COMMAND:
        return Status.UNSUPPORTED
    fields = FIELDS[Kind(p.kind)]
    numbers = fields.unpack_from(p.payload)
    rest = p.payload[fields.size :]
    text_bytes = numbers[-1] if p.kind in (Kind.HELLO, Kind.MARK) else 0
    if len(rest) != text_bytes:
        return Status.MALFORMED
    text = rest.decode()
    match p.kind:
        case Kind.HELLO:
            return Hello(p.seq, now_ns, text) if text_bytes <= MAX_NAME else Status.MALFORMED
        case Kind.MARK:
            if text_bytes > MAX_TEXT:
                return Status.MALFORMED
            return Mark(p.seq, now_ns, numbers[0], text)
        case Kind.ENCODER:
            angle, velocity, age = numbers
            known = math.isnan(velocity) or abs(velocity) <= MAX_VELOCITY_DEG_S
            if not (abs(angle) <= MAX_ANGLE_DEG and known and _plausible(age)):
                return Status.OUT_OF_RANGE
            return Encoder(p.seq, _measured_ns(age, now_ns), angle, velocity)
        case Kind.LOAD:
            value, age, unit = numbers
            if not (abs(value) <= MAX_LOAD and unit < len(LOAD_UNITS) and _plausible(age)):
                return Status.OUT_OF_RANGE
            return Load(p.seq, _measured_ns(age, now_ns), value, LOAD_UNITS[unit])
        case Kind.START:
            return Start(p.seq, now_ns)
        case _:
            return Stop(p.seq, now_ns)


def encode_command(command: Command, now_ns: int) -> bytes:
    """What a receiver sends, delimiter included; ``now_ns`` and ``t_ns`` are of its own clock.

    Raises ValueError for a text that is too long and a number its field cannot hold.
    """
    kind = Kind[type(command).__name__.upper()]
    fields = FIELDS[kind]
    try:
        match command:
            case Hello(name=name):
                payload = fields.pack(len(name.encode())) + name.encode()
            case Mark(code=code, text=text):
                payload = fields.pack(code, len(text.encode())) + text.encode()
            case Encoder(t_ns=t_ns, angle_deg=angle, velocity_deg_s=velocity):
                payload = fields.pack(angle, velocity, age_us(t_ns, now_ns))
            case Load(t_ns=t_ns, value=value, unit=unit):
                payload = fields.pack(value, age_us(t_ns, now_ns), LOAD_UNITS.index(unit))
            case _:
                payload = b""
    except struct.error as e:
        raise ValueError(f"{command}: {e}") from e
    return encode(kind, 0, command.seq, payload)


def _plausible(age: int) -> bool:
    return age <= MAX_AGE_US or age == UNKNOWN_AGE


def _measured_ns(age: int, now_ns: int) -> int:
    return UNKNOWN_NS if age == UNKNOWN_AGE else now_ns - age * 1000
