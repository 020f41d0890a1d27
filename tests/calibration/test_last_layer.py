"""Turning the last layer where the truth is known picture by picture."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import lstsq

from calibration.last_layer import fit_last_layer
from calibration.phases import CalibrationError
from calibration.ridge import weights


@pytest.fixture
def example(wearer):
    """A routine, features, and a truth whose last layer differs from the model's."""
    r = wearer(noise=0.0).routine(fs_hz=4.0)
    rng = np.random.default_rng(3)
    features = rng.normal(size=(len(r.t_s), 12)) + 5
    turn = np.zeros((12, 3))
    turn[2], turn[7] = (2, 0.05, 6), (-3, 0.02, 4)
    truth = r.estimates + (features - 5) @ turn + [1.0, 0.1, -4.0]
    return replace(r, references=truth), features, truth


def rmse(a, b):
    return np.sqrt(np.mean((a - b) ** 2, axis=0))


def test_finds_the_layer_that_the_wearer_needs(example):
    r, features, truth = example
    found = fit_last_layer(r, features, 1e-3)
    rows = r.phase >= 0
    adapted = found.apply(r.estimates, features)
    assert (rmse(adapted[rows], truth[rows]) < 0.01 * rmse(r.estimates[rows], truth[rows])).all()


def test_it_is_the_weighted_ridge_regression_of_scipy(example):
    r, features, truth = example
    found = fit_last_layer(r, features, 30.0)
    w = weights(r, np.ones(len(r.t_s), bool))
    used = np.isfinite(truth).all(axis=1)
    centred = features - features[used].mean(axis=0)
    rms = np.sqrt(np.mean(centred[used] ** 2))
    design = np.column_stack([np.ones(len(w)), centred / rms]) * np.sqrt(w)[:, None]
    rows = np.vstack([design, np.sqrt(30.0) * np.eye(13)])
    wanted = np.vstack([(truth - r.estimates) * np.sqrt(w)[:, None], np.zeros((13, 3))])
    b = lstsq(rows, wanted)[0]
    np.testing.assert_allclose(found.bias, b[0], atol=1e-8)
    np.testing.assert_allclose(found.weights, b[1:] / rms, atol=1e-8)


def test_the_stronger_the_nearer_to_the_population(example):
    r, features, _ = example
    change = [
        np.abs(fit_last_layer(r, features, s).apply(r.estimates, features) - r.estimates).max()
        for s in (1.0, 100.0, 1e4, math.inf)
    ]
    assert (np.diff(change) < 0).all()
    assert change[-1] == 0


def test_features_that_stand_still_change_nothing_but_the_mean(example):
    r, _, _ = example
    found = fit_last_layer(r, np.ones((len(r.t_s), 4)), 1.0)
    assert not found.weights.any()


def test_an_output_without_truth_keeps_its_layer(example):
    r, features, truth = example
    known = truth.copy()
    known[:, 1] = np.nan
    found = fit_last_layer(replace(r, references=known), features, 1.0)
    assert not found.weights[:, 1].any()
    assert found.bias[1] == 0
    assert found.weights[:, 0].any()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda r, f: (r, f[:-1], 1.0), "features"),
        (lambda r, f: (r, np.where(f > 7, np.nan, f), 1.0), "features are no numbers"),
        (lambda r, f: (r, f, 0.0), "strength is positive"),
        (lambda r, f: (replace(r, references=-3 * r.estimates), r.estimates, 1e-3), "gain of -"),
        (lambda r, f: (replace(r, phase=0 * r.phase), f, 1.0), "no mvc phase"),
    ],
)
def test_refuses_what_cannot_be_meant(example, spoil, says):
    r, features, _ = example
    with pytest.raises(CalibrationError, match=says):
        fit_last_layer(*spoil(r, features))
