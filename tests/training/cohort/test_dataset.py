import dataclasses

import numpy as np
import pytest

from training.cohort.dataset import cache_file, cohort, routine_cohort
from training.cohort.mechanics import solve
from training.cohort.participant import participant
from training.cohort.person import ANATOMY, STATE, Cohort, Order, full_emg_uv, signals
from training.cohort.protocol import PHASES

SHORT = {"frames": 5, "seconds": 12.0, "workers": 1}


def same(a, b):
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(Cohort)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cohort")


@pytest.fixture(scope="module")
def two(folder):
    return cohort([4, 2], cache=folder, **SHORT)


def test_rows_are_people_in_the_order_asked_for_each_in_order_of_time(two):
    assert two.images.shape == (10, 128, 128)
    assert two.images.dtype == np.uint8
    assert two.targets.shape == (10, len(STATE))
    assert two.anatomy.shape == (10, len(ANATOMY))
    assert two.person.tolist() == [4] * 5 + [2] * 5
    for rows in (slice(0, 5), slice(5, 10)):
        # One moment of each fifth of the session.
        assert np.array_equal(np.floor(two.t_s[rows] / 12.0 * 5), range(5))
    assert np.all(two.phase == -1)


def test_pictures_numbers_and_signals_are_of_the_same_moment(two):
    for number in (4, 2):
        one = two.take(two.person == number)
        p = participant(number)
        s = signals(p, 12.0)
        state = solve(
            p,
            np.interp(one.t_s, s.t_s, s.angle_deg),
            np.interp(one.t_s, s.t_s, s.activation),
        )
        angle, emg, moment = one.targets.T
        # Times are kept as float32: a microsecond.
        np.testing.assert_allclose(angle, state.angle_deg, atol=1e-3)
        np.testing.assert_allclose(moment, state.moment_nm, atol=1e-2)
        thick, deg, long = one.anatomy.reshape(-1, 2, 3).transpose(2, 0, 1)
        np.testing.assert_allclose(long, state.fascicle_mm, atol=1e-2)
        np.testing.assert_allclose(thick, long * np.sin(np.deg2rad(deg)), rtol=1e-4)
        np.testing.assert_allclose(
            emg, np.mean(one.emg_uv / full_emg_uv(s), axis=1), rtol=1e-3, atol=1e-4
        )


def test_a_kept_person_is_the_one_who_was_generated(two, folder):
    assert len(list(folder.glob("session-*.npz"))) == 2
    assert same(cohort([4, 2], cache=folder, **SHORT), two)


def test_nobodys_frames_depend_on_who_else_is_asked_for(two):
    assert same(cohort([2], **SHORT), two.take(two.person == 2))


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(two):
    assert same(cohort([4, 2], **{**SHORT, "workers": 2}), two)


def test_another_order_is_another_file(tmp_path):
    first = Order(3, 1, 10, 160.0, routine=False)
    others = [
        dataclasses.replace(first, **change)
        for change in (
            {"number": 4}, {"seed": 2}, {"frames": 11}, {"seconds": 20.0}, {"routine": True},
        )
    ]  # fmt: skip
    assert len({cache_file(o, tmp_path) for o in [first, *others]}) == 6


def test_a_broken_file_is_named_not_used(tmp_path):
    path = cache_file(Order(3, 1, 2, 12.0, routine=False), tmp_path)
    path.write_bytes(b"PK\3\4 torn")
    with pytest.raises(ValueError, match=f"{path.name}.* delete it"):
        cohort([3], frames=2, seed=1, cache=tmp_path, seconds=12.0, workers=1)


def test_the_routine_has_its_phases_and_the_sessions_electrodes(two):
    routine = routine_cohort([2], **{**SHORT, "frames": 40})
    assert set(routine.phase) == set(range(len(PHASES)))
    s = signals(participant(2), 12.0)
    np.testing.assert_allclose(
        routine.targets[:, 1], np.mean(routine.emg_uv / full_emg_uv(s), axis=1), rtol=1e-3
    )
    # Noise of the session does not come back.
    assert not np.array_equal(routine.images[0], two.images[5])


@pytest.mark.parametrize("number", [0, 31])
def test_angle_and_emg_are_independent(number):
    s = signals(participant(number))
    emg = np.mean(s.emg_uv / full_emg_uv(s), axis=1)
    for active in (emg, s.activation):
        assert abs(np.corrcoef(s.angle_deg, active)[0, 1]) < 0.2


def test_everybody_once_and_somebody():
    for people in ([], [3, 3]):
        with pytest.raises(ValueError, match="nobody twice"):
            cohort(people, **SHORT)
    with pytest.raises(ValueError, match="at least"):
        cohort([3], **{**SHORT, "frames": 0})
