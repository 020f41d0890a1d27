import numpy as np
import pytest

from training.cohort.mechanics import ANGLES_DEG, activation, solve
from training.cohort.participant import COHORT, participant
from training.cohort.protocol import session

PEOPLE = [participant(k) for k in range(COHORT)]


def line(low, high, n=23):
    return np.linspace(low, high, n)


@pytest.mark.parametrize("p", PEOPLE[:6], ids=lambda p: str(p.number))
def test_pushing_shortens_fascicles_and_steepens_them(p):
    s = solve(p, np.full(23, -5.0), line(0, 1))
    assert (np.diff(s.fascicle_mm, axis=0) < 0).all()
    assert (np.diff(s.pennation_deg, axis=0) > 0).all()
    assert (np.diff(s.moment_nm) > 0).all()


@pytest.mark.parametrize("p", PEOPLE[:6], ids=lambda p: str(p.number))
@pytest.mark.parametrize("a", [0.0, 0.5])
def test_dorsiflexion_lengthens_fascicles_and_flattens_them(p, a):
    s = solve(p, line(20, -24), np.full(23, a))
    assert (np.diff(s.fascicle_mm, axis=0) > 0).all()
    assert (np.diff(s.pennation_deg, axis=0) < 0).all()


def test_a_relaxed_calf_resists_dorsiflexion_and_hardly_plantarflexion():
    for p in PEOPLE:
        deep, neutral, pointed = solve(p, np.array([-24.0, 0, 20]), np.zeros(3)).moment_nm
        assert 5 < deep < 50
        assert 0 < neutral < 8
        assert abs(pointed) < 2


def test_maximal_pushes_are_those_of_adults():
    best = np.array([solve(p, line(-20, 20, 9), np.ones(9)).moment_nm.max() for p in PEOPLE])
    assert 120 < best.mean() < 180
    assert best.min() > 80
    assert best.max() < 240


def test_fascicles_at_rest_and_at_a_maximal_push_are_as_imaged_in_vivo():
    rest, push = (
        np.array([solve(p, np.zeros(1), np.full(1, a)).fascicle_mm[0] for p in PEOPLE])
        for a in (0.0, 1.0)
    )
    assert 46 < rest[:, 0].mean() < 54
    assert 36 < rest[:, 1].mean() < 44
    assert 0.6 < (push / rest).mean() < 0.85


def test_what_is_seen_is_a_parallelogram_that_bulges_with_force():
    p = PEOPLE[0]
    s = solve(p, np.full(23, -10.0), line(0, 1))
    sine = np.sin(np.deg2rad(s.pennation_deg))
    np.testing.assert_allclose(s.fascicle_mm * sine, s.thickness_mm, rtol=1e-12)
    growth = s.thickness_mm / [p.mg.thickness_mm, p.sol.thickness_mm] - 1
    share = s.force_n / [p.mg.f_max_n, p.sol.f_max_n]
    np.testing.assert_allclose(growth, share * p.bulge, rtol=1e-9)
    assert growth.max() < 0.12


def test_everybody_balances_everywhere_in_a_session_and_at_the_limits():
    for p in map(participant, range(0, 200, 20)):
        drive = session(p, 30.0, 5.0)
        s = solve(p, drive.angle_deg, activation(drive.excitation, 5.0))
        edge = solve(p, np.repeat(ANGLES_DEG, 2), np.array([0.0, 1, 0, 1]))
        for state in (s, edge):
            assert all(np.isfinite(v).all() for v in state)
            assert state.force_n.min() > 0


def test_the_same_question_has_the_same_answer_alone_or_in_company():
    q, a = line(-20, 15), line(0, 0.9)
    together = solve(PEOPLE[4], q, a)
    for got, expected in zip(solve(PEOPLE[4], q[5:6], a[5:6]), together, strict=True):
        np.testing.assert_allclose(got[0], expected[5], rtol=1e-12)
    for got, expected in zip(solve(PEOPLE[4], q, a), together, strict=True):
        assert np.array_equal(got, expected)


@pytest.mark.parametrize(
    ("angle_deg", "a", "what"),
    [
        ([0.0], [1.2], "share"),
        ([0.0], [np.nan], "share"),
        ([60.0], [0.5], "ankle angles"),
        ([0.0, 1.0], [0.5], "shape|give"),
    ],
)
def test_impossible_questions_are_refused(angle_deg, a, what):
    with pytest.raises(ValueError, match=what):
        solve(PEOPLE[0], np.array(angle_deg), np.array(a))


def test_activation_lags_excitation_and_starts_at_rest():
    excitation = np.repeat([0.0, 0.8, 0.0], 50)
    a = activation(excitation, 100.0)
    assert a.shape == excitation.shape
    assert a[50] < 0.02
    assert a[99] == pytest.approx(0.8, abs=0.01)
    assert a[105] > 0.2
    assert a[-1] < 0.05
