import binascii
import struct

import numpy as np
import pytest
from cobs import cobs
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.links.packet import (
    MAX_BODY,
    MAX_VALUES,
    MAX_WIRE,
    Ack,
    Decoder,
    Info,
    Kind,
    Packet,
    Status,
    decode_ack,
    decode_info,
    decode_state,
    encode_ack,
    encode_info,
    encode_state,
)
from firmware_bridge.types import UNKNOWN_NS, DeviceError, Flag, MuscleState, Output

# version 1, kind 1, flags LATE|REPLAY = 0x0084, seq 5, age 12345 us = 0x3039, n 2, no sd, pad 0,
# 1.5 = 0x3FC00000, -2.0 = 0xC0000000, CRC 0x4489: little-endian, then COBS, then the delimiter
GOLDEN_BODY = "01 01 8400 05000000 39300000 02 00 0000 0000c03f 000000c0"
GOLDEN = "04010184 0205 01 01 033930 01 0202 01 01 01 01 03c03f 01 01 04c08944 00"

INFO = Info(
    "calf@12ab", 10.0, (Output("angle", "deg", -60, 30), Output("torque", "N m")), Flag.REPLAY
)


def state(
    seq: int = 5,
    values: tuple[float, ...] = (1.5, -2.0),
    flags: Flag = Flag.LATE | Flag.REPLAY,
    t_ns: int = 1_000_000_000,
    sd: tuple[float, ...] | None = None,
) -> MuscleState:
    s = None if sd is None else np.array(sd, np.float32)
    return MuscleState(seq, t_ns, flags, np.array(values, np.float32), s)


def test_golden_state_has_these_bytes() -> None:
    wire = encode_state(state(), 1_012_345_678)
    (packet,) = Decoder().feed(wire)
    head = struct.pack("<BBHI", 1, packet.kind, packet.flags, packet.seq)
    assert head + packet.payload == bytes.fromhex(GOLDEN_BODY)
    assert wire == bytes.fromhex(GOLDEN)


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 0xFFFF),
    st.one_of(st.just(UNKNOWN_NS), st.integers(0, 10**12)),
    st.lists(st.floats(width=32), max_size=MAX_VALUES),
    st.booleans(),
)
def test_states_come_back_as_they_were(
    seq: int, flags: int, t_ns: int, values: list[float], has_sd: bool
) -> None:
    now_ns = 10**12
    sent = state(seq, tuple(values), Flag(flags), t_ns, tuple(values) if has_sd else None)
    (packet,) = Decoder().feed(encode_state(sent, now_ns))
    got = decode_state(packet, now_ns)
    assert got is not None
    assert (got.seq, got.flags) == (sent.seq, sent.flags)
    np.testing.assert_array_equal(got.values, sent.values)
    assert (got.sd is None) == (sent.sd is None)
    if sent.sd is not None and got.sd is not None:
        np.testing.assert_array_equal(got.sd, sent.sd)
    if t_ns == UNKNOWN_NS:
        assert got.t_ns == UNKNOWN_NS
    else:
        assert 0 <= got.t_ns - min(max(t_ns, now_ns - 0xFFFF_FFFE * 1000), now_ns) < 1000


def test_age_of_data_from_the_future_is_zero_and_a_long_one_does_not_wrap() -> None:
    for t_ns, age_ns in ((10**15, 0), (0, 0xFFFF_FFFE * 1000)):
        (packet,) = Decoder().feed(encode_state(state(t_ns=t_ns), 10**14))
        got = decode_state(packet, 10**14)
        assert got is not None
        assert 10**14 - got.t_ns == age_ns


def test_seq_wraps_at_32_bits() -> None:
    (packet,) = Decoder().feed(encode_state(state(seq=2**32 + 7), 0))
    assert packet.seq == 7


@settings(deadline=None)
@given(st.lists(st.integers(1, 97), min_size=1, max_size=40))
def test_packets_survive_any_chunking(sizes: list[int]) -> None:
    wire = b"".join(encode_state(state(seq=i), 2 * 10**9) for i in range(20))
    wire += encode_info(INFO, 3) + encode_ack(Ack(9, Kind.MARK, Status.OK))
    decoder, at, got = Decoder(), 0, []
    while at < len(wire):
        size = sizes[len(got) % len(sizes)]
        got += decoder.feed(wire[at : at + size])
        at += size
    assert [p.seq for p in got] == [*range(20), 3, 9]
    assert not any(decoder.counters.values())


@settings(deadline=None)
@given(st.data())
def test_a_damaged_packet_is_dropped_and_its_neighbours_are_not(data: st.DataObject) -> None:
    a, b, c = (encode_state(state(seq=i), 2 * 10**9) for i in range(3))
    at = data.draw(st.integers(0, len(b) - 2))
    bad = bytearray(b)
    bad[at] ^= data.draw(st.integers(1, 255))
    decoder = Decoder()
    got = decoder.feed(a + bytes(bad) + c)
    assert [p.seq for p in got] == [0, 2]
    assert sum(decoder.counters.values()) >= 1


@settings(deadline=None)
@given(st.binary(max_size=5000))
def test_rubbish_never_raises_and_is_followed_by_good_packets(rubbish: bytes) -> None:
    decoder = Decoder()
    decoder.feed(rubbish)
    assert decoder.feed(b"\0" + encode_state(state(seq=77), 0))[-1].seq == 77


def test_endless_data_without_a_delimiter_takes_bounded_memory_and_counts_once() -> None:
    decoder = Decoder()
    for _ in range(100):
        assert decoder.feed(b"\x55" * 1000) == []
    assert len(decoder._part) <= MAX_WIRE + 1
    assert decoder.feed(b"\0") == []
    assert decoder.counters["length"] == 1


@pytest.mark.parametrize(
    ("body", "counter"),
    [
        (bytes((1, 9)) + bytes(6), "kind"),
        (bytes((2, 1)) + bytes(6), "version"),
        (bytes((1, 1)), "length"),
    ],
)
def test_what_this_version_does_not_know_is_counted_by_name(body: bytes, counter: str) -> None:
    decoder = Decoder()
    crc = binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "little")
    assert decoder.feed(cobs.encode(body + crc) + b"\0") == []
    assert decoder.counters == dict.fromkeys(("cobs", "crc", "length", "version", "kind"), 0) | {
        counter: 1
    }


def test_an_unknown_command_gets_through_so_that_it_can_be_refused() -> None:
    body = bytes((1, 0xF0, 0, 0, 4, 0, 0, 0))
    crc = binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "little")
    assert Decoder().feed(cobs.encode(body + crc) + b"\0") == [Packet(0xF0, 0, 4, b"")]


def test_info_says_names_units_ranges_model_and_period() -> None:
    (packet,) = Decoder().feed(encode_info(INFO, 1))
    assert decode_info(packet) == INFO


def test_the_longest_info_is_more_than_one_cobs_block() -> None:
    outputs = tuple(Output(f"{'long' * 8}{i}", "N m", -1, 1) for i in range(MAX_VALUES))
    info = Info("m", 10.0, outputs)
    wire = encode_info(info, 1)
    assert 254 < len(wire) <= MAX_WIRE + 1
    assert decode_info(Decoder().feed(wire)[0]) == info


@pytest.mark.parametrize(
    ("model_id", "outputs", "remedy"),
    [
        ("m", tuple(Output("x", "") for _ in range(MAX_VALUES + 1)), "run fewer models"),
        ("m" * 256, (), "shorten"),
        ("m", tuple(Output("x" * 200, "") for _ in range(MAX_VALUES)), "shorten"),
        ("m", (Output("x", "", -1e300),), "shorten"),
    ],
)
def test_an_info_no_packet_can_hold_is_refused_when_it_is_made(
    model_id: str, outputs: tuple[Output, ...], remedy: str
) -> None:
    with pytest.raises(DeviceError, match=remedy):
        Info(model_id, 10.0, outputs)


@settings(deadline=None)
@given(st.integers(0, 0xFF), st.binary(max_size=MAX_BODY - 10))
def test_a_payload_that_does_not_fit_its_kind_decodes_to_none(kind: int, payload: bytes) -> None:
    packet = Packet(kind, 0, 0, payload)
    for decode in (lambda p: decode_state(p, 0), decode_info, decode_ack):
        decoded = decode(packet)
        assert decoded is None or kind in (Kind.STATE, Kind.INFO, Kind.ACK)


@pytest.mark.parametrize("cut", range(1, 40))
def test_torn_info_and_state_payloads_decode_to_none(cut: int) -> None:
    (info,) = Decoder().feed(encode_info(INFO, 1))
    (whole,) = Decoder().feed(encode_state(state(sd=(1.0, 2.0)), 0))
    assert decode_info(info._replace(payload=info.payload[:-cut])) is None
    assert decode_state(whole._replace(payload=whole.payload[:-cut]), 0) is None
