"""Packets between the daemon and a rehab device, the same on every link.

On the wire: COBS of the body, then 0x00.  Body, little-endian, numbers naturally aligned::

    offset  type
    0       u8      version
    1       u8      kind
    2       u16     flags: ``Flag`` in STATE and INFO, else 0
    4       u32     seq: tick of a STATE, running number of an INFO, a command's own in its ACK
    8       ...     what the kind's line of ``FIELDS`` says
    end     u16     CRC-16/CCITT-FALSE of everything before it
"""

import binascii
import struct
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

import numpy as np
from cobs import cobs

from firmware_bridge.types import UNKNOWN_NS, DeviceError, Flag, MuscleState, Output

VERSION = 1
MAX_VALUES = 32  # of one state: a receiver's memory is finite
MAX_BODY = 2048  # with CRC; the longest state has 274
MAX_WIRE = MAX_BODY + MAX_BODY // 254 + 1  # COBS adds a byte per 254, without delimiter
UNKNOWN_AGE = 0xFFFF_FFFF
CRC_INIT = 0xFFFF
COMMAND = 0x80  # bit of the kinds that go from the rehab device to the daemon


class Kind(IntEnum):
    """What a packet is.  Commands have the bit ``COMMAND``."""

    STATE = 1
    INFO = 2
    ACK = 3
    HELLO = 0x81
    START = 0x82
    STOP = 0x83
    ENCODER = 0x84
    LOAD = 0x85
    MARK = 0x86


class Status(IntEnum):
    """What became of a command."""

    OK = 0
    MALFORMED = 1  # wrong length, text that is not UTF-8
    OUT_OF_RANGE = 2  # a number that is not finite or not plausible
    UNSUPPORTED = 3  # a kind this daemon does not know
    NOT_NOW = 4  # too many commands at once: send it again


HEAD = Struct("<BBHI")  # version, kind, flags, seq
FIELDS = {
    Kind.STATE: Struct("<IBBH"),  # age_us, n, has_sd, 0; n f32 values; n f32 SD if has_sd
    Kind.INFO: Struct("<IBBH"),  # period_us, n, id bytes, 0; n (min, max) f32; id; n (name, unit)
    Kind.ACK: Struct("<BBH"),  # kind of the command, Status, 0
    Kind.HELLO: Struct("<B"),  # name bytes; name
    Kind.START: Struct("<"),
    Kind.STOP: Struct("<"),
    Kind.ENCODER: Struct("<ffI"),  # angle deg, velocity deg/s (NaN = not known), age_us
    Kind.LOAD: Struct("<fIB3x"),  # value, age_us, unit: 0 = kg, 1 = N m
    Kind.MARK: Struct("<HB"),  # code, text bytes; text
}  # name and unit of an INFO are one length byte and UTF-8 each
_STATE = Struct(HEAD.format + FIELDS[Kind.STATE].format[1:])
KINDS = frozenset(Kind)


class Packet(NamedTuple):
    """A packet whose CRC and version are right; ``payload`` is what follows the head."""

    kind: int  # a Kind, or a command this version does not know
    flags: int
    seq: int
    payload: bytes


class Ack(NamedTuple):
    """The daemon's answer to the command ``kind`` with number ``seq``."""

    seq: int
    kind: int
    status: Status


@dataclass(frozen=True)
class Info:
    """What the values of the states mean.  Raises DeviceError when no packet can hold it."""

    model_id: str
    period_ms: float
    outputs: tuple[Output, ...]
    flags: Flag = Flag(0)  # those that hold for the whole session

    def __post_init__(self) -> None:
        if len(self.outputs) > MAX_VALUES:
            raise DeviceError(
                f"a state carries at most {MAX_VALUES} values, the models give"
                f" {len(self.outputs)}: run fewer models"
            )
        try:
            size = HEAD.size + len(_info_payload(self)) + 2
        except (struct.error, OverflowError, ValueError) as e:
            raise DeviceError(f"{self} does not fit a packet: {e}: shorten it") from e
        if size > MAX_BODY:
            raise DeviceError(f"names and units take {size} bytes of {MAX_BODY}: shorten them")


def encode(kind: Kind, flags: int, seq: int, payload: bytes) -> bytes:
    """A whole packet as it goes on the wire, delimiter included."""
    body = HEAD.pack(VERSION, kind, flags, seq & 0xFFFF_FFFF) + payload
    return _wire(body)


def encode_state(state: MuscleState, now_ns: int) -> bytes:
    """A state on the wire.  It carries its *age*: the receiver's clock is not ours."""
    values, sd = state.values, state.sd
    body = _STATE.pack(
        VERSION, Kind.STATE, state.flags, state.seq & 0xFFFF_FFFF,
        age_us(state.t_ns, now_ns), len(values), sd is not None, 0,
    ) + np.asarray(values, "<f4").tobytes()  # fmt: skip
    return _wire(body if sd is None else body + np.asarray(sd, "<f4").tobytes())


def decode_state(p: Packet, now_ns: int) -> MuscleState | None:
    """The state, its age counted back from ``now_ns`` of the local clock; None if malformed.

    ``values`` and ``sd`` are read-only views of the packet.
    """
    if p.kind != Kind.STATE or len(p.payload) < FIELDS[Kind.STATE].size:
        return None
    age, n, has_sd, _ = FIELDS[Kind.STATE].unpack_from(p.payload)
    if n > MAX_VALUES or has_sd > 1 or len(p.payload) != 8 + 4 * n * (1 + has_sd):
        return None
    numbers = np.frombuffer(p.payload, "<f4", n * (1 + has_sd), 8).astype(np.float32, copy=False)
    t_ns = UNKNOWN_NS if age == UNKNOWN_AGE else now_ns - age * 1000
    return MuscleState(p.seq, t_ns, Flag(p.flags), numbers[:n], numbers[n:] if has_sd else None)


def encode_info(info: Info, seq: int) -> bytes:
    """An INFO on the wire."""
    return encode(Kind.INFO, info.flags, seq, _info_payload(info))


def decode_info(p: Packet) -> Info | None:
    """The Info; None if malformed."""
    try:
        period_us, n, id_bytes, _ = FIELDS[Kind.INFO].unpack_from(p.payload)
        ranges = struct.unpack_from(f"<{2 * n}f", p.payload, 8)
        at = 8 + 8 * n + id_bytes
        model_id = p.payload[at - id_bytes : at].decode()
        texts = []
        for _ in range(2 * n):
            end = at + 1 + p.payload[at]
            texts.append(p.payload[at + 1 : end].decode())
            at = end
    except (struct.error, IndexError, UnicodeDecodeError):
        return None
    if p.kind != Kind.INFO or at != len(p.payload) or n > MAX_VALUES:
        return None
    outputs = tuple(map(Output, texts[::2], texts[1::2], ranges[::2], ranges[1::2]))
    return Info(model_id, period_us / 1000, outputs, Flag(p.flags))


def encode_ack(ack: Ack) -> bytes:
    """An ACK on the wire."""
    return encode(Kind.ACK, 0, ack.seq, FIELDS[Kind.ACK].pack(ack.kind, ack.status, 0))


def decode_ack(p: Packet) -> Ack | None:
    """The answer to a command; None if malformed."""
    try:
        kind, status, _ = FIELDS[Kind.ACK].unpack(p.payload)
        return Ack(p.seq, kind, Status(status)) if p.kind == Kind.ACK else None
    except (struct.error, ValueError):
        return None


def age_us(t_ns: int, now_ns: int) -> int:
    """Whole microseconds since ``t_ns``, as the wire has it."""
    if t_ns == UNKNOWN_NS:
        return UNKNOWN_AGE
    return min(max(now_ns - t_ns, 0) // 1000, UNKNOWN_AGE - 1)


class Decoder:
    """Packets out of a byte stream in pieces of any size.  Holds at most ``MAX_WIRE`` bytes.

    ``counters`` says what was dropped and why; a dict given by the owner is shared with it.
    """

    def __init__(self, counters: dict[str, int] | None = None):
        self.counters = counters if counters is not None else {}
        self.counters.update(dict.fromkeys(("cobs", "crc", "length", "version", "kind"), 0))
        self._part = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """Take bytes, give the packets that ended in them."""
        packets = []
        first, *rest = data.split(b"\0")
        self._add(first)
        for part in rest:
            found = self._end()
            if isinstance(found, str):
                self.counters[found] += 1
            elif found is not None:
                packets.append(found)
            self._add(part)
        return packets

    def _add(self, part: bytes) -> None:
        self._part += part[: MAX_WIRE + 1 - len(self._part)]  # one too many marks it as too long

    def _end(self) -> Packet | str | None:
        """The packet that ends here, or the counter of what is wrong with it."""
        raw = bytes(self._part)
        self._part.clear()
        if not raw:  # two delimiters in a row: somebody flushed the line
            return None
        if len(raw) > MAX_WIRE:
            return "length"
        try:
            body = cobs.decode(raw)
        except cobs.DecodeError:
            return "cobs"
        if not HEAD.size + 2 <= len(body) <= MAX_BODY:
            return "length"
        if binascii.crc_hqx(body[:-2], CRC_INIT) != int.from_bytes(body[-2:], "little"):
            return "crc"
        version, kind, flags, seq = HEAD.unpack_from(body)
        if version != VERSION:
            return "version"
        if kind not in KINDS and not kind & COMMAND:
            return "kind"
        return Packet(kind, flags, seq, body[HEAD.size : -2])


def _wire(body: bytes) -> bytes:
    crc = binascii.crc_hqx(body, CRC_INIT)
    return bytes(cobs.encode(body + crc.to_bytes(2, "little"))) + b"\0"


def _info_payload(info: Info) -> bytes:
    n, name = len(info.outputs), info.model_id.encode()
    parts = [FIELDS[Kind.INFO].pack(round(info.period_ms * 1000), n, len(name), 0)]
    parts += [struct.pack("<ff", o.min, o.max) for o in info.outputs]
    parts += [name, *(_text(t) for o in info.outputs for t in (o.name, o.unit))]
    return b"".join(parts)


def _text(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw
