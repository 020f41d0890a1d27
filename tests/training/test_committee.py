"""What two cross-validations of the same folds say together."""

import json

import numpy as np
import pytest

from training.committee import combine
from training.crossval_results import fold_arrays, fold_file

OUTPUTS = ("angle",)


def member(folder, seed, shift, rows=(0, 1, 2, 3)):
    """A cross-validation of one fold: four pictures of two people, one spoilt picture."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    n = len(rows)
    truth = np.array([[0.0], [4.0], [10.0], [20.0]], np.float32)
    arrays = {
        "rows": np.array(rows),
        "person": np.array([0, 0, 1, 1]),
        "truth": truth,
        "anatomy_truth": np.full((n, 6), np.nan, np.float32),
        "values": truth + np.float32(shift),
        "sd": np.ones((n, 1), np.float32),
        "anatomy": rng.normal(size=(n, 6)),
        "features": rng.normal(size=(n, 2 + seed)),
        "odd": rng.normal(size=n),
        "far": rng.normal(size=n),
        "gate": np.array([0.0, 0.0, 0.0, float(seed)]),
        "probe_kind": np.array(["flat"]),
        "probe_gate": np.array([0.2 * seed]),
        "probe_sd": np.array([[3.0 * seed]]),
    }
    np.savez(fold_file(folder, 0, "npz"), **arrays)
    note = {"number": 0, "best": 1, "seconds": 2.0}
    fold_file(folder, 0, "json").write_text(json.dumps(note))
    return folder


def test_errors_that_differ_cancel_and_add_to_the_doubt(tmp_path):
    members = [member(tmp_path / "a", 0, -3.0), member(tmp_path / "b", 1, 3.0)]
    results = combine(members, tmp_path, [0], OUTPUTS)
    assert results["outputs"]["angle"]["rmse"] == 0
    a = fold_arrays(tmp_path, [0])
    np.testing.assert_allclose(a["sd"], (1 + 9) ** 0.5, rtol=1e-6)
    assert a["features"].shape == (4, 2 + 3)
    assert a["gate"].tolist() == [0, 0, 0, 1]  # the one that does not know is heard
    assert a["probe_gate"].tolist() == [0.2]
    assert json.loads(fold_file(tmp_path, 0, "json").read_text())["seconds"] == 4


def test_members_asked_about_other_pictures_are_no_committee(tmp_path):
    members = [
        member(tmp_path / "a", 0, 0.0),
        member(tmp_path / "b", 1, 0.0, rows=(0, 1, 2, 9)),
    ]
    with pytest.raises(ValueError, match="not asked about the same pictures"):
        combine(members, tmp_path / "c", [0], OUTPUTS)


def test_a_fold_that_a_member_lacks_is_missed(tmp_path):
    members = [member(tmp_path / "a", 0, 0.0), tmp_path / "nobody"]
    with pytest.raises(FileNotFoundError):
        combine(members, tmp_path / "c", [0], OUTPUTS)
