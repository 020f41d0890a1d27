"""What a calibration is worth, on people whose network is wrong by a known amount."""

import numpy as np
import pytest

from calibration.phases import MVC, PASSIVE, PHASES, REST, CalibrationError
from calibration.routine import check
from training.cohort.participant import participant
from training.cohort.person import Cohort
from training.cohort.protocol import routine
from training.personal import (
    STATE,
    VARIANTS,
    Held,
    Seen,
    clinic,
    compare,
    held_people,
    means,
    measured,
    shipped_prior,
    simulated_phases,
)

SD = np.array([3.0, 0.1, 8.0])


def seen(rng, t_s, truth, gain, offset):
    """Estimates and features of pictures of ``truth (n, 3)``."""
    values = (truth - offset) / gain + SD * rng.normal(size=truth.shape)
    features = np.column_stack([values / SD, rng.normal(size=(len(truth), 3))])
    return Seen(t_s, values, np.broadcast_to(SD, truth.shape).copy(), truth, features)


def held(number, spread=1.0):
    """A participant of the simulated protocol; errors of gain and offset grow with ``spread``."""
    rng = np.random.default_rng(number)
    gain = np.exp(0.2 * spread * rng.normal(size=3))
    offset = spread * np.array([6, 0.1, 12]) * rng.normal(size=3)
    drive = routine(participant(number), 2.0)
    push = drive.excitation
    truth = np.stack([drive.angle_deg, 0.05 + 1.3 * push, 110 * push], axis=1)
    session = rng.normal([0, 0.4, 45], [10, 0.3, 35], (150, 3))
    return Held(
        number,
        seen(rng, drive.t_s, truth, gain, offset),
        np.zeros(len(truth), bool),
        seen(rng, np.arange(150.0), session, gain, offset),
    )


@pytest.fixture(scope="module")
def people():
    return [held(n) for n in range(8)]


def test_the_stopwatch_fits_the_protocol():
    drive = routine(participant(0), 20.0)
    r = measured(
        Held(0, seen(np.random.default_rng(0), drive.t_s, np.zeros((len(drive.t_s), 3)), 1, 0),
             np.zeros(len(drive.t_s), bool), None), STATE,
    )  # fmt: skip
    rest, push, passive = (r.phase == PHASES.index(p) for p in (REST, MVC, PASSIVE))
    assert not drive.excitation[rest | passive].any()
    assert drive.excitation[push].min() > 0.85
    assert push.sum() == pytest.approx(3 * 3 * 20, abs=6)
    assert np.ptp(drive.angle_deg[passive]) > 20
    assert len(simulated_phases()) == 5


def test_a_clinic_knows_the_angle_rest_and_mvc_and_no_more(people):
    r = clinic(people[0], STATE, (0.05, 1.35))
    check(r)
    rest, push, passive = (r.phase == PHASES.index(p) for p in (REST, MVC, PASSIVE))
    assert np.isfinite(r.references[:, 0]).all()
    assert (r.references[rest, 1:] == [0.05, 0.0]).all()
    assert (r.references[push, 1] == 1.35).all()
    assert np.isfinite(r.references[push, 2]).all()
    assert np.isnan(r.references[passive, 1:]).all()


def test_people_who_differ_gain_by_every_variant(people):
    rows = compare(people)
    assert len(rows) == len(people) * len(VARIANTS) * len(STATE)
    assert not any(r.refused for r in rows)
    found = means(rows)
    for output in STATE:
        before = found[output.name, "none"][0].a
        for variant in VARIANTS[1:]:
            assert found[output.name, variant][0].a > before
    measured_ece = [r.ece for r in rows if r.variant == "affine measured"]
    assert np.mean(measured_ece) < np.mean([r.ece for r in rows if r.variant == "none"])


def test_people_who_do_not_differ_lose_nothing():
    rows = compare([held(n, spread=0.0) for n in range(6)])
    found = means(rows)
    for output in STATE:
        for variant in VARIANTS[1:]:
            assert found[output.name, variant][0].a > found[output.name, "none"][0].a - 1


def test_a_refused_routine_changes_nothing_and_says_why(people):
    p = people[0]
    spoilt = Held(p.person, p.routine, np.ones(len(p.flagged), bool), p.session)
    rows = [r for r in compare([spoilt, *people[1:]]) if r.person == p.person]
    before = [r.rmse for r in rows if r.variant == "none"]
    for variant in VARIANTS[1:]:
        mine = [r for r in rows if r.variant == variant]
        assert [r.rmse for r in mine] == before
        assert all("flagged" in r.refused for r in mine)


def test_the_prior_that_ships_knows_everybody(people):
    prior = shipped_prior(people)
    assert prior.people == len(people)
    assert prior.outputs == ("ankle_angle", "emg", "ankle_moment")
    assert prior.activity == pytest.approx((0.05, 1.3), abs=0.1)
    with pytest.raises(CalibrationError, match="at least 3"):
        shipped_prior(people[:2])


def cohort_of(truth, person, t_s):
    n = len(t_s)
    return Cohort(
        np.zeros((n, 4, 4), np.uint8), truth.astype(np.float32), np.zeros((n, 6), np.float32),
        np.zeros((n, 2), np.float32), person, t_s.astype(np.float32), np.full(n, -1),
    )  # fmt: skip


def test_reads_what_a_cross_validation_left(people, tmp_path):
    session, calibration = (
        cohort_of(
            np.concatenate([getattr(p, part).truth for p in people[:4]]),
            np.repeat([p.person for p in people[:4]], len(getattr(people[0], part).t_s)),
            np.concatenate([getattr(p, part).t_s for p in people[:4]]),
        )
        for part in ("session", "routine")
    )
    for fold, pair in enumerate((people[:2], people[2:4])):
        arrays = {}
        for prefix, part, cohort in (
            ("", "session", session),
            ("routine_", "routine", calibration),
        ):
            rows = np.flatnonzero(np.isin(cohort.person, [p.person for p in pair]))
            arrays |= {f"{prefix}rows": rows, f"{prefix}person": cohort.person[rows],
                       f"{prefix}gate": np.zeros(len(rows))}  # fmt: skip
            for name in ("values", "sd", "truth", "features"):
                both = np.concatenate([getattr(getattr(p, part), name) for p in pair])
                arrays[prefix + name] = both.astype(np.float32)
        np.savez(tmp_path / f"fold_{fold:02d}.npz", **arrays)
    found = held_people(tmp_path, [0, 1], session, calibration)
    assert [h.person for h in found] == [0, 1, 2, 3]
    for h, p in zip(found, people, strict=False):
        np.testing.assert_allclose(h.session.values, p.session.values, rtol=1e-6)
        np.testing.assert_allclose(h.routine.t_s, p.routine.t_s)
        assert not h.flagged.any()
    other = cohort_of(session.targets, session.person[::-1], session.t_s)
    with pytest.raises(ValueError, match="not the one that was cross-validated"):
        held_people(tmp_path, [0, 1], other, calibration)
