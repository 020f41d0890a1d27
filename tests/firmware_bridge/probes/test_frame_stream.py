"""What comes out of a stream of transfers: whole frames, in order, and an account of the rest."""

from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.probes.frame_stream import FrameStream
from firmware_bridge.probes.wire import Raster, encode_header

RASTER = Raster(3, 5, 1, 100_000, 300_000, 0, 5_000_000)
FRAME_BYTES = 64 + 15


def picture(k: int) -> bytes:
    return bytes((17 * k + n) % 256 for n in range(15))


def frame(k: int, *, device_us: int | None = None, raster: Raster = RASTER) -> bytes:
    payload = picture(k)[: raster.payload_bytes]
    device_us = 1000 * k if device_us is None else device_us
    return encode_header(raster, k, device_us, 0, crc32(payload)) + payload


def stream() -> FrameStream:
    return FrameStream(RASTER, max_frame_bytes=2 * FRAME_BYTES)


def seqs(s: FrameStream, *transfers: bytes) -> list[int]:
    return [f.seq for t in transfers for f in s.feed(t)]


def damage(s: FrameStream) -> dict[str, int]:
    return {name: n for name, n in s.counters.items() if n}


def test_a_transfer_that_is_a_frame_is_used_where_it_lies():
    transfer = bytearray(frame(4))
    (got,) = stream().feed(memoryview(transfer))
    assert np.shares_memory(got.data, np.frombuffer(transfer, np.uint8))
    assert got.data.tobytes() == picture(4)
    assert got.data.shape == (3, 5)
    assert (got.seq, got.device_us) == (4, 4000)
    assert not got.data.flags.writeable


def test_rf_pixels_are_little_endian_int16():
    raster = RASTER._replace(format=2, samples=2)
    payload = np.array([[-2, 300], [0, 1], [-32768, 32767]], "<i2").tobytes()
    transfer = encode_header(raster, 0, 0, 0, crc32(payload)) + payload
    (got,) = FrameStream(raster, 1000).feed(transfer)
    assert got.data.dtype == np.dtype("<i2")
    assert got.data.tolist() == [[-2, 300], [0, 1], [-32768, 32767]]


NOISE = st.binary(max_size=40).filter(lambda noise: b"SMYF" not in noise)


@settings(deadline=None)
@given(
    st.lists(NOISE, min_size=1, max_size=6),
    st.lists(st.integers(1, 200), min_size=1, max_size=12),
)
def test_frames_survive_any_chunking_and_garbage_between(garbage, chunks):
    data = b"".join(g + frame(k) for k, g in enumerate(garbage))
    s, got, at, turn = stream(), [], 0, 0
    while at < len(data):
        step = chunks[turn % len(chunks)]
        got += s.feed(data[at : at + step])
        at, turn = at + step, turn + 1
    assert [(f.seq, f.data.tobytes()) for f in got] == [
        (k, picture(k)) for k in range(len(garbage))
    ]
    assert damage(s) in ({}, {"garbage_bytes": sum(map(len, garbage))})


@settings(deadline=None)
@given(st.data())
def test_whatever_happens_to_the_bytes_only_true_frames_come_out_and_the_next_is_not_missed(data):
    raw = bytearray(b"".join(frame(k) for k in range(5)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "magic"])):
            case "flip":
                raw[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del raw[at : at + data.draw(st.integers(1, 100))]
            case "insert":
                raw[at:at] = data.draw(st.binary(min_size=1, max_size=100))
            case "magic":
                raw[at : at + 4] = b"SMYF"
    step = data.draw(st.integers(1, 300))
    s = stream()
    got = [f for at in range(0, len(raw), step) for f in s.feed(raw[at : at + step])]
    assert all(f.data.tobytes() == picture(f.seq) for f in got)
    assert [f.seq for f in got] == sorted({f.seq for f in got})
    assert seqs(s, frame(9)) == [9]


def test_the_counter_wraps_without_looking_like_loss():
    s = stream()
    last = 2**32 - 1
    assert seqs(s, frame(last - 1, device_us=1), frame(last, device_us=2)) == [last - 1, last]
    assert seqs(s, frame(0, device_us=3), frame(2, device_us=5)) == [2**32, 2**32 + 2]
    assert damage(s) == {"skipped": 1}


def test_a_gap_is_counted_and_kept_in_seq():
    s = stream()
    assert seqs(s, frame(5), frame(6), frame(10)) == [5, 6, 10]
    assert damage(s) == {"skipped": 3}


def test_a_frame_sent_again_is_dropped():
    s = stream()
    assert seqs(s, frame(5), frame(5), frame(6), frame(4), frame(7)) == [5, 6, 7]
    assert damage(s) == {"repeated": 2}


@pytest.mark.parametrize("first", [0, 3, 500])
def test_a_firmware_that_begins_again_goes_on_with_the_next_seq(first):
    s = stream()
    again = [frame(first + k, device_us=50 + k) for k in range(3)]
    assert seqs(s, frame(400), frame(401), *again) == [400, 401, 402, 403, 404]
    assert damage(s) == {"restarts": 1}


def test_a_frame_of_another_raster_is_dropped_and_not_missed():
    s = stream()
    assert seqs(s, frame(1), frame(2, raster=RASTER._replace(samples=4)), frame(3)) == [1, 3]
    assert damage(s) == {"geometry": 1}


def test_a_torn_frame_does_not_delay_the_next():
    s = stream()
    assert seqs(s, frame(1), frame(2)[:30]) == [1]
    assert seqs(s, frame(3)) == [3]
    assert damage(s) == {"torn": 1, "skipped": 1}


def test_a_wrong_checksum_costs_one_frame():
    s = stream()
    bad = bytearray(frame(2))
    bad[70] ^= 1
    assert seqs(s, frame(1), bad, frame(3)) == [1, 3]
    assert damage(s) == {"crc": 1, "skipped": 1}


def test_bytes_after_a_frame_are_garbage():
    s = stream()
    assert seqs(s, frame(1) + b"babble", frame(2)) == [1, 2]
    assert damage(s) == {"garbage_bytes": 6}


def test_a_header_that_claims_too_much_is_not_waited_for():
    s = stream()
    huge = encode_header(RASTER._replace(lines=60_000, samples=60_000), 2, 0, 0, 0)
    assert seqs(s, huge, frame(3)) == [3]
    assert damage(s) == {"garbage_bytes": 64}
