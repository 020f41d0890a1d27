"""EMG to moment: each link against what it must do, the activation against SciPy's integrator."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from models import elbow
from models.hill_joint import (
    Geometry,
    activation,
    bent,
    delay_taps,
    excitation,
    forces_n,
    moment_nm,
    step_activation,
)
from models.muscle import A_MIN
from models.physiology import BOUNDS, Physiology, Values

F64 = torch.float64


def person(**changed):
    p = Physiology(6).double()
    p.set(**changed)
    return Values(*(v.detach() for v in p()))


@given(delay_ms=st.floats(20.5, 99.5))
def test_the_taps_of_a_delay_sum_to_one_and_are_its_mean(delay_ms):
    taps = delay_taps(torch.tensor(delay_ms / 1000, dtype=F64), 100.0)
    assert float(taps.sum()) == pytest.approx(1.0)
    assert float(taps @ torch.arange(len(taps), dtype=F64)) == pytest.approx(delay_ms / 10)


def test_an_envelope_arrives_later_and_without_its_gain():
    ramp = torch.linspace(0, 0.9, 91, dtype=F64)[:, None].expand(-1, 6)
    e = excitation(ramp, person(delay_s=0.045, gain=1.25), 100.0)
    torch.testing.assert_close(e[20:], (ramp[20:] - 0.045) / 1.25)
    assert float(e[0, 0]) == 0.0  # before the first sample it is held


def test_activation_is_that_of_scipys_integrator():
    values = person(rise_s=0.015)
    e = (0.4 - 0.4 * torch.cos(torch.arange(60, dtype=F64) * 0.25))[:, None]  # 4 Hz

    def rate(t, a):
        u = float(e[min(int(t * 100), 59), 0])
        z = 0.5 + 1.5 * a
        return (u - a) * np.where(u > a, 1 / (0.015 * z), z / 0.060)

    at_s = np.arange(60) / 100
    exact = solve_ivp(rate, (0, 0.6), [A_MIN], t_eval=at_s, max_step=1e-3).y[0]
    got = activation(e, values, 100.0, start=torch.full((1,), A_MIN, dtype=F64))[:, 0]
    np.testing.assert_allclose(got, np.maximum(exact, A_MIN), atol=0.01)


@settings(deadline=None)
@given(a=st.floats(A_MIN, 1), e=st.floats(0, 1), rise=st.floats(0.008, 0.035))
def test_a_step_of_activation_goes_towards_excitation_and_never_past_it(a, e, rise):
    after = float(step_activation(*(torch.tensor(x, dtype=F64) for x in (a, e, rise)), 0.01))
    assert min(a, max(e, A_MIN)) - 1e-12 <= after <= max(a, e) + 1e-12


def test_force_follows_activation_by_an_exponential_that_keeps_the_ends():
    ends = torch.tensor([0.0, 1.0], dtype=F64)
    for shape in (-3.0, -0.01):
        torch.testing.assert_close(bent(ends, torch.tensor(shape, dtype=F64)), ends)
    half = bent(torch.tensor(0.5, dtype=F64), torch.tensor(-2.0, dtype=F64))
    assert 0.7 < float(half) < 0.8


def geometry(angle_deg, speed_rad_s=0.0):
    length, arm = elbow.paths(torch.deg2rad(torch.tensor(angle_deg, dtype=F64)))
    return Geometry(length, arm, -arm * speed_rad_s)


@pytest.mark.parametrize(("deg", "flexes", "extends"), [
    (30.0, 36.2, -37.9), (60.0, 57.3, -35.1), (90.0, 63.1, -32.7), (120.0, 31.3, -31.4),
])  # fmt: skip
def test_greatest_moments_of_the_elbow_are_arm26s(deg, flexes, extends):
    # Isometric, active only: full activation less none.
    g, values = geometry(deg), person()
    muscle = elbow.muscles(torch.zeros((), dtype=F64))
    for group, expected in ((elbow.FLEXORS, flexes), (elbow.EXTENSORS, extends)):
        a = torch.zeros(2, 6, dtype=F64)
        a[1, list(group)] = 1.0
        rest, full = moment_nm(forces_n(muscle, values, a, g), g)
        # The wrap of the long head, 3.6 mm, was left out of the published table.
        assert float(full - rest) == pytest.approx(expected, rel=0.06)


def test_slow_muscles_lose_more_force_when_they_shorten():
    muscle, a = elbow.muscles(torch.zeros((), dtype=F64)), torch.full((6,), 0.5, dtype=F64)
    flexing = geometry(90.0, 2.0)
    fast, slow = (
        forces_n(muscle, person(v_max=v), a, flexing)[list(elbow.FLEXORS)] for v in (14.0, 6.0)
    )
    assert (slow < fast).all()


def test_gradients_reach_every_parameter():
    p = Physiology(6)
    values = p()
    envelope = torch.rand(60, 4, 6, generator=torch.Generator().manual_seed(1))
    g = Geometry(*(x.float()[None].expand(60, 4, 6) for x in geometry(70.0, 1.0)))
    a = activation(excitation(envelope, values, 100.0), values, 100.0)
    net = moment_nm(forces_n(elbow.muscles(a), values, a, g), g) - values.damping_nm_s
    net.square().mean().backward()
    for name in BOUNDS:
        grad = getattr(p, name).grad
        assert torch.isfinite(grad).all(), name
        assert grad.abs().max() > 0, name
