"""Simulated trials: kept ones are whole, and OpenSim makes the same ones again."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.hill_joint import excitation
from models.physiology import Physiology
from training.virtual_arm import keep_trials, load_trials, simulate
from training.virtual_measure import SURFACE, measure
from training.virtual_people import (
    DEEP,
    EVERYBODY,
    FLEXES,
    LOADS_KG,
    MUSCLES,
    PEOPLE,
    TEMPOS_S,
    TUNED_ON,
    movement,
    person,
    shares,
)

DATA = os.environ.get("SONOMYO_DATA", "")


@pytest.fixture(scope="module")
def trials():
    return load_trials()


def test_everybody_moved_every_load_at_every_tempo(trials):
    there = {(t.person, t.load_kg, t.tempo_s) for t in trials}
    assert there == {(p, kg, s) for p in EVERYBODY for kg in LOADS_KG for s in TEMPOS_S}
    assert len(trials) == len(there)
    assert TUNED_ON not in PEOPLE


def test_what_is_kept_is_physical(trials):
    for t in trials:
        assert t.angle_rad.shape == (1200,)
        assert t.excitation.shape == t.activation.shape == t.force_n.shape == (1200, 6)
        assert (t.angle_rad > -0.1).all()
        assert (t.angle_rad < 2.27).all()
        assert (t.excitation >= 0.0099).all()
        assert (t.excitation <= 1.0001).all()
        assert (t.force_n > -1).all()


def test_a_heavier_hand_asks_for_more_of_every_flexor(trials):
    for name in EVERYBODY:
        mean = {kg: np.mean([t.excitation[:, FLEXES].mean(0) for t in trials
                             if t.person == name and t.load_kg == kg], 0)
                for kg in LOADS_KG}  # fmt: skip
        assert (mean[4.0] > mean[2.0]).all()
        assert (mean[2.0] > mean[0.0]).all()


def test_the_deep_heads_begin_first():
    for name in EVERYBODY:
        habits = person(name).habits
        light = shares(habits, np.array([0.02]), 0.0, np.ones(6))[0]
        for deep, group in (("BRA", FLEXES), ("TRImed", ~FLEXES)):
            others = [i for i in np.flatnonzero(group) if MUSCLES[i] not in DEEP]
            assert light[MUSCLES.index(deep)] >= light[others].max()
        assert shares(habits, np.array([1.0]), 0.0, np.ones(6))[0] == pytest.approx(np.ones(6))


def test_a_measurement_hides_the_deep_muscles_and_nothing_else(trials):
    m = measure(trials[4])
    assert np.isnan(m.envelope[:, ~SURFACE]).all()
    assert np.isfinite(m.envelope[:, SURFACE]).all()
    assert np.isfinite(m.truth).all()
    again = measure(trials[4])
    np.testing.assert_array_equal(m.envelope[:, SURFACE], again.envelope[:, SURFACE])


def test_emg_is_seen_before_its_muscle_is_driven(trials):
    """By the person's delay; the model's own delay brings it back."""
    trial = trials[4]
    at = np.arange(len(trial.angle_rad))
    pulse = np.exp(-(((at - 600) / 15) ** 2))
    m = measure(replace(trial, excitation=np.repeat(pulse[:, None], 6, 1)))
    delay_s = person(trial.person).electrodes.delay_s
    seen = np.average(at[25:-25], weights=m.truth[:, 0])
    assert seen == pytest.approx(600 - 100 * delay_s, abs=0.1)
    body = Physiology(6).double()
    body.set(delay_s=delay_s)
    again = excitation(torch.from_numpy(m.truth), body(), 100.0).detach().numpy()
    np.testing.assert_allclose(again[:, 0], pulse[25:-25], atol=0.02)


def test_measured_moments_are_those_of_the_simulation(trials):
    m = measure(trials[4])
    off = m.moment_nm - trials[4].moment_nm[25:-25]
    assert np.sqrt(np.mean(off**2)) < 0.03 * np.abs(m.moment_nm).max()


def test_a_movement_is_the_same_for_a_seed_and_stays_in_its_range():
    angle, speed, _ = movement(3, 1.2)
    np.testing.assert_array_equal(angle, movement(3, 1.2)[0])
    assert np.rad2deg(angle.min()) > 9
    assert np.rad2deg(angle.max()) < 119
    assert abs(speed).max() < 4


def test_nobody_else_is_simulated():
    with pytest.raises(ValueError, match="'V9' is not one of the simulated people: V1"):
        person("V9")


def test_keeping_loses_nothing_that_matters(trials, tmp_path):
    keep_trials(trials[:2], tmp_path / "x.npz")
    for a, b in zip(trials[:2], load_trials(tmp_path / "x.npz"), strict=True):
        np.testing.assert_allclose(a.moment_nm, b.moment_nm, atol=1e-3)
    np.savez(tmp_path / "y.npz", nothing=1)
    with pytest.raises(ValueError, match="holds no trials"):
        load_trials(tmp_path / "y.npz")


@pytest.mark.opensim
@pytest.mark.skipif(not DATA, reason="SONOMYO_DATA is not set: arm26.osim is there")
def test_opensim_makes_the_same_trial_again(trials, monkeypatch):
    pytest.importorskip("opensim")
    import training.virtual_arm as virtual_arm

    whole = movement(1000, TEMPOS_S[0])
    monkeypatch.setattr(virtual_arm, "movement", lambda *_: tuple(x[:150] for x in whole))
    kept = next(t for t in trials if (t.person, t.load_kg, t.tempo_s) == ("V2", 0.0, TEMPOS_S[0]))
    arm26 = Path(DATA) / "arm26_reference" / "arm26.osim"
    again = simulate(arm26, person("V2"), 0.0, TEMPOS_S[0])
    np.testing.assert_allclose(again.angle_rad, kept.angle_rad[:150], atol=2e-3)
    np.testing.assert_allclose(again.force_n, kept.force_n[:150], atol=1.0)
