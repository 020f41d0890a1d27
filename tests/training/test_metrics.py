import numpy as np
import pytest
import torch

from training.losses import doubt_loss
from training.metrics import doubt, score, scores


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
