import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.links.commands import (
    Command,
    Encoder,
    Hello,
    Load,
    Mark,
    Refused,
    Start,
    Stop,
    decode_command,
    encode_command,
)
from firmware_bridge.links.packet import UNKNOWN_AGE, Decoder, Kind, Packet, Status
from firmware_bridge.types import UNKNOWN_NS

NOW = 50_000_000_000

GOOD: list[Command] = [
    Hello(1, NOW, "orthosis"),
    Hello(2, NOW, ""),
    Start(3, NOW),
    Stop(4, NOW),
    Encoder(5, NOW - 3_000_000, -12.5, 90.0),
    Encoder(6, UNKNOWN_NS, 360.0, -5000.0),
    Load(7, NOW, 3.25, "N m"),
    Load(8, NOW - 10_000_000_000, -2.0, "kg"),
    Mark(9, NOW, 65535, "größte Kraft"),
]


def through(command: Command) -> Command | Refused:
    (packet,) = Decoder().feed(encode_command(command, NOW))
    return decode_command(packet, NOW)


@pytest.mark.parametrize("command", GOOD, ids=str)
def test_commands_come_back_as_they_were(command: Command) -> None:
    assert through(command) == command


def test_a_velocity_may_be_unknown() -> None:
    got = through(Encoder(1, NOW, 5.0, math.nan))
    assert isinstance(got, Encoder)
    assert math.isnan(got.velocity_deg_s)


def test_measurements_are_dated_on_the_clock_of_the_daemon() -> None:
    (packet,) = Decoder().feed(encode_command(Encoder(1, 700_000, 0.0, 0.0), 2_700_000))
    got = decode_command(packet, NOW)
    assert isinstance(got, Encoder)
    assert got.t_ns == NOW - 2_000_000


@pytest.mark.parametrize(
    "command",
    [
        Encoder(1, NOW, 361.0, 0.0),
        Encoder(1, NOW, math.nan, 0.0),
        Encoder(1, NOW, math.inf, 0.0),
        Encoder(1, NOW, 0.0, 5001.0),
        Encoder(1, NOW, 0.0, -math.inf),
        Encoder(1, NOW - 11_000_000_000, 0.0, 0.0),
        Load(1, NOW, math.nan, "kg"),
        Load(1, NOW, 1001.0, "kg"),
        Load(1, NOW - 11_000_000_000, 1.0, "kg"),
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_out_of_range(command: Command) -> None:
    got = through(command)
    assert isinstance(got, Refused)
    assert (got.seq, got.status) == (1, Status.OUT_OF_RANGE)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Kind.HELLO, b""),
        (Kind.HELLO, b"\x05abc"),
        (Kind.HELLO, b"\x02\xff\xfe"),  # not UTF-8
        (Kind.HELLO, b"\x20" + b"x" * 32),  # one byte too long
        (Kind.START, b"x"),
        (Kind.STOP, b"x"),
        (Kind.ENCODER, bytes(11)),
        (Kind.ENCODER, bytes(13)),
        (Kind.LOAD, bytes(11)),
        (Kind.MARK, b"\x01"),
        (Kind.MARK, b"\x01\x00\x40" + b"x" * 64),
    ],
)
def test_a_wrong_length_or_text_is_malformed(kind: Kind, payload: bytes) -> None:
    refused = Refused(3, kind, Status.MALFORMED)
    assert decode_command(Packet(kind, 0, 3, payload), NOW) == refused


def test_an_unknown_unit_of_load_is_out_of_range() -> None:
    got = decode_command(Packet(Kind.LOAD, 0, 3, struct.pack("<fIB3x", 1.0, UNKNOWN_AGE, 2)), NOW)
    assert got == Refused(3, Kind.LOAD, Status.OUT_OF_RANGE)


@pytest.mark.parametrize("kind", [0x80, 0x87, 0xFF, Kind.STATE, Kind.ACK])
def test_what_is_no_command_is_unsupported(kind: int) -> None:
    refused = Refused(3, kind, Status.UNSUPPORTED)
    assert decode_command(Packet(kind, 0, 3, b""), NOW) == refused


@settings(deadline=None)
@given(st.integers(0, 255), st.binary(max_size=100))
def test_any_payload_gives_a_valid_command_or_a_refusal(kind: int, payload: bytes) -> None:
    got = decode_command(Packet(kind, 0, 1, payload), NOW)
    if isinstance(got, Encoder):
        assert abs(got.angle_deg) <= 360
    elif isinstance(got, Load):
        assert abs(got.value) <= 1000
    elif isinstance(got, Refused):
        assert got.status in (Status.MALFORMED, Status.OUT_OF_RANGE, Status.UNSUPPORTED)


@pytest.mark.parametrize(
    "command",
    [Hello(1, NOW, "x" * 256), Mark(1, NOW, 65536, ""), Load(1, NOW, 1.0, "lb")],
    ids=["text", "code", "unit"],
)
def test_what_no_packet_can_hold_is_refused_by_the_sender(command: Command) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode_command(command, NOW)
