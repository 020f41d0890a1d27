"""Thelen's and Millard's curves against reference numbers; they agree with ours in what matters."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import millard, muscle, thelen


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


def close(got, expected, atol):
    torch.testing.assert_close(got, f64(*expected), rtol=0, atol=atol)


def test_millard_curves_have_reference_values():
    n = f64(0.5, 0.6, 0.7, 0.85, 1, 1.2, 1.5, 1.7)
    close(millard.active_force_length(n),
          (0.09853, 0.45110, 0.76702, 0.91384, 1, 0.82368, 0.40334, 0.12316), 6e-6)  # fmt: skip
    close(millard.force_velocity(f64(-1, -0.5, -0.1, 0, 0.1, 0.5, 1)),
          (0, 0.15809, 0.62521, 1, 1.22515, 1.33113, 1.4), 6e-6)  # fmt: skip
    close(millard.passive_force_length(f64(1, 1.2, 1.4, 1.6, 1.7)),
          (0, 0.04969, 0.26289, 0.71707, 1), 6e-6)  # fmt: skip
    close(millard.tendon_force(f64(1, 1.01, 1.02, 1.03, 1.049)),
          (0, 0.09968, 0.26094, 0.47940, 1), 6e-6)  # fmt: skip


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
