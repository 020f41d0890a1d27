"""Forward dynamics beside OpenSim's; the elastic tendon beside its own equilibrium."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import models.roll
from models import elbow
from models.muscle import equilibrium
from models.roll import Drive, roll
from models.tendon import force_rate
from training.opensim_forward import (
    DAMPING_NM_S,
    HOLD_S,
    KEPT,
    START_RAD,
    excitations,
    simulate,
)

DATA = os.environ.get("SONOMYO_DATA", "")


def generic():
    return elbow.muscles(torch.zeros((), dtype=torch.float64))


@pytest.mark.slow
@pytest.mark.parametrize("case", json.loads(KEPT.read_text()),
                         ids=lambda c: f"{c['tendon']}-{c['load_kg']:g}kg")  # fmt: skip
def test_two_seconds_go_as_opensims(case):
    drive = Drive(generic(), case["load_kg"], DAMPING_NM_S)
    elastic = case["tendon"] == "elastic"
    got = roll(drive, excitations(case["load_kg"]), HOLD_S, START_RAD, elastic)
    off_deg = np.rad2deg(got - np.array(case["angle_rad"]))
    assert np.sqrt(np.mean(off_deg**2)) < 0.3
    assert np.ptp(np.rad2deg(case["angle_rad"])) > 45  # it went somewhere


@pytest.mark.parametrize("elastic", [False, True])
def test_shorter_steps_lead_to_the_same_place(monkeypatch, elastic):
    drive, first = Drive(generic(), 2.0, DAMPING_NM_S), excitations(2.0)[:15]
    as_always = roll(drive, first, HOLD_S, START_RAD, elastic)
    monkeypatch.setattr(models.roll, "STEP_S", models.roll.STEP_S / 4)
    shorter = roll(drive, first, HOLD_S, START_RAD, elastic)
    assert np.abs(np.rad2deg(as_always - shorter)).max() < 0.01


@pytest.mark.opensim
@pytest.mark.skipif(not DATA, reason="SONOMYO_DATA is not set: arm26.osim is there")
@pytest.mark.parametrize("tendon", ["rigid", "elastic"])
def test_opensim_goes_the_kept_way_again(tendon):
    pytest.importorskip("opensim", reason="the OpenSim package is not installed")
    arm26 = Path(DATA) / "arm26_reference" / "arm26.osim"
    kept = next(c for c in json.loads(KEPT.read_text()) if c["tendon"] == tendon and c["load_kg"])
    again = simulate(arm26, tendon, kept["load_kg"], holds=20)
    np.testing.assert_allclose(again, kept["angle_rad"][:21], atol=1e-5)


def test_a_muscle_in_equilibrium_stays_there_and_goes_back_when_disturbed():
    m = generic()
    length_mm, _ = elbow.paths(torch.tensor(1.0, dtype=torch.float64))
    a = torch.full((6,), 0.4, dtype=torch.float64)
    tension = equilibrium(m, a, length_mm).force_n / m.f_max_n
    still = torch.zeros(6, dtype=torch.float64)
    torch.testing.assert_close(
        force_rate(m, a, length_mm, still, tension), still, atol=1e-3, rtol=0
    )
    assert (force_rate(m, a, length_mm, still, tension * 1.05) < 0).all()
    assert (force_rate(m, a, length_mm, still, tension * 0.95) > 0).all()


def test_a_path_that_lengthens_tightens_its_tendon():
    m = generic()
    length_mm, _ = elbow.paths(torch.tensor(1.0, dtype=torch.float64))
    a = torch.full((6,), 0.4, dtype=torch.float64)
    tension = equilibrium(m, a, length_mm).force_n / m.f_max_n
    pulled = torch.full((6,), 50.0, dtype=torch.float64)
    assert (force_rate(m, a, length_mm, pulled, tension) > 0).all()
