"""A small LFADS learns what several muscles share, and repeats itself exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.lfads import LfadsConfig
from training.checkpoint import weights
from training.fit_lfads import EmgWindows, Hyper, LfadsFit, fit_lfads, infer
from training.lfads_noise import InputNoise

CONFIG = LfadsConfig(6, bins=20, ic_enc=16, ci_enc=16, con=12, co=1, ic=8, gen=16, factors=3)
FIT = LfadsFit(
    epochs=3,
    batches=8,
    batch=32,
    hyper=Hyper(rate=1e-2, hidden=0.2),
    noise=InputNoise(block_bins=5),
)


def activation(n, seed):
    rng = np.random.default_rng(seed)
    t = np.arange(20)
    phase = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    mix = np.arange(6) * np.pi / 3
    return 0.55 + 0.45 * np.sin(t[None, :, None] * 0.5 + phase + mix)


@pytest.fixture(scope="module")
def truth():
    return activation(160, 1), activation(40, 2)


@pytest.fixture(scope="module")
def data(truth):
    rng = np.random.default_rng(3)
    return EmgWindows(*((rng.gamma(2.0, a / 2.0)).astype(np.float32) for a in truth))


@pytest.fixture(scope="module")
def fitted(data):
    return fit_lfads(data, CONFIG, replace(FIT, epochs=60))


def test_it_infers_activation_better_than_it_was_recorded(data, truth, fitted):
    net, epochs = fitted
    found = infer(net, data.validate)
    error, noise = (np.mean((v - truth[1]) ** 2) for v in (found, data.validate))
    assert error < 0.1 * noise
    assert epochs[-1].validation < epochs[0].validation


def test_samples_agree_with_means_on_average(data, fitted):
    net, _ = fitted
    one, many = infer(net, data.validate[:4]), infer(net, data.validate[:4], samples=50)
    assert np.corrcoef(one.ravel(), many.ravel())[0, 1] > 0.9
    np.testing.assert_array_equal(many, infer(net, data.validate[:4], samples=50))


def test_a_fit_does_not_go_on_with_other_windows(data, tmp_path):
    path = tmp_path / "lfads.checkpoint"
    fit_lfads(data, CONFIG, FIT, checkpoint=path)
    other = data._replace(train=data.train[::-1].copy())
    with pytest.raises(ValueError, match="other settings"):
        fit_lfads(other, CONFIG, FIT, checkpoint=path)


def test_a_killed_fit_goes_on_to_the_weights_it_would_have_had(data, tmp_path):
    path = tmp_path / "lfads.checkpoint"

    def kill(epoch):
        if epoch.number == 2:
            raise KeyboardInterrupt

    whole, _ = fit_lfads(data, CONFIG, FIT)
    with pytest.raises(KeyboardInterrupt):
        fit_lfads(data, CONFIG, FIT, checkpoint=path, report=kill)
    rest, epochs = fit_lfads(data, CONFIG, FIT, checkpoint=path)
    assert len(epochs) == 3
    a, b = weights(whole), weights(rest)
    assert all(torch.equal(a[k], b[k]) for k in a)
    with pytest.raises(ValueError, match="other settings"):
        fit_lfads(data, CONFIG, replace(FIT, seed=9), checkpoint=path)


@pytest.mark.parametrize(
    ("spoil", "say"),
    [
        (lambda x: x[:, :9], "windows"),
        (lambda x: x[:0], "record longer"),
        (lambda x: x - 5, "zero or more"),
        (lambda x: np.where(np.arange(6) == 2, np.nan, x), "finite"),
        (lambda x: np.where(np.arange(6) == 2, 0.5, x), r"channels \[2\] never move"),
    ],
)
def test_data_that_cannot_be_fitted_are_refused_with_the_reason(data, spoil, say):
    bad = spoil(data.train).astype(np.float32)
    with pytest.raises(ValueError, match=say):
        fit_lfads(EmgWindows(bad, data.validate), CONFIG, FIT)
