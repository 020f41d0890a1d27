import numpy as np
import pytest
import scipy.signal
import torch

from models.streaming import AHEAD, LAGS, TwinConfig
from training.checkpoint import weights
from training.distil import Taught, TwinFit, aligned, fit_twin, follow
from training.emg import Scale

FIT = TwinFit(epochs=12, batches=10, batch=8, bins=120, settle=40)
CONFIG = TwinConfig(2, inner=8, hidden=24)
SCALE = Scale(np.full(2, 400.0), np.full(2, 100.0))


@pytest.fixture(scope="module")
def lessons():
    rng = np.random.default_rng(1)
    slow = scipy.signal.butter(2, 6, fs=500, output="sos")
    drive = scipy.signal.sosfiltfilt(slow, rng.standard_normal((3000, 1)), axis=0)
    drive = drive / drive.std() @ [[1.0, -0.7]]
    truth = np.exp(0.7 * drive)
    bins = 100 * rng.gamma(2.0, truth / 2)
    teacher = truth.copy()
    teacher[-60:] = np.nan  # no window reached the end
    return [Taught(bins[:1500], teacher[:1500]), Taught(bins[1500:], teacher[1500:])]


@pytest.fixture(scope="module")
def net(lessons):
    return fit_twin(lessons, SCALE, FIT, CONFIG)


def error(net, lesson, which):
    said = aligned(follow(net, lesson.bins), which)
    ok = np.isfinite(said).all(1) & np.isfinite(lesson.teacher).all(1)
    ok[: FIT.settle] = False
    return np.mean((said - lesson.teacher)[ok] ** 2)


def test_it_says_from_the_past_what_the_teacher_says_in_hindsight(net, lessons):
    spread = np.nanvar(lessons[0].teacher)
    assert error(net, lessons[0], 0) < 0.6 * spread


def test_the_further_ahead_the_less_it_knows(net, lessons):
    now, *ahead = (error(net, lessons[1], k) for k in (0, *range(len(LAGS), len(LAGS + AHEAD))))
    assert now < ahead[0] < ahead[-1]


def test_what_was_said_of_a_bin_is_found_at_that_bin():
    """A twin that always says the number of the newest bin, plus the shift it speaks of."""
    shifts = [*(-lag for lag in LAGS), *AHEAD]
    said = (np.arange(50.0)[:, None] + shifts)[:, :, None]
    for k, shift in enumerate(shifts):
        found = aligned(said, k)[:, 0]
        ok = np.isfinite(found)
        np.testing.assert_array_equal(found[ok], np.arange(50)[ok])
        assert (~ok).sum() == abs(shift)


def test_the_same_seed_gives_the_same_twin(lessons):
    short = TwinFit(epochs=1, batches=2, batch=4, bins=120, settle=40)
    a, b = (weights(fit_twin(lessons, SCALE, short, CONFIG)) for _ in range(2))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_recordings_too_short_are_refused(lessons):
    short = [Taught(lessons[0].bins[:50], lessons[0].teacher[:50])]
    with pytest.raises(ValueError, match="record longer"):
        fit_twin(short, SCALE, FIT, CONFIG)
