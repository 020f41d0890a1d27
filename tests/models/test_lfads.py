"""LFADS: what it may know of a window, and that the fast way is the equations' way."""

import pytest
import torch

from models.lfads import Lfads, LfadsConfig

SMALL = {"bins": 12, "ic_enc": 6, "ci_enc": 6, "con": 5, "co": 2, "ic": 3, "gen": 8, "factors": 4}
VARIANTS = {
    "controlled": {},
    "encoders of two sizes": {"ci_enc": 7},
    "autonomous": {"co": 0},
    "longer lag": {"lag": 3},
}


def net(**more):
    torch.manual_seed(3)
    return Lfads(LfadsConfig(5, **{**SMALL, **more})).double()


def windows(n=3, bins=12):
    return torch.rand(n, bins, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_fast_way_and_the_naive_one_agree_to_the_gradient(variant):
    one, x = net(**VARIANTS[variant]), windows()
    found = []
    for naive in (False, True):
        one.zero_grad()
        rng = torch.Generator().manual_seed(7)
        said = one(x, sample=True, dropout=0.2, rng=rng, naive=naive)
        sum((part**2).sum() for part in said).backward()
        found.append((said, [p.grad.clone() for p in one.parameters() if p.grad is not None]))
    for a, b in zip(found[0][0], found[1][0], strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("lag", [1, 3])
def test_the_controller_never_sees_the_bin_that_it_disturbs(lag):
    """From the encoders it knows t - lag and before, and t + lag and after: never what is between.

    The initial condition knows the whole window, so its encoder is silenced, and the factors'
    way back into the controller too.
    """
    one = net(lag=lag)
    with torch.no_grad():
        one.to_ic.weight.zero_()
        one.controller.w[2 * SMALL["ci_enc"] :] = 0
        one.controller.u.zero_()  # or the controller's own memory would bring it forward
        one.controller.b[: 2 * SMALL["con"]] = -40.0  # and its gates shut: c is n alone
    x = windows(1).requires_grad_()
    t = 6
    one(x).co_mean[0, t].sum().backward()
    felt = x.grad[0].abs().sum(-1) > 1e-12
    seen = [k for k in range(12) if felt[k]]
    assert seen == [k for k in range(12) if abs(k - t) >= lag]


def test_factors_are_read_off_directions_of_length_one():
    one = net()
    with torch.no_grad():
        one.to_factors.mul_(100)
    x = windows()
    before = one(x).factors
    with torch.no_grad():
        one.to_factors.div_(100)
    torch.testing.assert_close(one(x).factors, before)


def test_means_stand_for_the_posteriors_unless_it_samples():
    one, x = net(), windows()
    torch.testing.assert_close(one(x).activation, one(x).activation)
    assert torch.equal(one(x).inputs, one(x).co_mean)
    drawn = one(x, sample=True, rng=torch.Generator().manual_seed(1)).inputs
    assert not torch.allclose(drawn, one(x).co_mean)


def test_parameters_stay_in_bounds_for_any_input():
    one = net()
    with torch.no_grad():
        one.read_out.weight.mul_(1e6)
    said = one(1e6 * windows())
    assert said.log_shape.abs().max() <= one.config.log_limit
    assert torch.isfinite(said.activation).all()


def test_a_window_of_another_length_is_refused():
    with pytest.raises(ValueError, match="windows of 9 bins"):
        net()(windows(bins=9))


@pytest.mark.parametrize("field", ["channels", "gen", "lag"])
def test_sizes_that_make_no_network_are_refused(field):
    with pytest.raises(ValueError, match=field):
        LfadsConfig(**{"channels": 5, field: 0})
