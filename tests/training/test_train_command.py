import argparse

import pytest

from edge.bundle import load_bundle
from training.train_command import MODELS, add_args, main


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_args(parser)
    return parser.parse_args(argv)


def test_writes_a_bundle_where_it_was_told(tmp_path, capsys):
    assert main(parse("sim-frame", "--quick", "--out", str(tmp_path / "b"))) == 0
    bundle = load_bundle(str(tmp_path / "b"))
    assert bundle.spec.name == MODELS["sim-frame"]
    assert bundle.id in capsys.readouterr().out


@pytest.mark.parametrize("model", ["frame-cnn", "emg-gru"])
def test_says_what_to_do_when_the_recordings_are_not_here(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SONOMYO_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(parse(model, "--quick", "--out", str(tmp_path / "b"))) == 2
    assert "sonomyo data get" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
