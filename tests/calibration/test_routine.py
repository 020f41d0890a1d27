"""What is known of a wearer in each phase, and which routines are no ground for a calibration."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.phases import PHASES, CalibrationError, Interval
from calibration.routine import NO_PHASE, check, references
from firmware_bridge.types import Output

ANGLE, EMG, MOMENT = range(3)
OUTPUTS = (
    Output("ankle_angle", "deg"),
    Output("emg", "share"),
    Output("ankle_moment", "N m"),
)


def known(t_s, *intervals, **readings):
    return references(np.array(t_s, float), intervals, OUTPUTS, **readings)


def test_at_rest_muscle_and_moment_are_nothing_and_the_angle_is_unknown():
    phase, r = known([1, 12], Interval(0, 10, "rest"))
    assert phase.tolist() == [PHASES.index("rest"), NO_PHASE]
    np.testing.assert_array_equal(r, [[np.nan, 0, 0], [np.nan] * 3])


def test_only_the_middle_of_a_push_counts():
    phase, r = known([0.1, 2, 5, 8, 9.9], Interval(0, 10, "mvc", moment_nm=130))
    assert (phase != NO_PHASE).tolist() == [False, True, True, True, False]
    np.testing.assert_array_equal(r[1:4, EMG], 1)
    np.testing.assert_array_equal(r[1:4, MOMENT], 130)


def test_without_a_dynamometer_the_moment_of_a_push_is_unknown():
    _, r = known([5], Interval(0, 10, "mvc"))
    np.testing.assert_array_equal(r, [[np.nan, 1, np.nan]])


def test_passive_motion_tells_the_angle_where_a_goniometer_was_read():
    _, r = known([1, 5], Interval(0, 2, "passive", angle_deg=-20), Interval(4, 6, "passive"))
    np.testing.assert_array_equal(r, [[-20, np.nan, np.nan], [np.nan] * 3])


def test_an_encoder_comes_before_the_table():
    encoder = np.array([-18.0, np.nan])
    _, r = known([1, 2], Interval(0, 3, "passive", angle_deg=-20), angle_deg=encoder)
    np.testing.assert_array_equal(r[:, ANGLE], [-18, -20])


def test_activity_is_said_in_the_units_of_the_model():
    _, r = known([1, 15], Interval(0, 10, "rest"), Interval(10, 20, "mvc"), activity=(0.1, 1.4))
    np.testing.assert_array_equal(r[:, EMG], [0.1, 1.4])


def test_an_output_of_another_unit_stays_unknown():
    _, r = references(np.array([1.0]), [Interval(0, 2, "rest")], [Output("heat", "K")])
    assert np.isnan(r).all()


def test_two_outputs_of_one_unit_cannot_be_told_apart():
    with pytest.raises(CalibrationError, match="two of them"):
        references(np.zeros(1), [], [Output("knee", "deg"), Output("ankle", "deg")])


def test_a_whole_routine_passes(wearer):
    check(wearer().routine())


def test_a_row_stands_for_the_time_until_the_next_but_not_for_a_hole(wearer):
    r = replace(wearer().routine(), t_s=np.array([0.0, 0.1, 0.2, 9.0, 9.1]))
    np.testing.assert_allclose(r.seconds, [0.1, 0.1, 0.3, 0.1, 0.1])


def without(r, phase):
    return replace(r, phase=np.where(r.phase == PHASES.index(phase), NO_PHASE, r.phase))


def flagged(r, phase, share):
    rows = np.flatnonzero(r.phase == PHASES.index(phase))
    flags = r.flagged.copy()
    flags[rows[: int(share * len(rows))]] = True
    return replace(r, flagged=flags)


def short(r, phase, n):
    rows = np.flatnonzero(r.phase == PHASES.index(phase))[n:]
    kept = r.phase.copy()
    kept[rows] = NO_PHASE
    return replace(r, phase=kept)


def holed(r, field):
    array = getattr(r, field).copy()
    array[10, 1] = np.nan
    return replace(r, **{field: array})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda r: without(r, "rest"), "no rest phase: record all of it again"),
        (lambda r: without(r, "mvc"), "no mvc phase"),
        (lambda r: without(r, "passive"), "no passive phase"),
        (lambda r: short(r, "passive", 90), "passive phase has 9.0 s .* at least 10 s"),
        (lambda r: short(r, "mvc", 4), "mvc phase has 0.4 s"),
        (lambda r: flagged(r, "rest", 0.5), "50% of the rest phase is flagged.*check the probe"),
        (lambda r: holed(r, "estimates"), "estimates are no numbers"),
        (lambda r: holed(r, "sd"), "SDs are no numbers"),
        (lambda r: replace(r, references=np.full_like(r.references, np.nan)), "nothing is known"),
        (lambda r: replace(r, references=np.full_like(r.references, np.inf)), "infinite"),
        (lambda r: replace(r, t_s=r.t_s[::-1]), "do not rise"),
        (lambda r: replace(r, phase=r.phase[:-1]), "do not have the same rows"),
        (lambda r: replace(r, sd=r.sd[:, :2]), "do not have the same rows"),
    ],
)
def test_a_spoilt_routine_is_refused_with_the_remedy(wearer, spoil, says):
    with pytest.raises(CalibrationError, match=says):
        check(spoil(wearer().routine()))


def test_what_is_flagged_may_be_anything(wearer):
    r = wearer().routine()
    estimates, flags = r.estimates.copy(), r.flagged.copy()
    estimates[10], flags[10] = np.nan, True
    check(replace(r, estimates=estimates, flagged=flags))
