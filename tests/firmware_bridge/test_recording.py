import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mcap.reader import NonSeekingReader, make_reader

from firmware_bridge import mcap_file
from firmware_bridge.recording import (
    STAMPS_DTYPE,
    EmgInfo,
    Event,
    RecordingError,
    emg_info,
    open_recording,
    probe_geometry,
    read_chunks,
    read_frames,
)
from firmware_bridge.recording_format import (
    ANCHOR_DTYPE,
    ANCHORS,
    CHUNKS,
    EVENTS,
    FRAMES,
    JOINT,
    JOINT_DTYPE,
    STAMPS,
    STATES,
    TOPICS,
    channels,
    decode_chunk,
    decode_event,
    decode_frame,
    decode_state,
    encode_chunk,
    encode_event,
    encode_frame,
    encode_row,
    encode_state,
)
from firmware_bridge.types import Chunk, Flag, Frame, Geometry, MuscleState

BMODE = Geometry("bmode", lines=4, samples=6, dz_mm=0.1, dx_mm=0.2, depth0_mm=1.5, tx_hz=5e6)
RF = Geometry("rf", lines=1, samples=9, dz_mm=0.09625, dx_mm=0.0)
EMG = EmgInfo(2000.0, ("TA", "GM", "SO"))
i64 = st.integers(-(2**63), 2**63 - 1)
f32 = st.floats(width=32)


def session(n, geometry=BMODE, emg=EMG):
    """``n`` messages of every topic as ``[(topic, body)]``, in turn."""
    row = np.zeros(1, STAMPS_DTYPE)
    messages = []
    for k in range(n):
        image = np.full((geometry.lines, geometry.samples), k, geometry.dtype)
        frame = encode_frame(Frame(1000 + k, k, image), geometry)
        row["tick"], row["late"] = k, 70_000
        samples = np.full((5, len(emg.channels)), k, np.float32)
        state = MuscleState(k, 900 + k, Flag.REPLAY, np.full(2, k, np.float32))
        messages += [
            (FRAMES, b"".join(frame)),
            (CHUNKS, encode_chunk(Chunk(1000 + k, 5 * k, emg.fs_hz, samples), emg)),
            (STATES, encode_state(state)),
            (STAMPS, encode_row(row, STAMPS_DTYPE)),
            (EVENTS, encode_event(Event(1000 + k, "mark", {"n": k}))),
            (ANCHORS, encode_row(np.array([(k, 2 * k)], ANCHOR_DTYPE), ANCHOR_DTYPE)),
            (JOINT, encode_row(np.array([(k, 90.0, k, np.nan, -1)], JOINT_DTYPE), JOINT_DTYPE)),
        ]
    return messages


def written(messages, geometry=BMODE, emg=EMG, version="1", joint=True):
    """The bytes of a closed file, and where each message ends in it."""
    described = {
        "sonomyo": {"format": version},
        "session": {"config": "a = 1\n"},
        "session.json": {"versions": '{"numpy": "2"}'},
    }
    data, tally = mcap_file.head("test", described, channels(geometry, emg, joint))
    ends = []
    for topic, body in messages:
        channel = TOPICS.index(topic) + 1
        sequence = tally.add(channel, 10)
        data += mcap_file.message_head(channel, sequence, 10, 10, len(body)) + body
        ends.append(len(data))
    return data + mcap_file.tail(len(data), zlib.crc32(data), tally), ends


def count(recording):
    """How many messages of each topic can be read."""
    return {
        FRAMES: len(list(recording.frames())),
        CHUNKS: len(list(recording.chunks())),
        STATES: len(list(recording.states())),
        STAMPS: len(recording.stamps()),
        EVENTS: len(list(recording.events())),
        ANCHORS: len(recording.anchors()),
        JOINT: len(recording.joint()),
    }


@given(i64, i64, i64, st.sampled_from([BMODE, RF]), st.data())
def test_frames_come_back_bit_for_bit(t_ns, seq, device_ns, geometry, data):
    image = data.draw(hnp.arrays(geometry.dtype, (geometry.lines, geometry.samples)))
    body = b"".join(encode_frame(Frame(t_ns, seq, image, device_ns), geometry))
    frame = decode_frame(body, geometry)
    assert (frame.t_ns, frame.seq, frame.device_ns) == (t_ns, seq, device_ns)
    assert frame.data.dtype == geometry.dtype
    np.testing.assert_array_equal(frame.data, image)
    assert not frame.data.flags.writeable


def test_a_frame_that_is_a_view_of_a_larger_image_is_stored_as_it_looks():
    image = np.arange(48, dtype=np.uint8).reshape(8, 6)
    body = b"".join(encode_frame(Frame(1, 1, image[::2]), BMODE))
    np.testing.assert_array_equal(decode_frame(body, BMODE).data, image[::2])


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 20), st.just(3)), elements=f32))
def test_samples_come_back_bit_for_bit_even_nan(samples):
    chunk = decode_chunk(encode_chunk(Chunk(1, 2, 2000.0, samples), EMG), 3)
    assert (chunk.t_ns, chunk.seq, chunk.fs_hz) == (1, 2, 2000.0)
    np.testing.assert_array_equal(chunk.data.view(np.uint32), samples.view(np.uint32))


@given(
    i64, i64, st.integers(0, 0xFFFF), hnp.arrays(np.float32, st.integers(1, 6), elements=f32),
    st.booleans(),
)  # fmt: skip
def test_states_come_back_bit_for_bit_with_and_without_sd(seq, t_ns, flags, values, has_sd):
    sd = values[::-1] if has_sd else None
    state = decode_state(encode_state(MuscleState(seq, t_ns, Flag(flags), values, sd)))
    assert (state.seq, state.t_ns, state.flags) == (seq, t_ns, flags)
    assert state.values.tobytes() == values.tobytes()
    assert (state.sd is None) == (sd is None)
    if state.sd is not None:
        assert state.sd.tobytes() == values[::-1].tobytes()


def test_an_event_of_anything_is_json_that_every_parser_takes():
    nan, error = float("nan"), ValueError("x")
    data = {"deg": nan, "n": np.float32(0.5), "f": Flag.LATE, "e": error, 1: (2,)}
    body = encode_event(Event(7, "encoder", data))
    assert b"NaN" not in body
    event = decode_event(body)
    assert event == Event(7, "encoder", {"deg": "nan", "n": 0.5, "f": 4, "e": "x", "1": [2]})


@pytest.mark.parametrize(
    "image", [np.zeros((6, 4), np.uint8), np.zeros((4, 6), np.int16), np.zeros(24, np.uint8)]
)
def test_a_frame_of_another_raster_is_refused(image):
    with pytest.raises(RecordingError, match="not a frame of"):
        encode_frame(Frame(1, 1, image), BMODE)


@pytest.mark.parametrize(
    "decode",
    [lambda b: decode_frame(b, BMODE), lambda b: decode_chunk(b, 3), decode_state, decode_event],
)
@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", bytes(19), bytes(23), bytes(27), bytes(47)])
def test_a_body_that_is_something_else_is_refused(decode, body):
    with pytest.raises(RecordingError, match="damaged"):
        decode(body)


def test_a_closed_file_reads_back_and_says_what_it_is(tmp_path):
    path = tmp_path / "a.mcap"
    path.write_bytes(written(session(4))[0])
    r = open_recording(path)
    assert not r.torn
    assert (r.geometry, r.emg_info) == (BMODE, EMG)
    assert r.meta == {"config": "a = 1\n", "versions": {"numpy": "2"}}
    assert set(count(r).values()) == {4}
    assert [f.seq for f in r.frames()] == [0, 1, 2, 3]
    assert [c.seq for c in r.chunks()] == [0, 5, 10, 15]
    assert [s.seq for s in r.states()] == [0, 1, 2, 3]
    assert [e.data for e in r.events()] == [{"n": k} for k in range(4)]
    assert r.stamps()["tick"].tolist() == [0, 1, 2, 3]
    assert r.stamps()["late"].tolist() == [70_000] * 4
    assert r.anchors()["unix_ns"].tolist() == [0, 2, 4, 6]


def test_iterators_of_one_recording_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "a.mcap"
    path.write_bytes(written(session(5))[0])
    r = open_recording(path)
    pairs = list(zip(r.frames(), r.frames(), r.chunks(), strict=True))
    assert [(a.seq, b.seq, 5 * a.seq) for a, b, _ in pairs] == [
        (a.seq, b.seq, c.seq) for a, b, c in pairs
    ]


def test_a_session_that_took_no_joint_angle_has_no_such_rows_and_opens_as_ever(tmp_path):
    path = tmp_path / "a.mcap"
    messages = [m for m in session(2) if m[0] != JOINT]
    path.write_bytes(written(messages, joint=False)[0])
    r = open_recording(path)
    assert JOINT not in r.topics
    assert len(r.joint()) == 0
    assert len(list(r.states())) == 2


def test_the_mcap_library_agrees_with_every_byte():
    data, _ = written(session(3))
    # Reads front to back and checks the CRC of all data.
    messages = list(NonSeekingReader(io.BytesIO(data), validate_crcs=True).iter_messages())
    assert len(messages) == 21
    assert {c.topic for _, c, _ in messages} == set(TOPICS)
    assert [m.sequence for _, c, m in messages if c.topic == STATES] == [0, 1, 2]
    # Jumps to the summary by the footer.
    reader = make_reader(io.BytesIO(data), validate_crcs=True)
    summary = reader.get_summary()
    assert summary.statistics.message_count == 21
    assert {c.topic for c in summary.channels.values()} == set(TOPICS)
    assert {m.name for m in reader.iter_metadata()} == {"sonomyo", "session", "session.json"}
    # The library does not check this one: from the summary's start up to the CRC itself.
    summary_start, _, crc = struct.unpack("<QQI", data[-28:-8])
    assert crc == zlib.crc32(data[summary_start:-12])
    flipped = bytearray(data)
    flipped[data.index(b"\x01\x01\x01\x01")] ^= 1  # in a frame
    with pytest.raises(ValueError, match="crc"):
        list(NonSeekingReader(io.BytesIO(flipped), validate_crcs=True).iter_messages())


def test_the_channels_tell_a_stranger_how_to_read_them():
    reader = make_reader(io.BytesIO(written(session(1))[0]))
    for channel in reader.get_summary().channels.values():
        assert channel.metadata["layout"]
        assert channel.message_encoding == ("json" if channel.topic == EVENTS else "x-sonomyo")


def test_a_file_torn_at_any_byte_reads_up_to_its_last_whole_message(tmp_path):
    messages = session(2)
    data, ends = written(messages)
    begin = ends[0] - len(messages[0][1]) - 31
    path = tmp_path / "torn.mcap"
    for cut in sorted({*range(begin, len(data), 9), *ends, *(e - 1 for e in ends), len(data) - 1}):
        path.write_bytes(data[:cut])
        r = open_recording(path)
        assert r.torn
        whole = sum(end <= cut for end in ends)
        expected = dict.fromkeys(TOPICS, 0)
        for topic, _ in messages[:whole]:
            expected[topic] += 1
        assert count(r) == expected


def test_a_file_that_ends_in_zeros_is_read_up_to_them(tmp_path):
    # What a power failure leaves when the length was written but the data was not.
    data, ends = written(session(2))
    path = tmp_path / "zeros.mcap"
    path.write_bytes(data[: ends[6]] + bytes(4096))
    r = open_recording(path)
    assert r.torn
    assert set(count(r).values()) == {1}


def test_damage_before_the_end_of_a_closed_file_is_said_not_passed_over(tmp_path):
    data, ends = written(session(3))
    path = tmp_path / "damaged.mcap"
    path.write_bytes(data[: ends[5]] + bytes(40) + data[ends[5] + 40 :])
    r = open_recording(path)
    with pytest.raises(RecordingError, match=f"after byte {ends[5]} .*--repair"):
        list(r.states())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damage_raises_anything_but_recording_error(tmp_path_factory, data):
    good = bytearray(written(session(2))[0])
    for at in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=20)):
        good[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "fuzzed.mcap"
    path.write_bytes(good)
    with contextlib.suppress(RecordingError):
        count(open_recording(path))


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (b"", "name a .mcap file"),
        (b"RIFF" + bytes(100), "name a .mcap file"),
        (mcap_file.MAGIC, "nothing in it"),
        (written([], version="2")[0], "update sonomyo"),
        (mcap_file.head("x", {"other": {}}, [])[0] + bytes(99), "use the file that sonomyo wrote"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_remedy(tmp_path, data, remedy):
    path = tmp_path / "x.mcap"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=remedy):
        open_recording(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordingError, match=r"nowhere\.mcap: No such file"):
        open_recording(tmp_path / "nowhere.mcap")


def test_a_sensor_that_was_not_recorded_is_missed_at_once(tmp_path):
    path = tmp_path / "a.mcap"
    path.write_bytes(written([], geometry=None)[0])
    assert emg_info(path) == EMG
    assert list(read_chunks(path)) == []
    for read in (probe_geometry, read_frames):
        with pytest.raises(RecordingError, match="no ultrasound"):
            read(path)
    path.write_bytes(written([], emg=None)[0])
    assert probe_geometry(path) == BMODE
    assert list(read_frames(path)) == []
    for read in (emg_info, read_chunks):
        with pytest.raises(RecordingError, match="no EMG"):
            read(path)
