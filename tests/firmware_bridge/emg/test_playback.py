import os
import time
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.emg import open_emg
from firmware_bridge.emg.playback import COUNTER, MASTERS, write_playback
from firmware_bridge.types import DeviceError

RNG = np.random.default_rng(3)


def play(address, seconds):
    chunks, end = [], time.monotonic() + seconds
    emg = open_emg(address)
    try:
        while time.monotonic() < end:
            if chunk := emg.read(0.05):
                chunks.append(chunk)
    finally:
        emg.close()
    return emg, chunks


def real_emg_uv():
    """Tibialis anterior at 2000 Hz; the gain of its amplifier is not stated: 1 V as 1000 uV."""
    folder = os.environ.get("SONOMYO_DATA")
    if not folder:
        pytest.skip("SONOMYO_DATA is not set")
    h5py = pytest.importorskip("h5py")
    with h5py.File(Path(folder) / "emg_torque_fascicle_ta/signals/PL_50_01.mat") as file:
        return file["EMG_TA/values"][0][8000:, None] * 1000.0


def check_values_and_rate(emg_uv, path):
    recording = write_playback(path, emg_uv, 2000.0, ("TA",))
    emg, chunks = play(recording.address(), 1.0)
    data = np.concatenate([c.data for c in chunks])
    np.testing.assert_allclose(data, emg_uv[: len(data)], atol=1e-3)
    assert emg.counters == {"lost_samples": 0, "nan_samples": 0, "clock_steps": 0}
    assert [c.seq for c in chunks] == [0, *np.cumsum([len(c.data) for c in chunks])[:-1]]
    assert emg.live is False
    assert (emg.channels, emg.fs_hz) == (("TA",), 2000.0)
    times_s = [c.t_ns * 1e-9 for c in chunks]
    rate_hz = np.polyfit(times_s, [c.seq + len(c.data) for c in chunks], 1)[0]
    assert rate_hz == pytest.approx(2000.0, rel=0.05)


def test_noise_comes_back_at_its_rate(tmp_path):
    check_values_and_rate(RNG.normal(0, 200, (6000, 1)), tmp_path / "noise.tsv")


def test_real_emg_comes_back_at_its_rate(tmp_path):
    check_values_and_rate(real_emg_uv(), tmp_path / "ta.tsv")


def test_a_loop_goes_on_counting_without_looking_like_loss(tmp_path):
    wave = RNG.normal(0, 100, (300, 2))
    recording = write_playback(tmp_path / "loop.tsv", wave, 2000.0, ("TA", "MG"))
    assert recording.samples == COUNTER  # cut to whole turns
    emg, chunks = play(recording.address(loop=True), 0.4)
    assert emg.counters["lost_samples"] == 0
    data = np.concatenate([c.data for c in chunks])
    assert len(data) > COUNTER
    want = wave[np.arange(len(data)) % COUNTER]
    np.testing.assert_allclose(data, want, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 8, 9, 17, 33])
def test_a_master_board_is_found_for_any_number_of_channels(tmp_path, channels):
    emg_uv = RNG.normal(0, 100, (COUNTER, channels))
    names = tuple(f"m{i}" for i in range(channels))
    recording = write_playback(tmp_path / "many.tsv", emg_uv, 1000.0, names)
    assert recording.master == next(name for rows, name in MASTERS if rows >= channels)
    assert max(map(len, recording.path.read_bytes().splitlines())) < 8192
    emg, chunks = play(recording.address(loop=False), 0.1)
    assert emg.channels == names
    data = np.concatenate([c.data for c in chunks])
    np.testing.assert_allclose(data, emg_uv[: len(data)], atol=1e-3)


def test_what_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "x.tsv"
    with pytest.raises(ValueError, match="at least 256 samples, 1 channels"):
        write_playback(path, np.zeros((255, 1)), 1000.0, ("TA",))
    with pytest.raises(ValueError, match="2 channels"):
        write_playback(path, np.zeros((256, 1)), 1000.0, ("TA", "MG"))
    with pytest.raises(ValueError, match="fs_hz must be positive"):
        write_playback(path, np.zeros((256, 1)), 0.0, ("TA",))
    with pytest.raises(ValueError, match="largest board .* has 128"):
        write_playback(path, np.zeros((256, 129)), 1000.0, tuple(map(str, range(129))))
    with pytest.raises(ValueError, match="ganglion has 4 EMG rows"):
        write_playback(path, np.zeros((256, 5)), 1000.0, tuple("abcde"), master="ganglion")
    assert not path.exists()


def test_a_master_that_is_no_board_is_refused_when_opened(tmp_path):
    recording = write_playback(tmp_path / "x.tsv", np.zeros((256, 1)), 1000.0, ("TA",))
    with pytest.raises(DeviceError, match="has no board"):
        open_emg(recording.address().replace("master=cyton", "master=cytron"))
