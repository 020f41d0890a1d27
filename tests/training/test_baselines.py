import numpy as np

from training.baselines import LAGS, emg_baseline, lagged, picture_baseline, ridge
from training.emg_steps import Trial


def test_ridge_without_penalty_is_least_squares():
    rng = np.random.default_rng(1)
    x, w = rng.normal(3, 1, (200, 4)), rng.normal(0, 1, (4, 2))
    y = x @ w + [7, -2]
    np.testing.assert_allclose(ridge(x, y, 0.0)(x), y, atol=1e-8)


def test_a_penalty_shrinks_towards_the_mean():
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (200, 4))
    y = x @ np.ones((4, 1)) + 5
    model = ridge(x, y, 1e6)
    np.testing.assert_allclose(model(x), np.broadcast_to(y.mean(0), y.shape), atol=0.01)


def test_pictures_that_differ_in_few_ways_are_read_exactly():
    rng = np.random.default_rng(1)
    patterns = rng.normal(0, 1, (3, 30 * 30))
    y = rng.normal(0, 1, (120, 3)).astype(np.float32)
    images = (y @ patterns + rng.normal(0, 0.01, (120, 900))).reshape(-1, 1, 30, 30)
    model = picture_baseline(images.astype(np.float32), y, np.repeat(np.arange(4), 30))
    assert np.sqrt(np.mean((model(images.reshape(120, -1)) - y) ** 2)) < 0.02


def test_lags_reach_back_only():
    x = np.arange(100, dtype=np.float32)[:, None]
    assert lagged(x)[80].tolist() == [80 - lag for lag in LAGS]
    assert lagged(x)[0].tolist() == [0] * len(LAGS)


def test_a_delayed_copy_of_the_envelope_is_found():
    rng = np.random.default_rng(1)
    trials = []
    for k in range(3):
        x = rng.uniform(0, 1, (500, 1)).astype(np.float32)
        y = 30 * np.roll(x, 20, axis=0)
        y[:20] = 30 * x[0]
        trials.append(Trial(f"t{k}", x, y))
    model = emg_baseline(trials)
    assert np.sqrt(np.mean((model(lagged(trials[0].features)) - trials[0].targets) ** 2)) < 0.5
