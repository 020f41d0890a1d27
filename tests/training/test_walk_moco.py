from dataclasses import replace

import numpy as np
import pytest

from calibration.physiology import identify
from training.datasets import DataMissing
from training.gait_conventions import check_conventions
from training.gait_recording import ConventionError, Table
from training.gait_steps import wrong
from training.synergy import effort
from training.walk_moco import MUSCLES, RATE_HZ, ankle, at, hidden, read_walk, stride


@pytest.fixture(scope="module")
def walk():
    try:
        return read_walk()
    except DataMissing as e:
        pytest.skip(str(e))


@pytest.fixture(scope="module")
def trial(walk):
    return stride()


def test_all_tables_are_on_one_clock(walk):
    time_s = walk.angles["time"]
    np.testing.assert_allclose(np.diff(time_s), 1 / RATE_HZ)
    for t in (walk.emg, walk.moments, walk.forces):
        np.testing.assert_array_equal(t["time"], time_s)
        assert {len(x) for x in t.columns.values()} == {len(time_s)}


def test_shapes_units_and_signs(trial):
    n = len(trial.angle_rad)
    assert n == 135
    assert trial.features.shape == (n, 9)
    assert trial.length_mm.shape == trial.envelope.shape == (n, len(MUSCLES))
    assert np.isfinite(trial.features).all()
    assert (trial.arm_mm[:, :3] < -25).all()
    assert (trial.arm_mm[:, 3] > 25).all()
    assert -160 < trial.moment_nm.min() < -100
    assert np.abs(trial.angle_rad).max() < 0.4
    np.testing.assert_array_equal(trial.envelope[:, 1], trial.envelope[:, 2])  # one channel
    assert 0 <= trial.envelope.min() < trial.envelope.max() <= 1


def test_the_emg_is_of_the_leg_whose_ankle_this_is(walk, trial):
    soleus = trial.envelope[:, 0]
    assert np.corrcoef(soleus, trial.moment_nm)[0, 1] < -0.9
    assert np.corrcoef(soleus, walk.moments["ankle_angle_l_moment"])[0, 1] > 0


def test_no_step_is_on_the_wrong_plate(walk):
    assert not wrong(walk, RATE_HZ).any()


def test_muscles_driven_by_emg_make_the_moment_of_inverse_dynamics(trial):
    """A wrong sign, side or unit anywhere in between would leave far more than a tenth."""
    joint = ankle()
    person = identify([effort(trial)], joint.muscle, joint.names, RATE_HZ)
    assert person.rmse_nm < 0.1 * np.ptp(trial.moment_nm)


def test_a_hidden_muscle_is_nowhere_but_in_truth(trial):
    h = hidden(trial, "soleus_r")
    assert np.isnan(h.envelope[:, 0]).all()
    np.testing.assert_array_equal(h.truth[:, 0], trial.envelope[:, 0])
    assert np.isnan(h.truth[:, 1:]).all()


def test_wrong_conventions_are_named(walk):
    check_conventions(walk)
    knee = walk.angles["knee_angle_r"]
    degrees = Table("ik", {**walk.angles.columns, "knee_angle_r": np.rad2deg(knee)})
    with pytest.raises(ConventionError, match="'knee_angle_r'.*degrees taken for radians"):
        check_conventions(replace(walk, angles=degrees))
    moment = walk.moments["ankle_angle_r_moment"]
    turned = Table("id", {**walk.moments.columns, "ankle_angle_r_moment": -moment})
    with pytest.raises(ConventionError, match="turn the moment's sign"):
        check_conventions(replace(walk, moments=turned))
    with pytest.raises(ConventionError, match="take 'ground_force_r' for the right"):
        check_conventions(replace(walk, right=walk.left, left=walk.right))


def test_a_table_that_ends_early_is_another_clock():
    t = Table("emg", {"time": np.arange(0, 1, 0.01), "x": np.arange(0, 1, 0.01)})
    np.testing.assert_allclose(at(t, np.array([0.105, 0.2]))["x"], [0.105, 0.2])
    with pytest.raises(ConventionError, match=r"emg, column 'time': 0 to 0.99 s do not reach"):
        at(t, np.array([0.5, 1.5]))
