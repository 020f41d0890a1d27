from dataclasses import replace

import numpy as np
import pytest
import torch

from training.datasets import DataMissing
from training.gait import (
    ACROSS_ANKLE,
    FEATURES,
    MUSCLES,
    RATE_HZ,
    ankle,
    ankle_trial,
    good_stretches,
    hidden,
)
from training.gait_conventions import check_conventions
from training.gait_recording import ConventionError, Gait, Table, read_gait
from training.gait_steps import stretches, wrong
from training.trial_views import SHORTEST_S, hide, time_split

MOMENT = "ankle_angle_r_moment"


@pytest.fixture(scope="module")
def gaits():
    try:
        return {name: part(read_gait(name), s) for name, s in (("walk36", 16), ("run81", 30))}
    except DataMissing as e:
        pytest.skip(str(e))


@pytest.fixture(scope="module")
def trials(gaits):
    return {name: good_stretches(g) for name, g in gaits.items()}


def part(g: Gait, seconds=8) -> Gait:
    n = round(seconds * RATE_HZ)
    tables = {
        k: Table(getattr(g, k).file, {c: x[:n] for c, x in getattr(g, k).columns.items()})
        for k in ("emg", "angles", "moments", "forces")
    }
    return replace(g, **tables)


def edited(g: Gait, which: str, **columns) -> Gait:
    """A copy whose ``which`` table has other columns, each a function of the old one."""
    t = getattr(g, which)
    changed = {c: f(t.columns[c]) for c, f in columns.items()}
    return replace(g, **{which: Table(t.file, {**t.columns, **changed})})


def test_shapes_names_and_rates(trials):
    for t in (t for ts in trials.values() for t in ts):
        n, m = len(t.angle_rad), len(MUSCLES)
        assert n >= SHORTEST_S * RATE_HZ
        assert t.rate_hz == RATE_HZ
        assert t.features.shape == t.features_per_kg.shape == (n, len(FEATURES))
        for x in (t.length_mm, t.arm_mm, t.path_mm_s, t.envelope, t.truth):
            assert x.shape == (n, m)
        assert t.speed_rad_s.shape == t.moment_nm.shape == t.moment_per_kg.shape == (n,)
        for x in (t.features, t.length_mm, t.arm_mm, t.path_mm_s, t.envelope):
            assert np.isfinite(x).all()
    assert len({t.name for ts in trials.values() for t in ts}) == sum(map(len, trials.values()))


def test_units_and_signs_are_what_a_leg_has(trials):
    for name, ts in trials.items():
        arm = np.concatenate([t.arm_mm for t in ts])
        assert ((arm[:, :3] < -30) & (arm[:, :3] > -60)).all()  # the calf extends the ankle
        assert ((arm[:, 3] > 20) & (arm[:, 3] < 60)).all()  # tibialis anterior flexes it
        assert (arm[:, len(ACROSS_ANKLE) :] == 0).all()
        moment = np.concatenate([t.moment_nm for t in ts])
        soleus = np.concatenate([t.envelope[:, 0] for t in ts])
        assert np.corrcoef(moment, soleus)[0, 1] < -0.4, name
        up_n = np.concatenate([t.features[:, FEATURES.index("ground_up_n")] for t in ts])
        assert np.corrcoef(moment, up_n)[0, 1] < -0.7, name
        angle = np.concatenate([t.angle_rad for t in ts])
        assert np.abs(angle).max() < np.deg2rad(35)


def test_paths_move_as_lengths_say(trials):
    t = trials["walk36"][0]
    numeric = np.gradient(t.length_mm, 1 / RATE_HZ, axis=0)
    error = np.abs(t.path_mm_s - numeric)[2:-2]
    assert np.quantile(error, 0.99) < 0.03 * np.ptp(t.path_mm_s)
    own = -t.arm_mm[:, 0] * t.speed_rad_s  # soleus, subtalar joint and tendon's stretch aside
    assert np.corrcoef(own, t.path_mm_s[:, 0])[0, 1] > 0.9


def test_only_believable_moments_are_left(gaits, trials):
    """The person weighs 57 kg: no step can need 430 N m, nor -60 the other way."""
    whole_nm = {n: g.moments[MOMENT] for n, g in gaits.items()}
    assert whole_nm["walk36"].max() > 55
    assert whole_nm["run81"].min() < -400
    for name, (low, high, least) in {"walk36": (-90, 20, 0.9), "run81": (-175, 20, 0.3)}.items():
        left_nm = np.concatenate([t.moment_nm for t in trials[name]])
        assert left_nm.min() > low
        assert left_nm.max() < high
        assert len(left_nm) > least * len(whole_nm[name])


def test_wrong_steps_are_found_without_emg(gaits):
    g = gaits["walk36"]
    deaf = replace(g, emg=Table("nothing", {}))
    bad = wrong(deaf, RATE_HZ)
    assert bad[round(6.2 * RATE_HZ) : round(6.4 * RATE_HZ)].all()
    assert bad.mean() < 0.1


def test_stretches_are_the_runs_of_good_samples():
    bad = np.array([1, 0, 0, 0, 1, 0, 1, *[0] * 9, 1], bool)
    assert stretches(bad, 2, 100) == [(1, 4), (7, 16)]
    assert stretches(bad, 2, 5) == [(1, 4), (7, 12), (12, 16)]
    assert stretches(np.ones(5, bool), 1, 9) == []
    rng = np.random.default_rng(3)
    for _ in range(50):
        bad = rng.random(200) < 0.1
        found = stretches(bad, 1, 20)
        kept = np.ones(200, bool)
        for a, b in found:
            assert 0 < b - a <= 20
            assert not bad[a:b].any()
            kept[a:b] = False
        np.testing.assert_array_equal(kept, bad)  # nothing good is lost, nothing twice


@pytest.mark.parametrize("muscle", ACROSS_ANKLE)
def test_a_hidden_muscle_is_nowhere_but_in_truth(trials, muscle):
    column = MUSCLES.index(muscle)
    for t in (ts[0] for ts in trials.values()):
        h = hidden(t, muscle)
        assert np.isnan(h.envelope[:, column]).all()
        np.testing.assert_array_equal(h.truth[:, column], t.envelope[:, column])
        assert np.isnan(np.delete(h.truth, column, 1)).all()
        np.testing.assert_array_equal(
            np.delete(h.envelope, column, 1), np.delete(t.envelope, column, 1)
        )
        seen = t.envelope[:, column]
        assert not any(np.allclose(f, seen) for f in (*h.features.T, h.moment_nm))
        assert not np.isnan(t.envelope).any()  # the original is as it was
        with pytest.raises(ValueError, match="nothing to hide"):
            hidden(h, muscle)
    with pytest.raises(ValueError, match="no muscle 'soleus'.*soleus_r"):
        hide(t, MUSCLES, "soleus")


def test_time_split_keeps_every_sample_once_and_in_order(trials):
    for ts in trials.values():
        first, rest = time_split(ts)
        assert min(len(t.angle_rad) for t in first + rest) >= SHORTEST_S * RATE_HZ
        together = np.concatenate([t.features for t in first + rest])
        np.testing.assert_array_equal(together, np.concatenate([t.features for t in ts]))
        share = sum(len(t.angle_rad) for t in first) / len(together)
        assert share == pytest.approx(0.6, abs=SHORTEST_S * RATE_HZ / len(together))


def test_the_joint_of_a_hidden_muscle():
    try:
        soleus, shin = ankle(), ankle("tib_ant_r")
    except DataMissing as e:
        pytest.skip(str(e))
    assert soleus.names == MUSCLES
    assert soleus.neighbours == {"soleus_r": ("med_gas_r", "lat_gas_r")}
    assert shin.neighbours == {}
    assert soleus.muscle.f_max_n[0] == pytest.approx(3549)


MISTAKES = {
    "turned moment": (
        lambda g: edited(g, "moments", **{MOMENT: lambda x: -x}),
        r"walk36/id.sto.*'ankle_angle_r_moment': 6\d.* N m.*soleus_r has -4\d mm.*turn the moment",
    ),
    "the other foot's moment": (
        lambda g: edited(
            g, "moments", **{MOMENT: lambda _: g.moments["ankle_angle_l_moment"]}
        ),
        "ankle_angle_r_moment.*other foot's moment",
    ),
    "moment in N mm": (
        lambda g: edited(g, "moments", **{MOMENT: lambda x: 1000 * x}),
        "another unit than N m",
    ),
    "the other foot's force": (
        lambda g: replace(g, right=g.left, left=g.right),
        "walk36/XLD.mot.*'l_ground_force_vy'.*take 'ground_force' for the right",
    ),
    "force of the foot on the ground": (
        lambda g: edited(
            g, "forces", **{f"ground_force_v{a}": lambda x: -x for a in "xyz"}
        ),
        "'ground_force_vy'.*upwards > 0",
    ),
    "fore and aft": (
        lambda g: edited(g, "forces", ground_force_vx=lambda x: -x),
        "'ground_force_vx'.*x forward",
    ),
    "a point in mm": (
        lambda g: edited(g, "forces", ground_force_px=lambda x: 1000 * x),
        "under the right foot in 0%.*in m",
    ),
    "degrees": (
        lambda g: edited(g, "angles", knee_angle_r=np.rad2deg),
        "walk36/ik.sto.*'knee_angle_r'.*degrees taken for radians",
    ),
    "radians": (
        lambda g: edited(g, "angles", knee_angle_r=np.deg2rad),
        "'knee_angle_r' moves by 0.02.*radians taken for degrees",
    ),
    "a late clock": (
        lambda g: edited(g, "emg", time=lambda x: x + 0.5),
        "walk36/emgFilt.sto.*'time'.*one clock",
    ),
    "another rate": (
        lambda g: replace(
            g, moments=Table("id", {c: x[::2] for c, x in g.moments.columns.items()})
        ),
        "id, column 'time': 400 samples.*has 800",
    ),
    "a missing column": (
        lambda g: replace(g, moments=Table("id", {"time": g.moments["time"]})),
        "id has no column 'ankle_angle_r_moment'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_convention_is_named(gaits, mistake):
    spoil, message = MISTAKES[mistake]
    g = part(gaits["walk36"])
    check_conventions(g)
    with pytest.raises(ConventionError, match=message):
        check_conventions(spoil(g))


def test_no_trial_is_made_of_a_wrong_convention(gaits):
    g = edited(part(gaits["walk36"]), "moments", **{MOMENT: lambda x: -x})
    with pytest.raises(ConventionError):
        ankle_trial(g, MUSCLES, {m: m for m in MUSCLES}, RATE_HZ)


def test_tendons_that_bear_the_moment_give_way_and_only_those():
    from models.muscle import Muscle
    from training.joint_geometry import Along, stretched

    muscle = Muscle(*(torch.tensor(x, dtype=torch.float64) for x in (
        (50.0, 60.0), (0.3, 0.1), (250.0, 200.0), (3500.0, 900.0), (0.049, 0.049))))  # fmt: skip
    n = 200
    arm = np.tile([-45.0, 40.0], (n, 1))
    a = Along(np.full((n, 2), 300.0), arm, np.zeros((n, 2)))
    full_nm = -3500.0 * 0.045  # all of the plantarflexor's strength
    out = stretched(a, muscle, np.full(n, full_nm), 100.0)
    np.testing.assert_allclose(out.length_mm[50:-50, 0], 300.0 - 0.049 * 250.0, atol=1e-6)
    np.testing.assert_allclose(out.length_mm[:, 1], 300.0)
    np.testing.assert_allclose(out.path_mm_s[50:-50], 0.0, atol=1e-6)
    rest = stretched(a, muscle, np.zeros(n), 100.0)
    np.testing.assert_allclose(rest.length_mm, a.length_mm)
