import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.physics_head import PhysicsHead


def head(outputs: int, activity: float | None = None, strength: float | None = None) -> PhysicsHead:
    """A head with random weights, whose activity or strength is fixed before the softplus."""
    torch.manual_seed(1)
    made = PhysicsHead(5, outputs)
    with torch.no_grad():
        for row, level in ((1, activity), (2, strength)):
            if level is not None:
                made.read.weight[row] = 0
                made.read.bias[row] = level
    return made


def features(n: int = 64, seed: int = 1) -> torch.Tensor:
    return 3 * torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("outputs", [2, 3])
def test_angle_first_moment_last_activity_between(outputs):
    h = head(outputs)
    found = h(features())
    assert found.shape == (64, outputs)
    torch.testing.assert_close(found[:, :1], h.read(features())[:, :1])


@pytest.mark.parametrize("off", ["activity", "strength"])
def test_the_moment_falls_to_the_passive_curve_when_nothing_pulls(off):
    h = head(3, **{off: -60.0})
    found = h(features())
    torch.testing.assert_close(found[:, 2:], h.passive(found[:, :1]))
    # The passive curve is one of the angle alone: the same angle, the same moment.
    other = features(seed=2)
    gap = h.read(features())[:, :1] - h.read(other)[:, :1]
    same = other + gap * h.read.weight[0] / h.read.weight[0].square().sum()
    again = h(same)
    torch.testing.assert_close(again[:, 0], found[:, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(again[:, 2], found[:, 2], atol=1e-4, rtol=1e-4)


@given(st.integers(0, 2**31), st.floats(-30, 30))
def test_what_is_active_only_ever_adds_plantarflexion(seed, activity):
    h = head(3, activity)
    found = h(features(4, seed))
    assert (found[:, 2:] >= h.passive(found[:, :1]) - 1e-4).all()


def test_more_activity_is_more_moment():
    levels = [head(2, a, 0.0)(features())[:, 1] for a in (-3.0, 0.0, 3.0)]
    assert (levels[0] < levels[1]).all()
    assert (levels[1] < levels[2]).all()


def test_a_wrong_moment_does_not_bend_the_angle():
    h = head(3, activity=-60.0)
    x = features().requires_grad_()
    h(x)[:, 2].sum().backward()
    assert x.grad.abs().max() < 1e-6
    assert h.passive[0].weight.grad.abs().max() > 0
