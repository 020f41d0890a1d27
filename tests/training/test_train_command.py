import argparse
import importlib

import pytest

from edge.bundle import load_bundle
from training.train_command import RECIPES, add_args, main


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_args(parser)
    return parser.parse_args(argv)


def test_writes_a_bundle_where_it_was_told(tmp_path, capsys):
    assert main(parse("sim-state", "--quick", "--out", str(tmp_path / "b"))) == 0
    bundle = load_bundle(str(tmp_path / "b"))
    assert bundle.spec.name == RECIPES["sim-state"][0]
    assert bundle.id in capsys.readouterr().out


@pytest.mark.parametrize("model", ["mg-state", "emg-gru"])
def test_says_what_to_do_when_the_recordings_are_not_here(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SONOMYO_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(parse(model, "--quick", "--out", str(tmp_path / "b"))) == 2
    assert "sonomyo data get" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_mistaken_configuration_costs_no_simulation(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text("[fit]\nepoch = 3\n")
    out = tmp_path / "out"
    assert main(parse("state-cnn", "--config", str(path), "--out", str(out))) == 2
    assert "epochs" in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_with_folds_is_gone_on_with_only_when_asked_to(tmp_path, capsys):
    (tmp_path / "fold_00.json").write_text("{}")
    assert main(parse("state-cnn", "--out", str(tmp_path))) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_recipe_takes_no_configuration(capsys):
    assert main(parse("sim-state", "--resume")) == 2
    assert "state-cnn" in capsys.readouterr().err


@pytest.mark.parametrize("name", RECIPES)
def test_every_name_leads_to_a_recipe(name):
    _, module, function = RECIPES[name]
    assert callable(getattr(importlib.import_module(module), function))


def test_a_movement_to_play_is_written_without_training(tmp_path, capsys):
    path = tmp_path / "elbow.npz"
    assert main(parse("elbow-nmm", "--trial", str(path))) == 0
    assert f"--encoder {path}:angle" in capsys.readouterr().out
    assert path.exists()


@pytest.mark.parametrize("option", [("--epochs", "3"), ("--trial", "x.npz")])
def test_what_belongs_to_the_elbow_is_refused_elsewhere(option, capsys):
    assert main(parse("sim-state", *option)) == 2
    assert "elbow-nmm" in capsys.readouterr().err
