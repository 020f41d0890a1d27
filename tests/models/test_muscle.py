"""The Hill muscle against published numbers, and against SciPy's root finder and integrator."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from models.muscle import (
    A_MIN,
    Muscle,
    activate,
    active_force_length,
    equilibrium,
    fascicle,
    force_velocity,
    inverse_force_velocity,
    inverse_tendon_force,
    passive_force_length,
    rigid_tendon_force,
    smooth_rate,
    tendon_force,
    thelen_rate,
)
from training.opensim_curves import errors


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


def calf(dtype=torch.float64):
    """MG, LG and SOL of about the size of an adult's."""
    rows = [(50, 0.35, 387, 1300, 0.05), (58, 0.25, 374, 650, 0.05), (41, 0.42, 281, 2600, 0.05)]
    return Muscle(*torch.tensor(rows, dtype=dtype).T)


def one(*values):
    return Muscle(*(f64(v) for v in values))


def check(got, expected, atol=1e-6):
    torch.testing.assert_close(got, f64(*expected), rtol=0, atol=atol)


def test_curves_have_the_values_of_opensims_muscle():
    assert errors()["muscle"] < 1e-10


@given(v=st.floats(-1, 1), length=st.floats(0.98, 1.1), strain=st.floats(0.03, 0.1))
def test_inverses_undo_their_curves(v, length, strain):
    check(inverse_force_velocity(force_velocity(f64(v))), (v,), atol=1e-10)
    check(inverse_tendon_force(tendon_force(f64(length), strain), strain), (length,), atol=1e-10)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (thelen_rate, (0.01, 0.7538, 0.9045, 0.4401, 0.2653)),
        (lambda e, a: smooth_rate(e, a, sharpness=0.1), (0.01, 0.6570, 0.8539, 0.3490, 0.1060)),
        (smooth_rate, (0.01, 0.7537, 0.9036, 0.4859, 0.3094)),
    ],
    ids=["Thelen", "as published", "smooth"],
)
def test_a_pulse_of_50_ms_activates_as_in_opensim(rate, expected):
    per_ms = 4
    excitation = torch.zeros(100 * per_ms + 1, dtype=torch.float64)
    excitation[: 50 * per_ms] = 1
    a = activate(excitation, 1e-3 / per_ms, rate)
    check(a[:: 25 * per_ms], expected, atol=2e-4)  # SciPy and the reference differ by that too


def test_activation_is_what_scipy_integrates():
    def drive(t):
        return 0.5 - 0.45 * np.cos(9 * t)

    def slope(t, a):
        e = f64(drive(t))
        return (smooth_rate(e, f64(a[0])) * (e - a[0])).numpy()

    t = np.arange(0, 1, 0.002)
    exact = solve_ivp(slope, (0, 1), [A_MIN], t_eval=t, rtol=1e-8, atol=1e-10).y[0]
    held = activate(torch.as_tensor(drive(t + 0.001)), 0.002)  # the middle of each step
    np.testing.assert_allclose(held.numpy(), exact, atol=2e-4)


def test_activation_stays_a_share_however_long_the_step():
    excitation = torch.tensor([[0.0, 1.0], [1.0, 0.0]] * 20, dtype=torch.float32)
    for dt_s in (0.001, 0.1, 10.0):
        a = activate(excitation, dt_s)
        assert a.shape == (40, 2)
        assert a.dtype == torch.float32
        assert a.min() >= A_MIN
        assert a.max() <= 1


def test_pennate_fascicles_keep_their_distance_between_aponeuroses():
    m = calf()
    for along_mm in (20.0, 35.0, 50.0):
        length_mm, cosine = fascicle(m, f64(along_mm))
        torch.testing.assert_close(length_mm * (1 - cosine**2).sqrt(), m.width_mm)
    length_mm, _ = fascicle(m, m.l_opt_mm * torch.cos(m.pennation_opt_rad))
    torch.testing.assert_close(length_mm, m.l_opt_mm)


def test_a_rigid_tendon_passes_on_optimal_force_less_of_it_when_shortening_none_when_slack():
    m = calf()
    path_mm = m.l_slack_mm + m.l_opt_mm * torch.cos(m.pennation_opt_rad)
    best = rigid_tendon_force(m, f64(1), path_mm)
    expected = m.f_max_n * (1 + 0.0182288) * torch.cos(m.pennation_opt_rad)
    torch.testing.assert_close(best, expected, rtol=1e-6, atol=0)
    assert (rigid_tendon_force(m, f64(1), path_mm, -50.0) < best).all()
    assert (rigid_tendon_force(m, f64(1), path_mm, 50.0, damping=0.1) > best).all()
    assert (rigid_tendon_force(m, f64(1), m.l_slack_mm - 3) == 0).all()


@settings(max_examples=30, deadline=None)
@given(
    a=st.floats(0, 1),
    stretch=st.floats(0.5, 1.5),
    pennation=st.floats(0, 0.6),
    slack_mm=st.floats(10, 400),
    strain=st.floats(0.03, 0.1),
)
def test_equilibrium_is_the_root_that_scipy_finds(a, stretch, pennation, slack_mm, strain):
    m = one(50, pennation, slack_mm, 1000, strain)
    path_mm = slack_mm + 50 * stretch
    got = equilibrium(m, f64(a), f64(path_mm))

    def unbalance(along_mm):
        length_mm, cosine = (v.item() for v in fascicle(m, f64(along_mm)))
        n = f64(length_mm / 50)
        muscle = (a * active_force_length(n) + passive_force_length(n)).item() * cosine
        return muscle - tendon_force(f64((path_mm - along_mm) / slack_mm), strain).item()

    low = math.sqrt(max(10**2 - (50 * math.sin(pennation)) ** 2, 0))
    along_mm = brentq(unbalance, low, path_mm - slack_mm, xtol=1e-11)
    assert abs(got.residual.item()) < 1e-9
    assert got.fascicle_mm.item() == pytest.approx(
        math.hypot(along_mm, 50 * math.sin(pennation)), abs=1e-6
    )
    assert got.tendon_mm.item() == pytest.approx(path_mm - along_mm, abs=1e-6)


def test_an_unyielding_tendon_is_a_rigid_one():
    m = calf()._replace(tendon_strain=f64(1e-7))
    path_mm = m.l_slack_mm + f64(45, 50, 40)
    got = equilibrium(m, f64(0.7), path_mm).force_n
    torch.testing.assert_close(got, rigid_tendon_force(m, f64(0.7), path_mm), rtol=1e-4, atol=0)


def test_gradients_are_those_of_finite_differences():
    def shape(l_opt, pennation, slack, f_max, strain, a, path):
        m = Muscle(l_opt, pennation, slack, f_max, strain)
        e = equilibrium(m, a, path)
        return e.fascicle_mm, e.pennation_rad, e.tendon_mm, e.force_n / 1000

    at = [v.clone() for v in calf()] + [f64(0.0, 0.3, 0.9), f64(430, 425, 310)]
    assert torch.autograd.gradcheck(shape, [v.requires_grad_() for v in at])


def test_gradients_of_curves_and_activation_are_those_of_finite_differences():
    n = f64(0.5, 0.9, 1.3).requires_grad_()
    for curve in (active_force_length, passive_force_length, force_velocity, tendon_force):
        assert torch.autograd.gradcheck(curve, n)
    assert torch.autograd.gradcheck(
        lambda e: activate(e, 0.01), f64(0.2, 0.8, 0.5).requires_grad_()
    )
    m, speed = calf(), f64(-40.0).requires_grad_()
    path_mm = (m.l_slack_mm + 45).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p, s: rigid_tendon_force(m, f64(1), p, s), (path_mm, speed)
    )


def test_float32_balances_as_well_as_its_digits_allow():
    a = torch.linspace(0, 1, 21)[:, None]
    path_mm = calf(torch.float32).l_slack_mm + torch.linspace(20, 70, 21)[:, None]
    got = equilibrium(calf(torch.float32), a, path_mm)
    exact = equilibrium(calf(), a.double(), path_mm.double())
    assert got.force_n.dtype == torch.float32
    assert got.force_n.shape == (21, 3)
    torch.testing.assert_close(got.fascicle_mm.double(), exact.fascicle_mm, rtol=0, atol=1e-3)
    torch.testing.assert_close(got.force_n.double(), exact.force_n, rtol=1e-4, atol=0.1)


@pytest.mark.parametrize("path_mm", [380.0, float("nan")])
def test_a_path_that_no_tension_fits_is_refused_with_the_remedy(path_mm):
    with pytest.raises(ValueError, match="give longer paths, or a shorter l_slack_mm"):
        equilibrium(one(50, 0.35, 387, 1300, 0.05), f64(0.5), f64(path_mm))
