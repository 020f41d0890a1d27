from dataclasses import asdict

import numpy as np
import pytest

from training.cohort.participant import COHORT, participant

PEOPLE = [participant(k) for k in range(COHORT)]


def each(read):
    return np.array([read(p) for p in PEOPLE])


def test_number_and_seed_decide_everything():
    again = [participant(k) for k in reversed(range(COHORT))]
    assert again[::-1] == PEOPLE
    assert participant(3, seed=1) != participant(3)
    assert len({p.mg for p in PEOPLE}) == COHORT


def test_there_is_nobody_before_0():
    with pytest.raises(ValueError, match="start at 0"):
        participant(-1)


@pytest.mark.parametrize(
    ("read", "mean", "sd"),
    [
        (lambda p: p.height_m, (1.65, 1.80), (0.05, 0.12)),
        (lambda p: p.mass_kg, (64, 80), (5, 14)),
        (lambda p: p.mg.l_opt_mm, (47, 53), (4, 8)),
        (lambda p: p.mg.thickness_mm, (16, 19), (1, 3)),
        (lambda p: p.mg.pennation_opt_deg, (18, 23), (1.5, 4)),
        (lambda p: p.sol.l_opt_mm, (38, 44), (2, 5)),
        (lambda p: p.sol.pennation_opt_deg, (22, 26), (1.5, 4)),
        (lambda p: 100 * p.mg.tendon_strain, (4.5, 5.5), (0.2, 0.8)),
        (lambda p: p.ankle.arm_mm, (47, 53), (1.5, 5)),
        (lambda p: p.tissue.fat_mm, (4, 7), (1, 3)),
    ],
    ids=["height", "mass", "mg", "thick", "pennation", "sol", "steep", "strain", "arm", "fat"],
)
def test_the_cohort_spreads_like_adults(read, mean, sd):
    v = each(read)
    assert mean[0] < v.mean() < mean[1]
    assert sd[0] < v.std() < sd[1]


def test_nobody_is_a_monster():
    for p in map(participant, range(300)):
        for m in p.muscles:
            assert 12 < m.pennation_opt_deg < 35 or m is p.lg
            assert 0.038 <= m.tendon_strain <= 0.062
        assert all(np.isfinite(v) for v in asdict(p.tissue).values())
        assert p.ankle.range_deg[0] < -20
        assert p.ankle.range_deg[1] > 16
        assert min(p.bulge) >= 0
        assert 3 <= p.tissue.fat_mm <= 10
        assert abs(p.tissue.probe_tilt_deg) <= 4


def test_tall_people_have_long_tendons_and_long_arms():
    height = each(lambda p: p.height_m)
    for read in (lambda p: p.mg.l_slack_mm, lambda p: p.ankle.arm_mm):
        assert np.corrcoef(height, each(read))[0, 1] > 0.5


def test_most_people_show_both_muscles_in_a_picture_50_mm_deep():
    deep_mm = each(
        lambda p: p.tissue.skin_mm + p.tissue.fat_mm + p.mg.thickness_mm + p.sol.thickness_mm
    )
    assert np.mean(deep_mm < 47) > 0.9


def test_soleus_joins_first_and_all_end_together():
    drive = np.linspace(0, 1, 11)
    for p in PEOPLE:
        mg, lg, sol = p.recruit(drive).T
        assert (sol >= mg).all()
        for muscle in (mg, lg, sol):
            assert (muscle[0], muscle[-1]) == (0, 1)
            assert (np.diff(muscle) > 0).all()
