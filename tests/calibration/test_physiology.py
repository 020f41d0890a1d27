"""A person made by our own equations is found again; what cannot be known is said."""

import numpy as np
import pytest
import torch

from calibration.hill_problem import Effort
from calibration.physiology import identify
from models import elbow
from models.hill_joint import Geometry, activation, excitation, forces_n, moment_nm
from models.physiology import BOUNDS, Physiology, Values

F64 = torch.float64
RATE_HZ = 100.0
NAMES = elbow.MUSCLES
BRA = NAMES.index("BRA")
TRUE = {
    "f_max": torch.tensor([0.8, 0.85, 0.8, 1.3, 1.2, 1.25]), "delay_s": 0.062,
    "damping_nm_s": 0.22, "v_max": 8.0, "gain": torch.tensor([1.1, 0.9, 1.0, 0.95, 1.1, 1.0]),
}  # fmt: skip


@pytest.fixture(scope="module")
def muscle():
    return elbow.muscles(torch.zeros((), dtype=F64))


@pytest.fixture(scope="module")
def efforts(muscle):
    """Two trials of 4 s in which every muscle works, alone and together."""
    return work(muscle)


def work(muscle, brachialis_follows=()):
    person = Physiology(6).double()
    person.set(**TRUE)
    values = Values(*(v.detach() for v in person()))
    rng = np.random.default_rng(3)
    made = []
    for _ in range(2):
        t = np.arange(400) / RATE_HZ
        angle = 1.0 + 0.6 * np.sin(2 * np.pi * 0.6 * t + rng.uniform(0, 6))
        speed = np.gradient(angle) * RATE_HZ
        phase = rng.uniform(0, 6, 6)
        beat = rng.uniform(0.4, 1.4, 6)
        envelope = 0.25 + 0.22 * np.sin(2 * np.pi * beat * t[:, None] + phase)
        if brachialis_follows:
            envelope[:, BRA] = envelope[:, [NAMES.index(n) for n in brachialis_follows]].mean(1)
        length, arm = elbow.paths(torch.from_numpy(angle))
        g = Geometry(length, arm, -arm * torch.from_numpy(speed)[:, None])
        a = activation(excitation(torch.from_numpy(envelope), values, RATE_HZ), values, RATE_HZ)
        net = moment_nm(forces_n(muscle, values, a, g), g).numpy() - 0.22 * speed
        made.append(Effort(envelope, g, speed, net))
    return made


def without_electrode(effort):
    envelope = effort.envelope.copy()
    envelope[:, BRA] = np.nan
    return Effort(envelope, effort.geometry, effort.speed_rad_s, effort.moment_nm)


@pytest.fixture(scope="module")
def found(efforts, muscle):
    return identify(efforts, muscle, NAMES, RATE_HZ)


def test_the_moment_is_explained_and_the_clear_parameters_are_found(found):
    assert found.rmse_nm < 0.35
    assert float(found.values.delay_s) == pytest.approx(0.062, abs=0.006)
    assert float(found.values.damping_nm_s) == pytest.approx(0.22, abs=0.06)
    assert float(found.values.v_max) == pytest.approx(8.0, abs=1.2)
    flexors = found.values.f_max[list(elbow.FLEXORS)].mean()
    extensors = found.values.f_max[list(elbow.EXTENSORS)].mean()
    assert float(flexors / extensors) == pytest.approx(1.53, rel=0.12)


def test_every_parameter_says_how_well_it_is_known(found):
    table = found.table()
    assert len(table) == 4 * 6 + 5
    for row in table:
        assert 0 < row["sd"] <= 1.01 * BOUNDS[row["parameter"]].sd, row
        assert row["low"] <= row["value"] <= row["high"]
    known = {(r["parameter"], r["muscle"]) for r in table if r["identified"]}
    assert {("delay_s", ""), ("v_max", "")} <= known


def test_without_motion_speed_and_damping_cannot_be_told_and_are_not_claimed(muscle):
    rng = np.random.default_rng(4)
    length, arm = elbow.paths(torch.full((300,), 1.2, dtype=F64))
    g = Geometry(length, arm, torch.zeros_like(arm))
    envelope = 0.3 + 0.1 * rng.standard_normal((300, 6)).cumsum(0).clip(-2, 2) / 2
    still = Effort(envelope.clip(0.02, 0.9), g, np.zeros(300), np.full(300, 8.0))
    rows = {r["parameter"]: r for r in identify([still], muscle, NAMES, RATE_HZ).table()}
    for name in ("v_max", "damping_nm_s"):
        assert not rows[name]["identified"]
        assert rows[name]["sd"] == pytest.approx(BOUNDS[name].sd, rel=0.05)


def test_a_muscle_that_does_not_cross_the_joint_is_never_identified(efforts, muscle):
    def loose(e):
        arm = e.geometry.arm_mm.clone()
        arm[:, 0] = 0.0
        return Effort(e.envelope, e.geometry._replace(arm_mm=arm), e.speed_rad_s, e.moment_nm)

    table = identify([loose(e) for e in efforts], muscle, NAMES, RATE_HZ).table()
    of_it = [r for r in table if r["muscle"] == NAMES[0]]
    assert len(of_it) == 4
    assert not any(r["identified"] for r in of_it)


def test_an_unmeasured_muscle_is_mixed_from_the_courses_given(efforts, muscle):
    hidden = []
    for e in efforts:
        envelope, course = e.envelope.copy(), e.envelope[:, [5]]
        envelope[:, 5] = np.nan
        hidden.append(Effort(envelope, e.geometry, e.speed_rad_s, e.moment_nm, course))
    found = identify(hidden, muscle, NAMES, RATE_HZ)
    assert found.weights.shape == (1, 1)
    assert found.weights[0, 0] == pytest.approx(0.8, abs=0.25)  # 1, less what the prior takes
    assert found.rmse_nm < 0.8


def test_an_unmeasured_muscle_does_as_the_mean_of_its_neighbours(muscle):
    """The same person as with an electrode that shows that mean; other neighbours, another one."""
    biceps = ("BIClong", "BICshort")
    shown = work(muscle, biceps)
    hidden = [without_electrode(e) for e in shown]
    # A gain would be the electrode's alone.
    measured = identify(shown, muscle, NAMES, RATE_HZ, ("gain",))
    like = identify(hidden, muscle, NAMES, RATE_HZ, ("gain",), like={"BRA": biceps})
    unlike = identify(hidden, muscle, NAMES, RATE_HZ, ("gain",), like={"BRA": ("TRIlat",)})
    assert like.weights.size == 0
    for name, value in measured.values._asdict().items():
        torch.testing.assert_close(getattr(like.values, name), value, rtol=1e-6, atol=1e-9)
    assert unlike.rmse_nm > 3 * like.rmse_nm


def test_what_cannot_be_identified_is_refused(efforts, muscle):
    with pytest.raises(ValueError, match="no trials"):
        identify([], muscle, NAMES, RATE_HZ)
    e = efforts[0]
    holes = e.envelope.copy()
    holes[10, 2] = np.nan
    with pytest.raises(ValueError, match="NaN in some samples"):
        identify([Effort(holes, e.geometry, e.speed_rad_s, e.moment_nm)], muscle, NAMES, RATE_HZ)
    holes[:, 2] = np.nan
    with pytest.raises(ValueError, match="need time courses"):
        identify([Effort(holes, e.geometry, e.speed_rad_s, e.moment_nm)], muscle, NAMES, RATE_HZ)
