import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.state_cnn import StateCnnConfig
from training.checkpoint import weights
from training.crossval import Material, cross_validate, fold_net
from training.crossval_results import fold_arrays
from training.folds import Folds, folds
from training.outliers import SHOWN, spoil
from training.predict_state import predict
from training.state_epoch import StateFit

ROOT = Path(__file__).parents[2]
MODEL = StateCnnConfig("strided", pixels=32, widths=(4, 6), squeeze=3, hidden=6, outputs=2)
FIT = StateFit(epochs=1, batch=8, exposed=2)
HOW = Folds(count=2, validation=1)
OUTPUTS = ("brightness", "thickness")


def made(drawn_legs) -> Material:
    data = drawn_legs(4, 10)

    def maps_of(images):
        return data.maps[:1].repeat(len(images), axis=0)

    shown = spoil(data, list(SHOWN)[:3], 2, 1, maps_of)
    probes = spoil(data, ["flat", "burnt"], 4, 2, maps_of)
    return Material(data, shown, probes, routine=data)


@pytest.fixture(scope="module")
def material(drawn_legs):
    return made(drawn_legs)


@pytest.fixture(scope="module")
def done(material, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, cross_validate(material, MODEL, FIT, HOW, folder, OUTPUTS)


def test_every_picture_is_estimated_once_by_a_network_that_never_saw_its_person(done, material):
    folder, _ = done
    a = fold_arrays(folder, [0, 1])
    assert sorted(a["rows"]) == list(range(len(material.data.images)))
    np.testing.assert_array_equal(a["truth"], material.data.targets[a["rows"]])
    np.testing.assert_array_equal(a["person"], material.data.person[a["rows"]])
    for fold in folds(material.data.person.tolist(), HOW):
        arrays = fold_arrays(folder, [fold.number])
        assert set(arrays["person"].tolist()) == set(fold.test)
        assert set(arrays["routine_person"].tolist()) == set(fold.test)


def test_the_summary_says_how_each_held_out_participant_fared(done):
    folder, summary = done
    assert summary == json.loads((folder / "results.json").read_text())
    a = fold_arrays(folder, [0, 1])
    one = summary["outputs"]["thickness"]
    assert set(one["participants"]) == {"0", "1", "2", "3"}
    rows = a["person"] == 2
    e, t = a["values"][rows, 1], a["truth"][rows, 1]
    wanted = 100 * (1 - np.mean((e - t) ** 2) / np.var(t))
    assert one["participants"]["2"]["a"] == pytest.approx(wanted, rel=1e-4)
    every = [p["a"] for p in one["participants"].values()]
    assert one["mean"]["a"] == pytest.approx(np.mean(every))
    assert one["sd"]["a"] == pytest.approx(np.std(every, ddof=1))
    assert set(summary["spoilt"]) == {"flat", "burnt"}


def test_a_fold_keeps_its_network_which_still_says_the_same(done, material):
    folder, _ = done
    a = fold_arrays(folder, [1])
    seen = predict(fold_net(folder, 1), material.data, a["rows"])
    np.testing.assert_allclose(seen.values, a["values"], rtol=1e-4)
    np.testing.assert_allclose(seen.sd, a["sd"], rtol=1e-3)


def test_a_killed_run_goes_on_with_the_next_fold(done, material, tmp_path):
    whole, summary = done

    def kill(fold, epoch):
        if fold == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cross_validate(material, MODEL, FIT, HOW, tmp_path, OUTPUTS, kill)
    assert not (tmp_path / "results.json").exists()
    heard = []
    again = cross_validate(
        material, MODEL, FIT, HOW, tmp_path, OUTPUTS, lambda fold, _: heard.append(fold)
    )
    assert 0 not in heard  # done already: not fitted again
    assert again["outputs"] == summary["outputs"]
    np.testing.assert_array_equal(
        fold_arrays(tmp_path, [0, 1])["sd"], fold_arrays(whole, [0, 1])["sd"]
    )


def test_one_fold_can_be_looked_at_first(material, tmp_path):
    summary = cross_validate(material, MODEL, FIT, replace(HOW, only=(1,)), tmp_path, OUTPUTS)
    assert summary["folds"] == [1]
    assert not (tmp_path / "fold_00.json").exists()


@pytest.mark.parametrize("changed", ["fit", "folds", "data"])
def test_folds_of_other_settings_or_data_are_not_mixed(changed, done, material):
    folder, _ = done
    fit = replace(FIT, seed=2) if changed == "fit" else FIT
    how = replace(HOW, seed=2) if changed == "folds" else HOW
    if changed == "data":
        data = replace(material.data, targets=material.data.targets + 1)
        material = replace(material, data=data)
    with pytest.raises(ValueError, match=f"another .*{changed}.*choose another folder"):
        cross_validate(material, MODEL, fit, how, folder, OUTPUTS)


def test_every_fold_begins_from_the_weights_it_is_given(done, material, tmp_path):
    folder, _ = done
    start = weights(fold_net(folder, 0))
    still = replace(FIT, rate=1e-12, decay=0.0)
    cross_validate(material, MODEL, still, HOW, tmp_path, OUTPUTS, start=start)
    for number in (0, 1):
        net = fold_net(tmp_path, number)
        for name, tensor in net.named_parameters():
            torch.testing.assert_close(tensor, start[name], rtol=0, atol=1e-6)
        torch.testing.assert_close(net.mean, start["mean"])  # the units of what it learned


def test_folds_from_other_weights_are_not_mixed(done, material, tmp_path):
    folder, _ = done
    start = weights(fold_net(folder, 0))
    with pytest.raises(ValueError, match="another start"):
        cross_validate(material, MODEL, FIT, HOW, folder, OUTPUTS, start=start)
    one = replace(HOW, only=(0,))
    cross_validate(material, MODEL, FIT, one, tmp_path, OUTPUTS, start=start)
    cross_validate(material, MODEL, FIT, one, tmp_path, OUTPUTS, start=dict(start))
    other = {k: v.clone() for k, v in start.items()}
    other["value.bias"] += 1
    with pytest.raises(ValueError, match="another start"):
        cross_validate(material, MODEL, FIT, one, tmp_path, OUTPUTS, start=other)
    with pytest.raises(ValueError, match="another start"):
        cross_validate(material, MODEL, FIT, one, tmp_path, OUTPUTS)


ON_RAY = """
import pickle, sys
from pathlib import Path
from training.crossval import cross_validate

if __name__ == "__main__":
    arguments = pickle.loads(Path(sys.argv[1]).read_bytes())
    cross_validate(*arguments, Path(sys.argv[2]), ("brightness", "thickness"))
"""


@pytest.mark.slow
def test_folds_in_processes_of_their_own_give_the_same(done, material, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'sonomyo[train]'")
    whole, _ = done
    # In a process of its own: Ray leaves threads and warnings behind that are none of ours.
    (tmp_path / "run.py").write_text(ON_RAY)
    two = replace(HOW, workers=2)
    (tmp_path / "arguments").write_bytes(pickle.dumps((material, MODEL, FIT, two)))
    command = [sys.executable, tmp_path / "run.py", tmp_path / "arguments", tmp_path / "folds"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    a, b = fold_arrays(tmp_path / "folds", [0, 1]), fold_arrays(whole, [0, 1])
    for name, array in b.items():
        np.testing.assert_array_equal(a[name], array)
