"""Simulated trials with features that know nothing of later."""

from dataclasses import replace

import numpy as np
import pytest

from models.causal_features import FILTER
from training.causal_trials import causal_trial
from training.joint_data import elbow_trial
from training.virtual_arm import trials_of
from training.virtual_measure import measure


@pytest.fixture(scope="module")
def measured():
    return measure(trials_of("V6")[4])


def test_what_comes_later_changes_no_feature_of_now(measured):
    raw = measured.raw_angle_rad.copy()
    raw[600:] += 0.5
    before, after = (
        causal_trial(m).features for m in (measured, replace(measured, raw_angle_rad=raw))
    )
    assert np.array_equal(before[:600], after[:600])
    assert not np.isclose(before[600], after[600]).all()


def test_features_are_those_of_hindsight_but_for_a_lag(measured):
    now, hindsight = causal_trial(measured).features, elbow_trial(measured).features
    assert np.abs(now - hindsight)[:, 0].max() < np.deg2rad(1)
    for column in (1, 2):
        lags = [
            np.corrcoef(now[50:, column], hindsight[50 - k : len(now) - k, column])[0, 1]
            for k in range(FILTER)
        ]
        assert max(lags) > 0.97
    assert np.argmax(lags) == pytest.approx(FILTER // 2, abs=2)  # acceleration: of the middle


def test_what_is_to_be_learned_stays_what_hindsight_measured(measured):
    now, hindsight = causal_trial(measured), elbow_trial(measured)
    for name in ("moment_nm", "envelope", "arm_mm", "moment_per_kg"):
        np.testing.assert_array_equal(getattr(now, name), getattr(hindsight, name))


def test_another_load_is_in_the_features_as_if_it_had_been_held(measured):
    heavier = causal_trial(replace(measured, load_kg=3.5)).features
    t = causal_trial(measured)
    more = 3.5 - measured.load_kg
    np.testing.assert_allclose(t.features + more * t.features_per_kg, heavier, atol=1e-9)
