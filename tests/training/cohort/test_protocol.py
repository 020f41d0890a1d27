import numpy as np
import pytest

from training.cohort.mechanics import activation
from training.cohort.participant import COHORT, participant
from training.cohort.protocol import MAX_PUSH, PHASES, routine, session

SECONDS, RATE_HZ = 160.0, 10.0


@pytest.mark.parametrize("number", range(COHORT))
def test_angle_and_activation_of_a_session_are_independent(number):
    """The heart of the design: neither can be guessed from the other."""
    drive = session(participant(number), SECONDS, RATE_HZ)
    a = activation(drive.excitation, RATE_HZ)
    assert abs(np.corrcoef(drive.angle_deg, a)[0, 1]) < 0.2
    low, high = participant(number).ankle.range_deg
    assert drive.angle_deg.min() == pytest.approx(low, abs=0.5)
    assert drive.angle_deg.max() == pytest.approx(high, abs=0.5)


def test_a_session_has_rests_weak_and_strong_pushes():
    drive = session(participant(0), SECONDS, RATE_HZ)
    assert drive.t_s[0] == 0
    assert len(drive.t_s) == SECONDS * RATE_HZ
    assert drive.excitation.min() == 0
    assert 0.6 < drive.excitation.max() <= MAX_PUSH
    assert 0.2 < np.mean(drive.excitation < 0.02) < 0.6
    assert (drive.phase == -1).all()


def test_movement_is_slow_enough_for_equilibrium():
    for number in range(4):
        drive = session(participant(number), SECONDS, 50.0)
        assert np.abs(np.gradient(drive.angle_deg, drive.t_s)).max() < 25  # deg/s
        assert np.abs(np.gradient(drive.excitation, drive.t_s)).max() < 3  # per s


def test_the_sampling_rate_does_not_change_the_session():
    coarse, fine = (session(participant(5), SECONDS, hz) for hz in (25.0, 100.0))
    np.testing.assert_allclose(coarse.angle_deg, fine.angle_deg[::4], atol=1e-9)
    np.testing.assert_allclose(coarse.excitation, fine.excitation[::4], atol=1e-9)


def test_sessions_repeat_for_one_person_and_differ_between_two():
    a, b, other = (session(participant(k), 60.0, RATE_HZ) for k in (1, 1, 2))
    assert np.array_equal(a.angle_deg, b.angle_deg)
    assert np.array_equal(a.excitation, b.excitation)
    assert not np.allclose(a.excitation, other.excitation)


def test_a_session_without_length_is_refused():
    with pytest.raises(ValueError, match="2 samples or more"):
        session(participant(0), 0.0, RATE_HZ)


def test_the_routine_rests_pushes_three_times_and_is_moved():
    p = participant(7)
    drive = routine(p, 50.0)
    assert len(drive.t_s) == 120 * 50
    rest, mvc, motion = (drive.phase == PHASES.index(name) for name in PHASES)
    assert [int(v.sum()) / 50 for v in (rest, mvc, motion)] == [30, 30, 60]
    assert (drive.excitation[rest | motion] == 0).all()
    assert (drive.angle_deg[rest | mvc] == 0).all()
    begins = np.diff((drive.excitation > 0.5).astype(int)) == 1
    assert begins.sum() == 3
    assert 0.9 <= drive.excitation.max() <= 1
    assert drive.angle_deg.min() == pytest.approx(p.ankle.range_deg[0], abs=0.01)
    assert drive.angle_deg.max() == pytest.approx(p.ankle.range_deg[1], abs=0.01)
