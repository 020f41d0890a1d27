"""Forward dynamics beside OpenSim's; the elastic tendon beside its own equilibrium."""

import json

import numpy as np
import pytest
import torch

from models import elbow
from models.muscle import equilibrium
from models.roll import Drive, roll
from models.tendon import force_rate
from training.opensim_forward import DAMPING_NM_S, HOLD_S, KEPT, START_RAD, excitations


def generic():
    return elbow.muscles(torch.zeros((), dtype=torch.float64))


@pytest.mark.slow
@pytest.mark.parametrize("load_kg", [0.0, 2.0])
def test_two_seconds_with_rigid_tendons_end_where_opensim_ends(load_kg):
    kept = json.loads(KEPT.read_text())
    case = next(c for c in kept if c["tendon"] == "rigid" and c["load_kg"] == load_kg)
    drive = Drive(generic(), load_kg, DAMPING_NM_S)
    got = roll(drive, excitations(load_kg), HOLD_S, START_RAD, elastic=False)
    off_deg = np.rad2deg(got - np.array(case["angle_rad"]))
    assert np.sqrt(np.mean(off_deg**2)) < 0.3
    assert np.ptp(np.rad2deg(case["angle_rad"])) > 45  # it went somewhere


@pytest.mark.slow
def test_the_beginning_with_elastic_tendons_is_opensims():
    case = next(c for c in json.loads(KEPT.read_text()) if c["tendon"] == "elastic")
    drive = Drive(generic(), case["load_kg"], DAMPING_NM_S)
    got = roll(drive, excitations(case["load_kg"])[:20], HOLD_S, START_RAD, elastic=True)
    np.testing.assert_allclose(np.rad2deg(got), np.rad2deg(case["angle_rad"][:21]), atol=0.1)


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
