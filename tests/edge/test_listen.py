"""``sonomyo listen``: the rehab device's side of the line, as a process of its own."""

import subprocess
import sys
import time

import numpy as np
import pytest

from edge.listen import Measured
from firmware_bridge.types import Flag

PROBE = "usb:sim?lines=4&samples=6&fps=100"


def listen(*args):
    return subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "listen", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def sonomyo(*args):
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", *args], capture_output=True, text=True, timeout=60
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
    return sonomyo("run", str(rig), "--seconds", str(seconds))


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
        (["pty:/tmp/x", "--encoder", "/nowhere.npz:angle"], "write FILE.npz:NAME"),
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


def test_it_plays_an_encoder_and_a_load_to_a_model_that_takes_them(tmp_path, port, elbow):
    np.savez(tmp_path / "arm.npz", rate_hz=100.0, knee=60 + 30 * np.sin(np.arange(0, 6.28, 0.02)))
    got, rig = tmp_path / "got.npz", tmp_path / "rig.toml"
    rig.write_text(
        f'models = ["{elbow}"]\n[rig]\nprobe = ""\nemg = ""\nlinks = ["serial:{port}"]\n'
        'angle = "encoder"\nload = "command"\n[timing]\nmax_angle_age_ms = 100\n'
    )
    process = listen(
        f"pty:{port}", "--encoder", f"{tmp_path / 'arm.npz'}:knee", "--load", "2.5",
        "--save", str(got), "--seconds", "60", "--accept", "UNCALIBRATED",
    )  # fmt: skip
    wait_for(port)
    assert sonomyo("check", str(rig)).returncode == 0
    assert sonomyo("run", str(rig), "--seconds", "4").returncode == 0
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    with np.load(got) as f:
        known = ~(f["flags"] & (Flag.STALE_JOINT | Flag.FAULT)).astype(bool)
        effort = f["values"][known, 1]
    assert known.sum() > 100
    assert 2.5 * 30 <= effort.min() < effort.max() <= 2.5 * 90


def test_check_says_when_nobody_sends_an_angle(tmp_path, port, elbow):
    rig = tmp_path / "rig.toml"
    rig.write_text(
        f'models = ["{elbow}"]\n[rig]\nprobe = ""\nemg = ""\nlinks = ["serial:{port}"]\n'
        'angle = "encoder"\nload = "2 kg"\n'
    )
    process = listen(f"pty:{port}", "--seconds", "20")
    wait_for(port)
    done = sonomyo("check", str(rig))
    process.terminate()
    process.communicate(timeout=30)
    assert done.returncode == 1
    assert "no ENCODER with its age" in done.stdout.replace("\n", "")
    rig.write_text(rig.read_text().replace('"encoder"', '"encodr"'))
    done = sonomyo("check", str(rig))
    assert done.returncode == 1
    assert "encodr" in done.stdout
