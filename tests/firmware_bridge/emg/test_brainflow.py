import ctypes
import gc
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.emg import brainflow_library, open_emg
from firmware_bridge.emg.playback import write_playback
from firmware_bridge.types import DeviceError


def collect(emg, samples, timeout_s=5.0):
    """Chunks until ``samples`` have come; fails when they do not."""
    chunks, end = [], time.monotonic() + timeout_s
    while sum(len(c.data) for c in chunks) < samples:
        assert time.monotonic() < end, f"only {sum(len(c.data) for c in chunks)} samples came"
        if chunk := emg.read(0.1):
            chunks.append(chunk)
    return chunks


def ramp(numbers):
    """Cyton packages whose first value tells which sample it is."""
    return [(n, [float(n), -float(n), *[0.0] * 6]) for n in numbers]


def test_synthetic_board_delivers_consecutive_samples_that_are_not_called_live():
    emg = open_emg("brainflow:synthetic")
    try:
        chunks = collect(emg, 40)
    finally:
        emg.close()
    assert emg.live is False
    assert (emg.fs_hz, len(emg.channels)) == (250.0, 16)
    following = 0
    for chunk in chunks:
        assert chunk.seq == following
        assert chunk.data.dtype == np.float32
        assert chunk.data.flags.c_contiguous
        following += len(chunk.data)
    times = [c.t_ns for c in chunks]
    assert times == sorted(times)
    assert times[-1] <= time.monotonic_ns()
    assert emg.counters == {"lost_samples": 0, "nan_samples": 0, "clock_steps": 0}


def test_cyton_values_come_back_in_microvolts_under_the_names_asked_for(soft_cyton):
    port = soft_cyton(ramp(range(30)))
    emg = open_emg(f"brainflow:Cyton_Board?serial_port={port}&rows=1,0&channels=TA,MG&scale=2")
    try:
        data = np.concatenate([c.data for c in collect(emg, 30)])
    finally:
        emg.close()
    assert emg.live
    assert emg.channels == ("TA", "MG")
    want = np.arange(30)[:, None] * [-2.0, 2.0]
    np.testing.assert_allclose(data, want, atol=0.05)


def test_lost_cyton_packages_make_a_gap_and_the_counter_may_wrap(soft_cyton):
    numbers = [n for n in range(300) if n not in (100, 101, 102, 255, 256)]
    port = soft_cyton(ramp(numbers))
    emg = open_emg(f"brainflow:cyton?serial_port={port}&channels=TA")
    try:
        chunks = collect(emg, len(numbers))
    finally:
        emg.close()
    assert emg.counters["lost_samples"] == 5
    index = np.concatenate([c.seq + np.arange(len(c.data)) for c in chunks])
    assert index.tolist() == numbers
    np.testing.assert_allclose(np.concatenate([c.data[:, 0] for c in chunks]), numbers, atol=0.05)


def test_a_cyton_that_falls_silent_is_reported_gone_with_a_remedy(soft_cyton):
    port = soft_cyton(ramp(range(10)))
    emg = open_emg(f"brainflow:cyton?serial_port={port}&silence_s=0.2")
    try:
        collect(emg, 10)
        with pytest.raises(DeviceError, match="silent for 0.2 s; check its power"):
            emg.read(5.0)
    finally:
        emg.close()
        emg.close()
    with pytest.raises(DeviceError, match="closed"):
        emg.read(0.01)


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("brainflow:cyton?serial_port=/dev/not-there", "dialout"),
        ("brainflow:cyton", "parameter is missing"),
        ("brainflow:cytron", "has no board 'cytron'; it has .*cyton"),
        ("brainflow:-77", "has no board"),
        ("brainflow:shimmer3", "no EMG, EXG or EEG rows; it has accel"),
        ("brainflow:playback?master=cyton&file=/not-there", "no such file"),
        ("brainflow:playback?file=/not-there", "master=cyton"),
        ("brainflow:playback?master=cytron", "has no board 'cytron'"),
        ("brainflow:synthetic?serialport=/dev/ttyUSB0", "known: .*'serial_port'"),
        ("brainflow:synthetic?rows=16", "rows from 0 to 15"),
        ("brainflow:synthetic?rows=0,1&channels=TA", "2 rows .* 1 channels"),
        ("brainflow:synthetic?channels=TA,TA", "different names"),
        ("brainflow:synthetic?poll_ms=0", "above 0"),
        ("brainflow:synthetic?timeout=soon", "timeout='soon'"),
    ],
)
def test_an_address_that_cannot_open_names_the_remedy(address, remedy):
    for _ in range(2):  # and a failed opening leaves nothing behind
        with pytest.raises(DeviceError, match=remedy):
            open_emg(address)


def test_boards_may_be_given_by_number():
    emg = open_emg("brainflow:-1?rows=0&channels=TA")
    emg.close()
    assert emg.channels == ("TA",)


def test_the_same_board_opens_again_right_after_closing_and_old_garbage_does_not_close_it():
    old = open_emg("brainflow:synthetic")
    with pytest.raises(DeviceError, match="open already in this program"):
        open_emg("brainflow:synthetic")
    collect(old, 1)  # the second attempt has not hurt the first
    old.close()
    new = open_emg(old.address)
    try:
        old.close()
        del old
        gc.collect()
        collect(new, 10)
    finally:
        new.close()


def test_nan_is_passed_on_and_counted(tmp_path):
    emg_uv = np.ones((512, 2))
    emg_uv[7, 1] = emg_uv[300, 0] = emg_uv[300, 1] = np.nan
    recording = write_playback(tmp_path / "nan.tsv", emg_uv, 4000.0, ("TA", "MG"))
    emg = open_emg(recording.address(loop=False))
    try:
        data = np.concatenate([c.data for c in collect(emg, 512)])
    finally:
        emg.close()
    np.testing.assert_array_equal(data, emg_uv)
    assert emg.counters["nan_samples"] == 2


def test_lines_missing_from_a_playback_file_are_lost_samples(tmp_path):
    path = tmp_path / "gap.tsv"
    recording = write_playback(path, np.arange(512.0)[:, None], 4000.0, ("TA",))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:100] + lines[140:]))
    emg = open_emg(recording.address(loop=False))
    try:
        chunks = collect(emg, 472)
    finally:
        emg.close()
    assert emg.counters["lost_samples"] == 40
    for chunk in chunks:  # each chunk is consecutive and says which samples it has
        np.testing.assert_array_equal(chunk.data[:, 0], chunk.seq + np.arange(len(chunk.data)))


def test_a_playback_that_ends_is_finished_not_gone(tmp_path):
    recording = write_playback(tmp_path / "a.tsv", np.zeros((256, 1)), 4000.0, ("TA",))
    emg = open_emg(recording.address(loop=False) + "&silence_s=0.1")
    try:
        collect(emg, 256)
        assert not emg.finished
        assert emg.read(0.3) is None
        assert emg.finished
    finally:
        emg.close()


def test_a_wheel_without_a_library_for_this_machine_says_how_to_build_one(monkeypatch):
    board_shim = brainflow_library.load()
    monkeypatch.setattr(board_shim.BoardControllerDLL, "_BoardControllerDLL__instance", None)

    def wrong_machine(path: str) -> None:
        raise OSError(f"{path}: cannot open shared object file")

    monkeypatch.setattr(ctypes.cdll, "LoadLibrary", wrong_machine)
    with pytest.raises(DeviceError, match=r"build its C\+\+ core here.*docs/emg.md"):
        open_emg("brainflow:synthetic")


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "brainflow", None)
    with pytest.raises(DeviceError, match="pip install 'brainflow"):
        open_emg("brainflow:synthetic")


def test_the_page_the_errors_point_to_is_there():
    assert (Path(__file__).parents[3] / "docs" / "emg.md").is_file()
