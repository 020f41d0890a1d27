import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.losses import doubt_loss
from training.metrics import (
    LEVELS,
    accuracies,
    accuracy,
    calibration_error,
    coverage,
    doubt,
    score,
    scores,
)


def test_score_in_the_unit_of_the_output():
    s = score("all", "angle", [1, 2, 3, 8], [1, 2, 3, 4])
    assert (s.n, s.rmse) == (4, 2.0)
    assert s.r2 == pytest.approx(1 - 4 / 1.25)


def test_no_r2_where_the_truth_stands_still():
    assert np.isnan(score("isometric", "angle", [4.4, 4.6], [4.5, 4.5]).r2)


def test_scores_cover_everything_then_each_group_in_order():
    estimate, truth = np.zeros((4, 2)), np.array([[1, 0], [1, 0], [0, 2], [0, 2]])
    found = scores(["a", "b"], ["y", "y", "x", "x"], estimate, truth)
    assert [(s.group, s.output) for s in found] == [
        ("all", "a"), ("all", "b"), ("y", "a"), ("y", "b"), ("x", "a"), ("x", "b"),
    ]  # fmt: skip
    assert [s.rmse for s in found[2:]] == [1, 0, 0, 2]


def test_doubt_is_one_for_honest_and_larger_for_proud_estimates():
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 1, (5000, 2))
    estimate = truth + rng.normal(0, [1, 6], (5000, 2))
    np.testing.assert_allclose(doubt(estimate, np.full((5000, 2), [1, 2]), truth), [1, 3], rtol=0.1)


def test_the_loss_of_doubt_is_least_at_the_size_of_the_errors():
    wanted = torch.randn(4000, 1, generator=torch.Generator().manual_seed(1)) * 0.5
    value = torch.zeros_like(wanted)
    losses = {
        sd: float(doubt_loss(value, torch.full_like(wanted, sd).log(), wanted))
        for sd in (0.25, 0.5, 1.0)
    }
    assert min(losses, key=lambda sd: losses[sd]) == 0.5


def test_accuracy_is_0_for_the_mean_and_100_for_the_truth():
    truth = np.array([1.0, 4.0, -2.0, 7.0])
    assert accuracy(truth, truth) == (100, 100, 100)
    a, b, _ = accuracy(np.full(4, truth.mean()), truth)
    assert (a, b) == pytest.approx((0, 0))


def test_accuracy_a_is_the_variance_that_scipy_says_is_explained():
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    truth = 3 * x + rng.normal(size=200)
    fit = scipy.stats.linregress(x, truth)
    assert accuracy(fit.intercept + fit.slope * x, truth).a == pytest.approx(100 * fit.rvalue**2)


values = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


@given(st.data(), values)
def test_one_accuracy_follows_from_another(data, truth):
    size = len(truth)
    estimate = data.draw(st.lists(st.floats(-100, 100), min_size=size, max_size=size))
    a, b, c = accuracy(estimate, truth)
    if np.var(truth) == 0:
        assert np.isnan([a, b, c]).all()
        return
    assert b == pytest.approx(100 * (1 - math.sqrt(max(1 - a / 100, 0))), abs=1e-5)
    # No set of numbers has an SD of more than half its range.
    assert c >= 50 + b / 2 - 1e-6


def test_accuracy_wants_numbers():
    with pytest.raises(ValueError, match="not finite"):
        accuracy([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="pass"):
        accuracy([1.0, 2.0], [1.0, 2.0, 3.0])


def test_every_person_counts_once_however_many_frames():
    truth = np.array([0, 1, 0, 1, 0, 1, 0, 1, 5, 9], float)
    person = [4] * 8 + [2] * 2
    estimate = np.where(np.array(person) == 4, 0.5, truth)
    (angle,) = accuracies(["angle"], person, estimate[:, None], truth[:, None])
    assert (angle.output, angle.person) == ("angle", (2, 4))
    assert [each.a for each in angle.each] == pytest.approx([100, 0])
    assert angle.mean.a == pytest.approx(50)
    assert angle.sd.a == pytest.approx(np.std([100, 0], ddof=1))


def test_one_person_has_no_spread():
    (angle,) = accuracies(["angle"], [3, 3], [[1], [2]], [[1], [2]])
    assert angle.mean.a == 100
    assert np.isnan(angle.sd).all()


def test_coverage_counts_truths_in_scipys_intervals():
    rng = np.random.default_rng(2)
    truth, estimate = rng.standard_t(4, (2, 300, 2))
    sd = rng.uniform(0.5, 2, (300, 2))
    found = coverage(estimate, sd, truth)
    for level, row in zip(LEVELS, found, strict=True):
        low, high = scipy.stats.norm.interval(level, estimate, sd)
        np.testing.assert_array_equal(row, np.mean((truth >= low) & (truth <= high), axis=0))


def test_calibration_error_tells_honest_from_proud_and_timid():
    rng = np.random.default_rng(3)
    error = rng.normal(size=(20000, 1))
    honest, proud, timid = (
        float(calibration_error(error, np.full_like(error, sd), 0 * error)[0])
        for sd in (1.0, 0.3, 4.0)
    )
    assert honest < 0.01
    levels = np.array(LEVELS)
    for found, sd in ((proud, 0.3), (timid, 4.0)):
        wide = scipy.stats.norm.interval(levels, 0, sd)[1]
        expected = np.mean(np.abs(2 * scipy.stats.norm.cdf(wide) - 1 - levels))
        assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("sd", [0.0, np.nan, -1.0])
def test_a_doubt_that_is_none_is_refused(sd):
    with pytest.raises(ValueError, match="sd > 0"):
        calibration_error([[1.0]], [[sd]], [[1.0]])
