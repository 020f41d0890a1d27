"""The ``sonomyo`` command as a script sees it: exit codes, help, and what is printed."""

import json
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from edge import cli
from firmware_bridge.recording import open_recording
from firmware_bridge.types import Flag

PROBE = "usb:sim?lines=4&samples=6&fps=100"
EMG = "synthetic:?fs_hz=1000&channels=MG,TA"
KEY = "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="


def sonomyo(*args, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", *args],
        capture_output=True,
        text=True,
        timeout=60,
        **kwargs,
    )


@pytest.fixture
def rig(tmp_path, brightness, adder):
    """A configuration that records and has no link."""
    path = tmp_path / "rig.toml"
    path.write_text(
        f"""
        models = ["{brightness}", "{adder}"]
        [rig]
        probe = "{PROBE}"
        emg = "{EMG}"
        [timing]
        max_us_age_ms = 200
        max_emg_age_ms = 200
        [record]
        folder = "{tmp_path / "out"}"
        """
    )
    return path


def test_help_names_every_command_and_says_what_it_does(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, (_, line) in cli.COMMANDS.items():
        assert name in text
        assert line in text


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_its_own_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    assert f"usage: sonomyo {name}" in capsys.readouterr().out


def test_an_unknown_command_is_an_error_that_lists_the_known_ones(capsys):
    assert cli.main(["fly"]) == 2
    assert "replay" in capsys.readouterr().err


def test_version_is_that_of_the_package(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sonomyo 0.")


def test_run_record_info_and_replay_work_together(rig, tmp_path):
    done = sonomyo("run", str(rig), "--seconds", "1.5")
    assert done.returncode == 0, done.stderr
    assert "(unsigned)" in done.stderr
    recording = done.stdout.strip()
    assert open_recording(recording).torn is False

    done = sonomyo("replay", recording, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["equal"] == report["states"] > 50

    done = sonomyo("info", recording)
    assert done.returncode in (0, 1), done.stderr
    assert "TA" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_closed_recording_and_a_receiver_that_was_told(rig, tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "run", str(rig)], stdout=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 20
    while not list((tmp_path / "out").glob("*.mcap")) and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.7)
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    recording = open_recording(out.strip())
    assert not recording.torn
    *_, last = recording.states()
    assert last.flags & Flag.FAULT
    assert [e.kind for e in recording.events()].count("stop") == 1


def test_a_full_disk_stops_the_recording_but_not_the_states(rig, tmp_path):
    listener = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "listen", f"pty:{tmp_path / 'port'}", "--quiet",
         "--seconds", "30", "--save", str(tmp_path / "got.npz")],
    )  # fmt: skip
    end = time.monotonic() + 20
    while not (tmp_path / "port").exists() and time.monotonic() < end:
        time.sleep(0.02)
    rig.write_text(
        rig.read_text().replace("[timing]", f'links = ["serial:{tmp_path / "port"}"]\n[timing]')
    )
    most = 100_000  # bytes in any one file: what the system says then is what a full disk says

    def small_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "run", str(rig), "--seconds", "3"],
        capture_output=True, text=True, timeout=60, preexec_fn=small_disk,
    )  # fmt: skip
    listener.wait(timeout=40)
    assert done.returncode == 0, done.stderr
    assert "record.write_errors" in done.stderr
    with np.load(tmp_path / "got.npz") as f:
        assert len(f["seq"]) > 200  # of 300: nobody waited for the disk
    recording = open_recording(done.stdout.strip())
    kept = [s.seq for s in recording.states()]
    assert len(kept) > 20
    assert kept == list(range(kept[0], kept[0] + len(kept)))  # a whole beginning


def test_record_keeps_what_the_sensors_say_without_any_model(tmp_path):
    done = sonomyo("record", str(tmp_path), "--probe", PROBE, "--emg", EMG, "--seconds", "1")
    assert done.returncode == 0, done.stderr
    recording = open_recording(done.stdout.strip())
    assert len(list(recording.frames())) > 50
    assert sum(len(c.data) for c in recording.chunks()) > 500
    done = sonomyo("replay", str(recording.path))
    assert done.returncode == 2
    assert "--bundle" in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tming]", "unknown setting"),
        ('[rig]\nprobe = "usb:nosuch"', "usb:sim"),
        ('models = ["no-such"]', "no bundle"),
        ('models = ["sim-state"]\n[trust]\nkeys = ["ed25519:AAAA"]', "trust.keys: 'ed25519:AAAA'"),
        (f'models = ["sim-state"]\n[trust]\nkeys = ["{KEY}"]', "not signed, but trust.keys asks"),
        ('[rig]\nlinks = ["serial:/dev/nosuch"]', "/dev/nosuch"),
        ('[record]\nfolder = "/proc/nothing"', "record.folder"),
    ],
)
def test_what_cannot_start_ends_with_one_line_and_code_2(tmp_path, text, says):
    (tmp_path / "rig.toml").write_text(text)
    done = sonomyo("run", str(tmp_path / "rig.toml"))
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_signed_models_of_one_file_each_run_where_only_those_may(tmp_path, brightness, adder):
    assert sonomyo("bundle", "keygen", str(tmp_path / "clinic")).returncode == 0
    models = [f"{path}.sonomyo" for path in (brightness, adder)]
    for folder, model in zip((brightness, adder), models, strict=True):
        assert sonomyo("bundle", "pack", str(folder), "--out", model).returncode == 0
    rig = tmp_path / "rig.toml"
    rig.write_text(
        f"""
        models = {models}
        [rig]
        probe = "{PROBE}"
        emg = "{EMG}"
        [record]
        folder = "{tmp_path / "out"}"
        [trust]
        keys = ["{tmp_path / "clinic.pub.pem"}"]
        """
    )
    refused = sonomyo("run", str(rig), "--seconds", "1")
    assert refused.returncode == 2
    assert "brightness.sonomyo: not signed" in refused.stderr
    checked = sonomyo("check", str(rig))
    assert checked.returncode == 1
    assert "not signed" in " ".join(checked.stdout.split())
    for model in models:
        done = sonomyo("bundle", "sign", model, "--key", str(tmp_path / "clinic.pem"))
        assert done.returncode == 0, done.stderr
    done = sonomyo("run", str(rig), "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("signed by ed25519:") == 2
    recording = open_recording(done.stdout.strip())
    assert all(s.startswith("signed by") for s in recording.meta["signatures"].values())
    again = sonomyo("replay", str(recording.path))
    assert again.returncode == 0, again.stderr


def test_check_finds_what_is_missing_and_says_what_to_do(tmp_path, brightness):
    good = tmp_path / "good.toml"
    good.write_text(f'models = ["{brightness}"]\n[rig]\nprobe = "{PROBE}"\nemg = ""')
    assert sonomyo("check", str(good)).returncode == 0
    bad = tmp_path / "bad.toml"
    bad.write_text(
        f'models = ["{brightness}"]\n[rig]\nprobe = "{PROBE}"\nlinks = ["serial:/dev/nosuch"]'
    )
    done = sonomyo("check", str(bad))
    assert done.returncode == 1
    assert "/dev/nosuch" in done.stdout
    (tmp_path / "wrong.toml").write_text("[rig]\nprob = 1")
    done = sonomyo("check", str(tmp_path / "wrong.toml"))
    assert done.returncode == 2
    assert "unknown setting" in done.stdout
