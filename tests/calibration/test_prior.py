"""How far two minutes are believed: as far as other people's data say."""

import math
from dataclasses import replace

import numpy as np
import pytest

from calibration.phases import CalibrationError
from calibration.prior import Prior, Taught, default_prior, learn
from calibration.subject import fit
from firmware_bridge.types import Output

NAMES = ("ankle_angle", "emg", "ankle_moment")


def people(wearer, n, spread, seed=0, noise=1.0):
    """People whose gains and offsets differ by ``spread``."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(n):
        gain = np.exp(spread * 0.2 * rng.normal(size=3))
        offset = spread * np.array([8, 0.1, 15]) * rng.normal(size=3)
        somebody = wearer(gain, offset, seed=100 * seed + k, noise=noise)
        truth, estimates, sd = somebody.session(200)
        found.append(Taught(somebody.routine(fs_hz=2.0), estimates, sd, truth))
    return found


def errors(prior, somebody):
    """Root-mean-square error before and after, in units of the prior's scale."""
    m = fit(somebody.routine, prior, "W", "m@1", "d")
    after = np.array(m.gain) * somebody.estimates + np.array(m.offset)
    return [
        np.sqrt(np.mean(((e - somebody.targets) / prior.scale) ** 2))
        for e in (somebody.estimates, after)
    ]


def test_where_people_differ_somebody_new_is_served_better(wearer):
    prior = learn(NAMES, people(wearer, 8, spread=1.0))
    assert prior.people == 8
    assert max(prior.offset_s) < math.inf
    before, after = np.transpose([errors(prior, p) for p in people(wearer, 8, 1.0, seed=1)])
    assert np.mean(after) < 0.6 * np.mean(before)


def test_where_people_do_not_differ_nothing_is_made_worse(wearer):
    prior = learn(NAMES, people(wearer, 8, spread=0.0))
    before, after = np.transpose([errors(prior, p) for p in people(wearer, 8, 0.0, seed=1)])
    assert np.mean(after) < 1.01 * np.mean(before)


def test_a_routine_that_says_nothing_of_the_session_is_not_believed(wearer):
    good = people(wearer, 8, spread=1.0)
    # Everybody's routine was recorded from somebody else.
    mixed = [replace(p, routine=q.routine) for p, q in zip(good, good[1:] + good[:1], strict=True)]
    prior = learn(NAMES, mixed)
    before, after = np.transpose([errors(prior, p) for p in mixed])
    assert np.mean(after) < 1.1 * np.mean(before)
    assert min(prior.offset_s) >= 30


def test_doubt_makes_the_sd_fit_the_sessions(wearer):
    sure = [replace(p, sd=p.sd / 2) for p in people(wearer, 8, spread=0.0)]
    sure = [replace(p, routine=replace(p.routine, sd=p.routine.sd / 2)) for p in sure]
    m = fit(sure[0].routine, learn(NAMES, sure), "W", "m@1", "d")
    np.testing.assert_allclose(m.sd_gain, 2.0, rtol=0.2)


def test_a_network_without_sd_teaches_no_doubt(wearer):
    plain = [replace(p, sd=None) for p in people(wearer, 3, spread=1.0)]
    assert learn(NAMES, plain).doubt == (1.0, 1.0, 1.0)


def test_two_people_teach_no_spread(wearer):
    with pytest.raises(CalibrationError, match="at least 3"):
        learn(NAMES, people(wearer, 2, spread=1.0))


def test_json_gives_an_equal_prior_back():
    prior = Prior(("a", "b"), (0, 1), (2, 3), (math.inf, 4), (5, math.inf), (1, 1), (0.1, 1.3), 31)
    assert Prior.from_json(prior.to_json()) == prior


@pytest.mark.parametrize(
    "text",
    [
        "", "3", "{}", '{"outputs": ["a"]}',
        Prior(("a",), (0,), (1,), (1,), (1,), (1,)).to_json().replace("1\n", "-1\n"),
        Prior(("a",), (0,), (1,), (1,), (1,), (1,)).to_json().replace('"a"', '"a", "b"'),
    ],
)  # fmt: skip
def test_anything_else_is_no_prior(text):
    with pytest.raises(CalibrationError, match="export the model again|prior"):
        Prior.from_json(text)


def test_the_default_comes_from_the_plausible_ranges():
    prior = default_prior([Output("angle", "deg", -50, 50)])
    assert (prior.centre, prior.scale) == ((0,), (25,))
    with pytest.raises(CalibrationError, match="range of moment is open"):
        default_prior([Output("moment", "N m", 0)])
