"""``sonomyo train lfads`` as a user runs it: simulated EMG to a network and what it says."""

import argparse
import json
from dataclasses import replace

import numpy as np
import pytest

from training import emg_recordings
from training.emg_recordings import recordings
from training.lfads_config import Data, LfadsRun, usual
from training.lfads_person import activation, load_network, people, windows_of
from training.train_command import add_args, main


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(emg_recordings, "BED_SECONDS", 8.0)
    monkeypatch.setattr(emg_recordings, "BED_CHANNELS", 5)


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    add_args(parser)
    return main(parser.parse_args(["lfads", "--quick", *argv]))


def test_leaves_a_network_its_judgement_and_a_figure(tmp_path, capsys):
    out = tmp_path / "out"
    assert run("--data", "bed:gait", "--out", str(out)) == 0
    assert "lfads" in capsys.readouterr().out
    folder = out / "simulated"
    rows = json.loads((folder / "results.json").read_text())["rows"]
    assert {"lfads", "10 Hz"} <= set(rows[0])
    assert (folder / "activation.png").read_bytes().startswith(b"\x89PNG")
    net, scale, chain, channels = load_network(folder / "lfads.pt")
    (person,) = people(recordings("bed:gait"), Data())
    assert channels == person.channels
    assert chain == person.chain
    np.testing.assert_allclose(scale.unit, person.scale.unit)
    (said,) = activation(net, person, usual("bed:gait").windows)
    assert said.shape == person.bins[0].shape
    assert (said[np.isfinite(said)] > 0).all()


def test_a_folder_with_results_is_gone_on_with_only_when_asked_to(tmp_path, capsys):
    (tmp_path / "lfads.pt").write_text("")
    assert run("--data", "bed:gait", "--out", str(tmp_path)) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_mistaken_set_or_file_is_refused(tmp_path, capsys):
    assert run("--data", "legs", "--out", str(tmp_path / "a")) == 2
    assert "bed:lorenz" in capsys.readouterr().err
    file = tmp_path / "mine.toml"
    file.write_text("[fit]\nepoch = 3\n")
    assert run("--config", str(file), "--out", str(tmp_path / "b")) == 2
    assert "epochs" in capsys.readouterr().err


def test_emg_that_cannot_be_learned_from_is_refused_by_channel(tmp_path, capsys, monkeypatch):
    from training import train_lfads_command

    def dead(name, seed):
        (r,) = recordings("bed:gait")
        r.emg_uv[:, 2] = 0
        return [r]

    monkeypatch.setattr(train_lfads_command, "recordings", dead)
    assert run("--data", "bed:gait", "--out", str(tmp_path / "a")) == 2
    said = capsys.readouterr().err
    assert "m03: dead" in said
    assert "leave it out" in said


def test_a_recording_too_short_says_how_long_it_must_be(monkeypatch):
    monkeypatch.setattr(emg_recordings, "BED_SECONDS", 1.2)
    (person,) = people(recordings("bed:gait"), Data())
    with pytest.raises(ValueError, match="record 2.0 s or more"):
        windows_of(replace(person, bins=tuple(x[:250] for x in person.bins)), LfadsRun().windows)
