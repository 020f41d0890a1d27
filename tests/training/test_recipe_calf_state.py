"""The whole way from simulated people to a bundle, with next to nothing on it."""

import argparse

from edge.bundle import load_bundle
from models.segmenter import MAPS
from training.recipe_calf_state import OUTPUTS
from training.train_command import add_args, main


def test_a_quick_recipe_gives_a_bundle_that_says_it_is_simulated(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # where the rendered people are kept
    parser = argparse.ArgumentParser()
    add_args(parser)
    assert main(parser.parse_args(["calf-state", "--quick", "--out", str(tmp_path / "b")])) == 0
    bundle = load_bundle(str(tmp_path / "b"))
    assert bundle.spec.outputs == OUTPUTS
    assert bundle.spec.map_names == MAPS
    card = (bundle.path / "CARD.md").read_text()
    assert "SIMULATED" in card
    assert "4 simulated people, held out" in card
    assert "ankle_moment" in capsys.readouterr().out
