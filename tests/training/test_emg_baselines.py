import numpy as np
import pytest
import scipy.signal

from training.emg import EmgChain
from training.emg_baselines import Bayes, Synergies, bayes_grid, enough_synergies, low_pass
from training.emg_testbed import FS_HZ, bed


@pytest.fixture(scope="module")
def one():
    return bed("gait", 10.0, 4, seed=1)


def alike(a, b):
    n = min(len(a), len(b))
    return np.mean([np.corrcoef(a[50:n, k], b[50:n, k])[0, 1] for k in range(a.shape[1])])


def test_a_low_pass_is_scipys(one):
    bins = EmgChain(FS_HZ).bins(one.emg_uv)
    b, a = scipy.signal.butter(4, 10, fs=500)
    np.testing.assert_allclose(
        low_pass(bins, 10.0)[500:-500],
        scipy.signal.filtfilt(b, a, bins, axis=0)[500:-500],
        rtol=1e-3,
        atol=1e-3,
    )


def test_a_causal_low_pass_knows_nothing_of_later(one):
    bins = EmgChain(FS_HZ).bins(one.emg_uv)
    changed = bins.copy()
    changed[2000:] = 0
    np.testing.assert_array_equal(
        low_pass(bins, 10.0, causal=True)[:2000], low_pass(changed, 10.0, causal=True)[:2000]
    )


def test_bayes_follows_a_burst_in_a_few_milliseconds_and_holds_it_steady():
    rng = np.random.default_rng(1)
    size = np.where(np.arange(8000) < 4000, 20.0, 200.0)
    x = (size * rng.laplace(size=8000) / 2**0.5)[:, None]
    chain = EmgChain(FS_HZ, harmonics=())
    found = Bayes(diffusion=1e-3, jump=1e-6).run(x, chain)[:, 0]
    low, high = found[500:990].mean(), found[1200:].mean()
    assert high > 5 * low
    risen = np.argmax(found[1000:] > (low + high) / 2) * 2
    assert risen < 30  # ms
    bins = chain.bins(x)[1200:, 0]
    assert found[1200:].std() / high < 0.5 * bins.std() / bins.mean()


def test_bayes_is_the_recursion_written_out():
    """Sanger's update for one channel and one sample a step, in plain loops."""
    x = np.random.default_rng(2).standard_normal(40)
    x /= np.abs(x).max()
    b = Bayes(diffusion=1e-3, jump=1e-2, hofmann=False)
    found = b._filter(x.reshape(40, 1, 1), fs_hz=1000.0)[:, 0]
    n, dt = 100, 1e-3
    grid = np.arange(1, n + 1) / n
    p = np.full(n, 1 / n)
    for k, v in enumerate(x):
        left, right = np.concatenate([p[:1], p[:-1]]), np.concatenate([p[1:], p[-1:]])
        p = p + dt * 1e-3 * n**2 * (left - 2 * p + right)
        p = dt * 1e-2 / n + (1 - dt * 1e-2) * p
        p = p * np.exp(-0.5 * v**2 / grid**2) / grid
        p /= p.sum()
        assert found[k] == pytest.approx(p @ grid, rel=1e-9)


def test_the_grid_keeps_the_best():
    assert bayes_grid(lambda b: -abs(np.log10(b.diffusion) + 3) - b.jump).diffusion == 1e-3


def test_synergies_make_the_envelopes_that_synergies_made():
    rng = np.random.default_rng(1)
    h, w = rng.gamma(1, 1, (400, 2)), rng.gamma(1, 1, (2, 6))
    found = Synergies.fit(h @ w, 2)
    assert found.explained > 0.999
    np.testing.assert_allclose(found.run(h @ w, 500), h @ w, rtol=0.1, atol=0.1)
    assert len(enough_synergies(h @ w, 0.995).weights) == 2


def test_synergies_are_never_negative(one):
    found = enough_synergies(low_pass(EmgChain(FS_HZ).bins(one.emg_uv), 10.0))
    assert found.weights.min() >= 0
    assert found.explained >= 0.9


@pytest.mark.parametrize("hz", [10.0, 7.0])
def test_every_baseline_finds_activation_better_than_bins_do(one, hz):
    chain = EmgChain(FS_HZ)
    bins = chain.bins(one.emg_uv)
    raw = alike(bins, one.activation)
    assert alike(low_pass(bins, hz), one.activation) > raw
    assert alike(Bayes(1e-3, 1e-6).run(one.emg_uv, chain), one.activation) > raw
