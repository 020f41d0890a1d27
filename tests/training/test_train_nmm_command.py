"""``sonomyo train nmm`` end to end on a simulated person, in token epochs."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edge.cli import main as sonomyo
from training.joint_data import elbow_trial
from training.sto import read_sto
from training.train_nmm_command import folds, write_sto
from training.virtual_measure import measured_of
from training.virtual_people import MUSCLES


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


@pytest.fixture(params=[0.0, 41.53, 1.7e9 + 0.25])
def written(request, tmp_path, trials):
    """A table of one trial, whose laboratory's clock began at some time."""
    trial = replace(trials[0], start_s=request.param)
    write_sto(tmp_path / "t.sto", MUSCLES, trial, trial.truth, trial.moment_nm)
    return tmp_path / "t.sto", trial


def test_a_table_is_by_the_clock_of_its_trial(written):
    path, trial = written
    got = read_sto(path)
    wanted_s = trial.start_s + np.arange(len(trial.truth)) / 100
    np.testing.assert_allclose(got["time"], wanted_s, rtol=0, atol=1e-6)
    np.testing.assert_allclose(got["BRA"], trial.truth[:, -1], rtol=1e-5)
    np.testing.assert_allclose(got["moment"], trial.moment_nm, rtol=1e-5, atol=1e-9)


@pytest.mark.opensim
def test_opensim_reads_the_table(written):
    opensim = pytest.importorskip("opensim", reason="the OpenSim package is not installed")
    path, trial = written
    got = opensim.TimeSeriesTable(str(path))
    assert got.getColumnLabels() == (*MUSCLES, "moment")
    assert got.getTableMetaDataString("inDegrees") == "no"
    time_s = np.array(got.getIndependentColumn())
    assert time_s[0] == pytest.approx(trial.start_s, abs=1e-6)
    np.testing.assert_allclose(np.diff(time_s), 0.01, atol=1e-6)
    moment = got.getDependentColumn("moment").to_numpy()
    np.testing.assert_allclose(moment, trial.moment_nm, rtol=1e-5, atol=1e-9)


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
