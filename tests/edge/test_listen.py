"""``sonomyo listen``: the rehab device's side of the line, as a process of its own."""

import subprocess
import sys
import time

import numpy as np
import pytest

from edge.listen import Measured

PROBE = "usb:sim?lines=4&samples=6&fps=100"


def listen(*args):
    return subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "listen", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def port(tmp_path):
    return tmp_path / "port"


def run_daemon(tmp_path, port, brightness, seconds):
    rig = tmp_path / "rig.toml"
    rig.write_text(
        f'models = ["{brightness}"]\n'
        f'[rig]\nprobe = "{PROBE}"\nemg = ""\nlinks = ["serial:{port}"]\n'
    )
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", "run", str(rig), "--seconds", str(seconds)],
        capture_output=True,
        timeout=60,
    )


def wait_for(path):
    end = time.monotonic() + 20
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert path.exists()


def test_it_shows_saves_and_ends_when_the_sender_has_said_goodbye(tmp_path, port, brightness):
    got = tmp_path / "got.npz"
    process = listen(
        f"pty:{port}", "--save", str(got), "--seconds", "9", "--accept", "REPLAY,UNCALIBRATED"
    )
    wait_for(port)
    assert run_daemon(tmp_path, port, brightness, 5).returncode == 0
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "brightness" in out
    assert "would drive" in out
    assert "yes" in out
    with np.load(got) as f:
        assert len(f["seq"]) > 300
        assert (np.diff(f["seq"]) > 0).all()
        assert (f["arrival_ns"] >= f["t_ns"]).all()


def test_by_default_it_would_not_drive_on_a_simulation(tmp_path, port, brightness):
    process = listen(f"pty:{port}", "--seconds", "8")
    wait_for(port)
    run_daemon(tmp_path, port, brightness, 4)
    out, _ = process.communicate(timeout=30)
    assert "no: FLAGGED" in out
    assert "would drive           │ yes" not in out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["/dev/nosuch"], "/dev/nosuch"),
        (["pty:/tmp/x", "--accept", "NONSENSE"], "known: ['STALE_US'"),
    ],
)
def test_what_it_cannot_open_it_says(args, says):
    process = listen(*args)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert says in err


def test_measurements_repeat_and_begin_at_their_time(tmp_path):
    path = tmp_path / "m.npz"
    m = Measured(path)
    assert np.isnan(m.at("angle", 5))  # not there yet
    np.savez(path, t0_ns=10**9, rate_hz=10.0, names=["angle"], values=np.array([[1.0], [2.0]]))
    assert np.isnan(m.at("angle", 10**9 - 1))
    assert [m.at("angle", 10**9 + k * 10**8) for k in (0, 1, 2)] == [1.0, 2.0, 1.0]
    assert np.isnan(m.at("torque", 2 * 10**9))
