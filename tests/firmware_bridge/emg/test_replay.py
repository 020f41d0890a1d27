import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.emg import open_emg
from firmware_bridge.emg.replay import ReplayEmg
from firmware_bridge.types import DeviceError


def csv(path, data, header="TA,MG"):
    np.savetxt(path, data, delimiter=",", header=header, comments="")
    return path


def play(emg, samples):
    chunks, end = [], time.monotonic() + 10
    while sum(len(c.data) for c in chunks) < samples:
        assert time.monotonic() < end
        if chunk := emg.read(0.05):
            assert chunk.t_ns <= time.monotonic_ns()
            chunks.append(chunk)
    return chunks


def test_a_recording_comes_back_in_microvolts_in_order_and_then_ends(tmp_path):
    data = np.random.default_rng(1).normal(0, 1, (200, 2))
    emg = open_emg(f"replay:{csv(tmp_path / 'a.csv', data)}?fs_hz=4000&unit=mV")
    chunks = play(emg, 200)
    assert emg.finished
    assert emg.read(0.001) is None
    np.testing.assert_allclose(np.concatenate([c.data for c in chunks]), 1000 * data, rtol=1e-6)
    assert [c.seq for c in chunks] == [0, *np.cumsum([len(c.data) for c in chunks])[:-1]]
    for chunk in chunks:
        assert chunk.data.dtype == np.float32
        assert chunk.data.flags.c_contiguous
        assert not chunk.data.flags.writeable
    assert (emg.channels, emg.fs_hz, emg.live) == (("TA", "MG"), 4000.0, False)
    assert emg.counters == {"lost_samples": 0, "nan_samples": 0}


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_each_sample_is_stamped_with_its_moment(tmp_path, speed):
    path = csv(tmp_path / "a.csv", np.zeros((100, 1)), "TA")
    before_ns = time.monotonic_ns()
    emg = open_emg(f"replay:{path}?fs_hz=1000&speed={speed}")
    after_ns = time.monotonic_ns()
    for chunk in play(emg, 100):
        since_start_ns = (chunk.seq + len(chunk.data)) * 1e6 / speed
        assert before_ns - 1 <= chunk.t_ns - since_start_ns <= after_ns + 1


@given(
    gaps=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    loop=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_gaps_are_played_as_gaps_and_no_chunk_spans_one(gaps, loop):
    index = np.cumsum([0, *[g + 1 for g in gaps]])
    data = index[:, None].astype(np.float32)
    emg = ReplayEmg("replay:x", data, index, 1000.0, ("TA",), speed=500.0, loop=loop)
    turns = 2 if loop else 1
    chunks = play(emg, turns * len(index))
    span = int(index[-1]) + 1
    for chunk in chunks:
        np.testing.assert_array_equal(
            chunk.data[:, 0], (chunk.seq + np.arange(len(chunk.data))) % span
        )
    seqs = np.concatenate([c.seq + np.arange(len(c.data)) for c in chunks])
    want = np.concatenate([index, index + span])
    np.testing.assert_array_equal(seqs[: turns * len(index)], want[: turns * len(index)])
    if not loop:
        assert emg.finished
        assert emg.counters["lost_samples"] == sum(gaps)


def test_channels_pick_by_name_and_rows_by_place(tmp_path):
    path = csv(tmp_path / "a.csv", np.arange(12.0).reshape(4, 3), "TA,MG,SO")
    by_name = open_emg(f"replay:{path}?fs_hz=1000&channels=SO,TA")
    assert by_name.channels == ("SO", "TA")
    assert np.concatenate([c.data for c in play(by_name, 4)])[0].tolist() == [2.0, 0.0]
    by_place = open_emg(f"replay:{path}?fs_hz=1000&rows=1&channels=medial gastrocnemius")
    assert by_place.channels == ("medial gastrocnemius",)
    assert np.concatenate([c.data for c in play(by_place, 4)])[0].tolist() == [1.0]


def test_nan_is_passed_on_and_counted(tmp_path):
    data = np.zeros((20, 2))
    data[3, 0] = data[9, :] = np.nan
    emg = open_emg(f"replay:{csv(tmp_path / 'a.csv', data)}?fs_hz=2000")
    played = np.concatenate([c.data for c in play(emg, 20)])
    np.testing.assert_array_equal(played, data)
    assert emg.counters["nan_samples"] == 2


@pytest.mark.parametrize(
    ("query", "remedy"),
    [
        ("", "does not say its rate; add fs_hz="),
        ("?fs_hz=0", "above 0"),
        ("?fs_hz=1000&unit=volts", "expected uV, mV or V"),
        ("?fs_hz=1000&channels=SO", r"no channel \['SO'\]; the recording has \('TA', 'MG'\)"),
        ("?fs_hz=1000&rows=2", "rows from 0 to 1"),
        ("?fs_hz=1000&rows=0,1&channels=TA", "2 rows for 1 channels"),
        ("?fs_hz=1000&rate=2", "unknown parameter"),
        ("?fs_hz=1000&loop=maybe", "expected on or off"),
    ],
)
def test_an_address_that_cannot_open_names_the_remedy(tmp_path, query, remedy):
    path = csv(tmp_path / "a.csv", np.zeros((5, 2)))
    with pytest.raises(DeviceError, match=remedy):
        open_emg(f"replay:{path}{query}")


def test_a_recording_that_is_not_there_is_named():
    with pytest.raises(DeviceError, match="no such recording: nowhere.csv"):
        open_emg("replay:nowhere.csv?fs_hz=1000")
