"""Thelen's and Millard's curves against OpenSim's; they agree with ours in what matters."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import millard, muscle, thelen
from training.opensim_curves import KEPT, errors, sample


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


def close(got, expected, atol):
    torch.testing.assert_close(got, f64(*expected), rtol=0, atol=atol)


@pytest.mark.parametrize("model", ["thelen", "millard"])
def test_curves_are_opensims(model):
    assert errors()[model] < 1e-10


@pytest.mark.opensim
def test_opensim_gives_the_kept_curves_again():
    pytest.importorskip("opensim", reason="the OpenSim package is not installed")
    for kept, again in zip(json.loads(KEPT.read_text()), sample(), strict=True):
        assert (kept["model"], kept["curve"]) == (again["model"], again["curve"])
        for a, b in ((kept["arguments"], again["arguments"]), (kept["values"], again["values"])):
            np.testing.assert_allclose(np.array(a), np.array(b), atol=1e-9)


@pytest.mark.parametrize("curve", ["active_force_length", "passive_force_length",
                                   "force_velocity", "tendon_force"])  # fmt: skip
def test_millard_gradients_are_those_of_finite_differences(curve):
    low, high = (-0.95, 0.95) if curve == "force_velocity" else (0.5, 1.6)
    x = torch.linspace(low, high, 37, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(getattr(millard, curve), x, atol=1e-5)


def test_thelen_tendon_is_built_from_one_strain():
    assert thelen._toe(0.033) == pytest.approx((0.0200843, 51.8749), rel=1e-5)
    close(thelen.tendon_force(f64(0.9, 1.0, 1.033), 0.033), (0, 0, 1), 1e-9)


def test_thelen_passive_force_is_1_at_its_strain():
    close(thelen.passive_force_length(f64(0.8, 1.0, 1.6)), (0, 0, 1), 1e-12)


@given(v=st.floats(-0.2, 0.8), a=st.floats(0.05, 1), n=st.floats(0.6, 1.4))
def test_thelen_force_velocity_is_its_own_inverse(v, a, n):
    f_l = thelen.active_force_length(f64(n))
    force = thelen.active_force(f64(v), f64(a), f_l)
    close(thelen.velocity(force, f64(a), f_l), (v,), 1e-9)


def test_the_three_agree_on_what_a_muscle_is():
    one, rest = f64(1.0), f64(0.0)
    for curves in (muscle, millard, thelen):
        assert curves.active_force_length(one) == pytest.approx(1.0, abs=1e-6)
        assert curves.active_force_length(f64(1.5)) < 0.6
    assert muscle.force_velocity(rest) == pytest.approx(millard.force_velocity(rest), abs=1e-6)
    assert thelen.active_force(rest, one, one) == pytest.approx(1.0)
    assert math.isclose(float(millard.force_velocity(f64(1.0))), 1.4)
