"""The network sees what it may see; joint and motion follow from its envelopes."""

import math

import pytest
import torch

from models import elbow
from models.hill_joint import Geometry
from models.nmm import Nmm, NmmConfig, Transformer, shoot

SMALL = NmmConfig(width=16, heads=2, blocks=2, hidden=16, window=32)


def network(**changed):
    torch.manual_seed(1)
    return Transformer(NmmConfig(**{**SMALL.__dict__, **changed})).eval()


def test_envelopes_are_between_0_and_1_for_every_muscle():
    u = network()(100 * torch.randn(3, 20, 5))
    assert u.shape == (3, 20, 6)
    assert bool(((u >= 0) & (u <= 1)).all())


def test_a_causal_network_does_not_look_ahead_and_another_does():
    x = torch.randn(1, 32, 5, generator=torch.Generator().manual_seed(2))
    later = x.clone()
    later[:, 20:] += 1.0
    for causal in (True, False):
        net = network(causal=causal)
        same = torch.allclose(net(x)[:, :20], net(later)[:, :20], atol=1e-6)
        assert same == causal


def test_a_short_window_is_the_end_of_a_long_one():
    """Places are counted from the newest sample, so that a window may fill up."""
    net = network(blocks=0)  # without attention a sample depends on itself and its place alone
    x = torch.randn(1, 32, 5, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(net(x[:, -10:]), net(x)[:, -10:])
    still = x[:, :1].expand(1, 32, 5)
    assert not torch.allclose(net(still[:, :10]), net(still)[:, :10], atol=1e-3)


def test_a_window_that_is_too_long_is_refused_with_the_length():
    with pytest.raises(ValueError, match="33 samples at once: this network looks at 32"):
        network()(torch.zeros(1, 33, 5))


def model():
    torch.manual_seed(1)
    return Nmm(SMALL, elbow.muscles(torch.zeros(())), 100.0)


def still(n, angle_rad=1.0):
    length, arm = elbow.paths(torch.full((n, 2), angle_rad))
    return Geometry(length, arm, torch.zeros_like(arm)), torch.zeros(n, 2)


def test_more_flexor_envelope_is_more_moment_and_more_extensor_less():
    m = model()
    g, speed = still(40)
    quiet = torch.full((40, 2, 6), 0.1)
    for muscle, sign in ((5, 1), (2, -1)):
        louder = quiet.clone()
        louder[..., muscle] = 0.5
        read = m.drive(louder, g, speed, m.person())
        before = m.drive(quiet, g, speed, m.person())
        assert (sign * (read.moment_nm - before.moment_nm)[20:] > 1.0).all()


def test_the_joints_damping_is_no_muscles_moment():
    m = model()
    g, _ = still(10)
    envelope = torch.full((10, 2, 6), 0.1)
    values = m.person()
    at_rest = m.drive(envelope, g, torch.zeros(10, 2), values).moment_nm
    moving = m.drive(envelope, g, torch.ones(10, 2), values).moment_nm
    torch.testing.assert_close(at_rest - moving, values.damping_nm_s.expand(10, 2))


def test_multiple_shooting_begins_every_piece_on_the_measured_motion():
    m = model()
    angle = torch.linspace(0.4, 1.2, 41)[:, None].expand(-1, 3)
    a = torch.full((41, 3, 6), 0.05)

    def accelerate(q, nm):
        return torch.zeros_like(q)  # nothing pulls: every piece is a straight line

    speed = torch.full((41, 3), 2.0)
    rolled = shoot(m, a, angle, speed, elbow.paths, accelerate, segment=20)
    assert rolled.shape == (20, 2, 3)
    for piece in (0, 1):
        start = angle[20 * piece]
        torch.testing.assert_close(rolled[0, piece], start + 0.02)
        torch.testing.assert_close(rolled[-1, piece], start + 0.4)


def test_a_piece_rolls_to_the_samples_that_follow_its_start():
    """State k of a piece belongs beside sample k + 1 after the piece's start."""
    m = model().double()
    t = torch.arange(61, dtype=torch.float64)[:, None] / 100
    angle, speed = 0.3 + 0.8 * t + 0.5 * 1.5 * t**2, 0.8 + 1.5 * t

    def accelerate(q, nm):
        return torch.full_like(q, 1.5)  # whatever the muscles do

    a = torch.full((61, 1, 6), 0.05, dtype=torch.float64)
    rolled = shoot(m, a, angle, speed, elbow.paths, accelerate, segment=20)
    assert rolled.shape == (20, 3, 1)
    for piece in range(3):
        for k in range(20):
            torch.testing.assert_close(rolled[k, piece], angle[20 * piece + k + 1])


def test_a_pendulum_rolls_as_its_equation_says():
    """Muscles nearly silent and nearly weak: the forearm swings like a physical pendulum."""
    m = model().double()
    m.person.set(f_max=0.51, damping_nm_s=1e-4)
    q0 = torch.tensor([[0.9]], dtype=torch.float64)
    zero = torch.zeros(31, 1, dtype=torch.float64)

    body = elbow.pendulum(torch.zeros((), dtype=torch.float64))

    def accelerate(q, nm):
        return body.acceleration_rad_s2(q, torch.zeros_like(nm))

    rolled = shoot(m, torch.zeros(31, 1, 6).double(), q0.expand(31, 1), zero, elbow.paths,
                   accelerate, segment=30)  # fmt: skip
    inertia, weight = 0.0706, 1.534315 * 9.8066 * 0.181479
    q, v = 0.9, 0.0
    for _ in range(3000):  # 0.1 ms steps
        v -= weight / inertia * math.sin(q) * 1e-4
        q += v * 1e-4
    assert float(rolled[-1, 0, 0].detach()) == pytest.approx(q, abs=0.02)  # its axis is tilted


def test_gradients_reach_network_and_person_through_the_motion():
    m = model()
    g, speed = still(32)
    read = m(torch.randn(2, 32, 5), g, speed)
    rolled = shoot(
        m, read.activation, torch.ones(32, 2), speed, elbow.paths,
        elbow.pendulum(torch.tensor(2.0)).acceleration_rad_s2, segment=10,
    )  # fmt: skip
    rolled.sum().backward()
    for name in ("network.head.weight", "person.f_max", "person.v_max", "person.damping_nm_s"):
        grad = dict(m.named_parameters())[name].grad
        assert torch.isfinite(grad).all(), name
        assert grad.abs().max() > 0, name
