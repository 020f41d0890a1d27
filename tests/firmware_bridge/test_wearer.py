import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.wearer import (
    ELECTROMECHANICAL_DELAY_S,
    MAX_ANGLE_DEG,
    MAX_TORQUE_NM,
    MIN_ANGLE_DEG,
    PUSH_EVERY_S,
    PUSHES,
    torque_nm,
    truth,
)

T_S = np.arange(0, 120, 0.01)


@pytest.mark.parametrize("seed", [1, 2, 77])
def test_the_wearer_stays_within_a_human_range_and_uses_most_of_it(seed):
    now = truth(T_S, seed)
    assert now.angle_deg.min() >= MIN_ANGLE_DEG
    assert now.angle_deg.max() <= MAX_ANGLE_DEG
    assert np.ptp(now.angle_deg) > 30
    assert now.torque_nm.min() >= 0
    assert now.torque_nm.max() <= MAX_TORQUE_NM
    assert np.ptp(now.torque_nm) > 60
    for activation in (now.activation, now.activation_ta, now.force):
        assert activation.min() >= 0
        assert activation.max() <= 1


def test_nothing_jumps():
    now = truth(T_S)
    assert np.abs(np.diff(now.angle_deg)).max() < 0.5
    assert np.abs(np.diff(now.activation)).max() < 0.08
    assert np.abs(np.diff(now.activation_ta)).max() < 0.08


def test_the_calf_and_its_antagonist_take_turns():
    now = truth(T_S)
    assert np.minimum(now.activation, now.activation_ta).max() < 0.05


def test_force_is_the_activation_of_one_delay_before():
    now, before = truth(T_S), truth(T_S - ELECTROMECHANICAL_DELAY_S)
    np.testing.assert_array_equal(now.force, before.activation)


def test_torque_grows_with_force_and_with_stretch():
    assert torque_nm(0, 1) > torque_nm(0, 0.5) > torque_nm(0, 0)
    assert torque_nm(-30, 1) > torque_nm(20, 1)
    assert torque_nm(-30, 0) == pytest.approx(12)
    assert torque_nm(-30, 1) == pytest.approx(MAX_TORQUE_NM)


@given(st.floats(0, 1e5), st.integers(0, 1000))
def test_a_moment_is_the_same_alone_and_in_a_series(t_s, seed):
    alone, among = truth(t_s, seed), truth(np.array([0.0, t_s, 7.0]), seed)
    for a, b in zip(alone, among, strict=True):
        assert a.shape == ()
        assert a == b[1]


def test_seeds_are_different_wearers_and_the_same_seed_is_the_same():
    assert not np.allclose(truth(T_S, 1).angle_deg, truth(T_S, 2).angle_deg)
    np.testing.assert_array_equal(truth(T_S, 5).torque_nm, truth(T_S, 5).torque_nm)


def test_after_the_last_push_the_plan_begins_again():
    turn = PUSHES * PUSH_EVERY_S
    np.testing.assert_allclose(truth(T_S + turn).activation, truth(T_S).activation, atol=1e-9)
