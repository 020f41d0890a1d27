"""The map of one wearer: what it finds, what it leaves alone, what it refuses."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.phases import CalibrationError
from calibration.prior import Prior
from calibration.ridge import Moments, mean_square, moments, products, solve, weights
from calibration.subject import SubjectMap, fit, identity

NAMES = ("ankle_angle", "emg", "ankle_moment")
WEAK = Prior(NAMES, (0, 0.4, 45), (12, 0.3, 40), (0.1,) * 3, (0.1,) * 3, (1.0,) * 3)
GAIN, OFFSET = (1.3, 0.7, 1.5), (8.0, 0.1, -20.0)
ANGLE, EMG, MOMENT = range(3)


def fitted(routine, prior=WEAK):
    return fit(routine, prior, "W07", "calf@0123456789ab", "2026-04-12T09:30:00+00:00")


def strong(offset_s, gain_s):
    return replace(WEAK, offset_s=(offset_s,) * 3, gain_s=(gain_s,) * 3)


def test_finds_a_known_gain_and_offset(wearer):
    m = fitted(wearer(GAIN, OFFSET, noise=0.1).routine())
    np.testing.assert_allclose(m.gain, GAIN, rtol=0.03)
    assert (np.abs(np.array(m.offset) - OFFSET) < [0.5, 0.02, 1.5]).all()
    assert [q.fitted for q in m.quality] == ["gain and offset"] * 3
    for q in m.quality:
        assert q.correlation > 0.95
        assert q.rmse_after < 0.2 * q.rmse_before


def test_what_it_learned_in_the_routine_helps_in_the_session(wearer):
    somebody = wearer(GAIN, OFFSET)
    m = fitted(somebody.routine())
    truth, estimates, sd = somebody.session()
    better, its_sd = m.apply(estimates.astype(np.float32), sd.astype(np.float32))
    before = np.sqrt(np.mean((estimates - truth) ** 2, axis=0))
    after = np.sqrt(np.mean((better - truth) ** 2, axis=0))
    assert (after < 0.75 * before).all()
    assert (np.mean(np.abs(better - truth) < 2 * its_sd, axis=0) > 0.9).all()


def test_the_frame_rate_does_not_matter(wearer):
    slow, fast = (fitted(wearer(GAIN, OFFSET, noise=0.0).routine(fs)) for fs in (5.0, 50.0))
    np.testing.assert_allclose(slow.gain, fast.gain, rtol=0.02)


def test_infinite_strength_changes_nothing(wearer):
    m = fitted(wearer(GAIN, OFFSET).routine(), strong(math.inf, math.inf))
    assert (m.gain, m.offset) == ((1, 1, 1), (0, 0, 0))


def test_the_stronger_the_smaller_the_correction(wearer):
    r = wearer(GAIN, OFFSET).routine()
    gains = [fitted(r, strong(1.0, s)).gain[ANGLE] for s in (1, 10, 100, 1000, 1e5)]
    assert (np.diff(np.abs(np.array(gains) - 1)) < 0).all()
    assert gains[-1] == pytest.approx(1, abs=0.01)


@settings(max_examples=50, deadline=None)
@given(
    x=st.lists(st.floats(-3, 3), min_size=3, max_size=20),
    gain=st.floats(0.3, 3),
    offset=st.floats(-2, 2),
    noise=st.integers(0, 10),
    strengths=st.tuples(st.floats(0.01, 1e4), st.floats(0.01, 1e4)),
)
def test_the_fit_is_the_ridge_regression_of_scipy_and_never_worse_than_none(
    x, gain, offset, noise, strengths
):
    x = np.array(x)
    y = gain * x + offset + 0.1 * noise * np.random.default_rng(noise).normal(size=len(x))
    w = np.linspace(0.5, 2, len(x))
    m = products(x, y, w, centre=0.3, scale=1.5)
    found = solve(m, *strengths)
    # Ridge as rows of data: sqrt(strength) * b = 0.
    design = np.column_stack([np.ones(len(x)), (x - 0.3) / 1.5]) * np.sqrt(w)[:, None]
    rows = np.vstack([design, np.diag(np.sqrt(strengths))])
    wanted = np.concatenate([(y - x) / 1.5 * np.sqrt(w), [0, 0]])
    np.testing.assert_allclose(found, scipy.linalg.lstsq(rows, wanted)[0], atol=1e-8)
    assert mean_square(m, *found) <= mean_square(m, 0, 0) + 1e-12
    left = y - x - 1.5 * (found[0] + found[1] * (x - 0.3) / 1.5)
    assert mean_square(m, *found) == pytest.approx(np.average((left / 1.5) ** 2, weights=w))


def test_every_phase_weighs_the_same(wearer):
    r = wearer().routine()
    w = weights(r, np.isfinite(r.references[:, MOMENT]))
    rest, push = w[r.phase == 0].sum(), w[r.phase == 1].sum()
    assert rest == pytest.approx(push)
    assert rest + push == pytest.approx(30 + 2 * 0.6 * 4, abs=0.3)  # seconds
    assert w[r.phase == 2].sum() == 0  # nothing is known of the moment in passive motion


def test_without_a_dynamometer_only_the_offset_of_the_moment_is_fitted(wearer):
    r = wearer(GAIN, OFFSET).routine()
    known = r.references.copy()
    known[r.phase == 1, MOMENT] = np.nan
    m = fitted(replace(r, references=known))
    assert m.gain[MOMENT] == 1.0
    assert m.quality[MOMENT].fitted == "offset"
    at_rest = r.estimates[r.phase == 0, MOMENT].mean()
    assert at_rest + m.offset[MOMENT] == pytest.approx(0, abs=0.1)


def test_an_output_of_which_nothing_is_known_stays_as_it_is(wearer):
    m = fitted(wearer(GAIN, OFFSET).routine(encoder=False))
    assert (m.gain[ANGLE], m.offset[ANGLE]) == (1.0, 0.0)
    assert m.quality[ANGLE].fitted == "nothing"
    assert m.sd_gain[ANGLE] == 1.0
    assert m.gain[EMG] != 1.0


def test_a_model_that_sees_little_of_this_wearer_does_not_become_sure_of_itself(wearer):
    somebody = wearer()
    r = somebody.routine()
    # It follows a third of the angle and makes large errors, yet claims its usual SD of 3 deg.
    angle = r.references[:, ANGLE]
    errors = 15 * np.random.default_rng(1).normal(size=len(angle))
    estimates = r.estimates.copy()
    estimates[:, ANGLE] = angle + errors
    m = fitted(replace(r, estimates=estimates))
    assert m.gain[ANGLE] < 0.8
    left = np.std(m.gain[ANGLE] * estimates[:, ANGLE] + m.offset[ANGLE] - angle)
    assert m.sd_gain[ANGLE] * r.sd[0, ANGLE] > 0.8 * left > 5


def still(r):
    estimates = r.estimates.copy()
    estimates[:, ANGLE] = 2 + 0.01 * estimates[:, EMG]
    return replace(r, estimates=estimates)


def changed(r, k, f):
    estimates = r.estimates.copy()
    estimates[:, k] = f(estimates[:, k])
    return replace(r, estimates=estimates)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (still, "ankle_angle: the estimates stand still while the wearer moves"),
        (lambda r: changed(r, ANGLE, lambda x: -x), "against what is known.*not turned round"),
        (lambda r: changed(r, ANGLE, lambda x: 5 * x), r"ankle_angle would need a gain of 0.19"),
        (lambda r: changed(r, ANGLE, lambda x: x / 5), "ankle_angle would need a gain of 4"),
        (lambda r: changed(r, MOMENT, lambda x: x - 300), "ankle_moment would be shifted by"),
        (lambda r: replace(r, phase=np.zeros_like(r.phase)), "no mvc phase"),
    ],
)
def test_refuses_what_no_difference_between_people_explains(wearer, spoil, says):
    with pytest.raises(CalibrationError, match=says):
        fitted(spoil(wearer().routine()))


def test_refuses_a_prior_of_another_model_and_a_wearer_without_a_code(wearer):
    r = wearer().routine()
    two = Prior(("a", "b"), (0, 0), (1, 1), (1, 1), (1, 1), (1, 1))
    with pytest.raises(CalibrationError, match="3 values, its prior knows"):
        fitted(r, two)
    with pytest.raises(CalibrationError, match="give a code"):
        fit(r, WEAK, "", "m", "d")


def test_applying_changes_nothing_in_place():
    m = SubjectMap("W07", "m@1", "d", ("a", "b"), (2.0, 0.5), (1.0, -1.0), (2.5, 0.6), ())
    values, sd = np.array([[1, 2]], np.float32), np.array([[1, 1]], np.float32)
    found, its_sd = m.apply(values, sd)
    np.testing.assert_array_equal(found, [[3, 0]])
    np.testing.assert_allclose(its_sd, [[2.5, 0.6]])
    assert found.dtype == np.float32
    assert values.tolist() == [[1, 2]]
    assert m.apply(values, None)[1] is None


def test_the_identity_is_one():
    m = identity(NAMES, "W07", "m@1", "d")
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(m.apply(values, values)[0], values)


def test_the_file_gives_an_equal_map_back_and_any_change_of_it_is_found(wearer, tmp_path):
    m = fitted(wearer(GAIN, OFFSET).routine(encoder=False))
    m.save(tmp_path / "subject.json")
    assert SubjectMap.load(tmp_path / "subject.json") == m
    text = (tmp_path / "subject.json").read_text()
    assert len(text) < 3000
    (tmp_path / "subject.json").write_text(text.replace("W07", "W08"))
    with pytest.raises(CalibrationError, match="changed after it was written"):
        SubjectMap.load(tmp_path / "subject.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "map": 3}'])
def test_anything_else_is_no_map(tmp_path, text):
    (tmp_path / "subject.json").write_text(text)
    with pytest.raises(CalibrationError, match="not a map of a wearer"):
        SubjectMap.load(tmp_path / "subject.json")
    with pytest.raises(CalibrationError, match="cannot read"):
        SubjectMap.load(tmp_path / "none.json")


def test_nothing_known_gives_no_moments(wearer):
    r = wearer().routine(encoder=False)
    assert moments(r, ANGLE, 0.0, 1.0) is None
    assert isinstance(moments(r, EMG, 0.0, 1.0), Moments)
