"""The demo as a newcomer runs it, only shorter."""

import os
import subprocess
import sys

import numpy as np
import pytest

from demo.report import Track, read_times, read_tracks
from firmware_bridge.recording import open_recording
from training.datasets import ENV


def demo(out, *args, **env):
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", "demo", "--seconds", "4", "--out", str(out), *args],
        capture_output=True,
        text=True,
        timeout=110,
        env=os.environ | env,
    )


def test_without_recordings_it_simulates_a_wearer_and_says_so_first(tmp_path):
    done = demo(tmp_path / "out", "--simulated")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("SIMULATED wearer")
    assert "ankle_angle" in done.stdout
    check_files(tmp_path / "out")


@pytest.mark.skipif(not os.environ.get(ENV), reason=f"{ENV} names no folder with the recordings")
def test_on_real_recordings_it_estimates_what_the_dynamometer_measured(tmp_path):
    done = demo(tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("real recordings")
    recording = check_files(tmp_path / "out")
    from demo.sources import open_sources

    sources = open_sources(tmp_path / "again")
    names = [("mg-state.ankle_angle", "deg"), ("mg-state.ankle_torque", "N m")]
    angle, torque = read_tracks(recording, names, sources.truth)
    # Twice the error on all held-out clips: this is the beginning of one of them.
    assert angle.rmse < 4.0
    assert torque.rmse < 16.0


def check_files(out):
    """What every demo leaves behind; the recording, opened."""
    assert (out / "session.png").read_bytes().startswith(b"\x89PNG")
    assert "<img" in (out / "session.html").read_text()
    (path,) = out.glob("*.mcap")
    recording = open_recording(path)
    assert not recording.torn
    assert recording.geometry.lines == 180
    with np.load(out / "received.npz") as f:
        latency = read_times(recording, dict(f))
    assert latency.states > 300
    assert latency.lost <= 3  # on a machine that is busy with other tests
    assert latency.rows["tick to receiver"][0] > 7.0  # fixed: released 8 ms after the tick
    return recording


def test_a_track_is_scored_where_both_sides_are_known():
    nan = float("nan")
    t = Track(
        "angle", "deg", np.arange(4.0), np.array([1.0, nan, 3.0, 5.0]), np.array([0.0, 2.0, nan, 4])
    )
    assert t.rmse == 1.0
