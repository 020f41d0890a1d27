"""Scores are what they say; a study's methods all see the same trials."""

import numpy as np
import pytest

from training.joint_data import elbow_trial
from training.nmm_study import correlation, moment_score, recovery, scores, true_person
from training.virtual_measure import measured_of


@pytest.fixture(scope="module")
def trials():
    return [elbow_trial(m) for m in measured_of("V6")[:2]]


def test_errors_are_over_the_range_given(trials):
    names, span = ("a", "b", "c", "d", "e", "f"), np.full(6, 2.0)
    said = [t.truth + 0.1 for t in trials]
    result = scores(names, said, trials, span, ("f",))
    assert result["f"]["nrmse"] == pytest.approx(0.05)
    assert result["f"]["r"] == pytest.approx(1.0)


def test_a_flat_line_is_like_nothing():
    assert correlation(np.ones(5), np.arange(5.0)) == 0.0


def test_moments_are_scored_after_activation_has_found_its_way(trials):
    said = [t.moment_nm.copy() for t in trials]
    for s in said:
        s[:30] = 99.0
    perfect = moment_score(said, trials)
    assert perfect == {"rmse_nm": 0.0, "rmse_pct": 0.0, "r2": 1.0}


def test_recovery_compares_with_knowing_nothing():
    true = true_person("V6")
    exact = recovery([{"person_true": true, "person_found": true}])
    assert all(row["rmse"] == 0.0 and row["usual"] > 0 for row in exact.values())
