import numpy as np
import pytest

from training.emg_decoding import FOLDS, PENALTY, decode, truth_r2


@pytest.fixture
def muscles():
    rng = np.random.default_rng(1)
    return np.cumsum(rng.standard_normal((4000, 3)), axis=0) / 20


def test_finds_what_is_there_and_how_late_it_comes(muscles):
    target = np.roll(muscles @ [1.0, -2.0, 0.5], 8)
    found = decode(muscles, target)
    assert found.r2 > 0.99
    assert found.lag == 8


def test_what_is_not_there_is_not_found(muscles):
    noise = np.random.default_rng(2).standard_normal(4000)
    assert decode(muscles, noise).r2 < 0.02


def test_it_is_a_ridge_of_scaled_columns_fold_by_fold(muscles):
    rng = np.random.default_rng(4)
    target = muscles @ [1.0, -2.0, 0.5] + 5 + rng.standard_normal(4000)
    x, y = muscles[: 4000 - 8] * [1, 10, 100] + 3, np.roll(target, 8)[8:]
    scores = []
    for out in np.array_split(np.arange(len(x)), FOLDS):
        train = np.setdiff1d(np.arange(len(x)), out)
        centre, spread = x[train].mean(0), x[train].std(0)
        z = (x - centre) / spread
        middle, scale = y[train].mean(), y[train].std()
        gram = z[train].T @ z[train] + PENALTY * np.eye(3)
        weights = np.linalg.solve(gram, z[train].T @ ((y[train] - middle) / scale))
        error = y[out] - (z[out] @ weights * scale + middle)
        scores.append(1 - np.mean(error**2) / np.var(y))
    found = decode(muscles * [1, 10, 100] + 3, np.roll(target, 8))
    assert found.lag == 8
    assert found.r2 == pytest.approx(np.mean(scores), abs=1e-9)
    assert found.sd == pytest.approx(np.std(scores), abs=1e-9)


def test_noise_costs_what_it_must(muscles):
    signal = muscles @ [1.0, 1.0, 1.0]
    noise = np.random.default_rng(3).standard_normal(4000) * signal.std()
    found = decode(muscles, signal + noise)
    assert found.r2 == pytest.approx(0.5, abs=0.1)
    assert found.sd > 0


def test_bins_without_an_estimate_are_left_out(muscles):
    target = muscles @ [1.0, -2.0, 0.5]
    holes = muscles.copy()
    holes[1000:1200, 1] = np.nan
    target[1000:1200] = 1e6
    assert decode(holes, target).r2 > 0.99


def test_known_activation_is_judged_in_its_own_units_and_on_other_bins(muscles):
    train = np.arange(4000) < 2000
    assert truth_r2(7 * muscles - 3, muscles, train) == pytest.approx(1.0)
    wrong = muscles.copy()
    wrong[2000:] = 0
    assert truth_r2(wrong, muscles, train) < 0
