"""``sonomyo train nmm`` end to end on a simulated person, in token epochs."""

import json

import numpy as np
import pytest

from edge.cli import main as sonomyo
from training.joint_data import elbow_trial
from training.sto import read_sto
from training.train_nmm_command import folds
from training.virtual_measure import measured_of


@pytest.fixture(scope="module")
def trials():
    return [elbow_trial(m) for m in measured_of("V6")]


def test_every_load_is_left_out_once_and_with_all_its_trials(trials):
    made = list(folds(trials))
    assert [left for left, _, _ in made] == ["0 kg", "2 kg", "4 kg"]
    for _, train, test in made:
        assert not {t.load_kg for t in train} & {t.load_kg for t in test}
        assert len(train) + len(test) == len(trials)


def test_with_one_load_every_trial_is_left_out_and_one_trial_is_refused(trials):
    light = [t for t in trials if t.load_kg == 0.0]
    assert [left for left, _, _ in folds(light)] == [t.name for t in light]
    with pytest.raises(ValueError, match="at least two"):
        list(folds(light[:1]))


@pytest.mark.slow
def test_the_folder_holds_scores_person_envelopes_and_weights(tmp_path, capsys):
    assert sonomyo(["train", "nmm", "--data", "V6", "--quick", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert [row["left_out"] for row in found["left_out"]] == ["0 kg", "2 kg", "4 kg"]
    assert set(found["left_out"][0]["muscles"]) == {"TRIlong", "TRIlat", "BIClong", "BICshort"}
    assert len(found["identification"]) == 4 * 6 + 5
    tables = sorted(tmp_path.glob("*.sto"))
    assert len(tables) == 9
    said = read_sto(tables[0])
    assert np.isfinite(said["BRA"]).all()  # nobody measured it
    assert ((said["BRA"] >= 0) & (said["BRA"] <= 1)).all()
    with np.load(tmp_path / "network.npz", allow_pickle=False) as f:
        assert "network.head.weight" in f.files
    assert "everything is in" in capsys.readouterr().out


def test_it_asks_for_data_and_says_what_is_wrong_with_it(tmp_path, capsys):
    assert sonomyo(["train", "nmm"]) == 2
    assert "--data TRIALS.toml" in capsys.readouterr().err
    assert sonomyo(["train", "nmm", "--data", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
