"""LFADS's terms against distributions that nobody here wrote."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Normal, kl_divergence

from models.lfads import Lfads, LfadsConfig
from training.lfads_loss import SMALLEST, Weights, gamma_nll, kl_ic, kl_inputs, l2, total

SIZES = {"bins": 8, "ic_enc": 5, "ci_enc": 5, "con": 4, "co": 2, "ic": 3, "gen": 6, "factors": 4}


@pytest.fixture
def net():
    torch.manual_seed(2)
    return Lfads(LfadsConfig(3, **SIZES)).double()


@pytest.fixture
def said(net):
    x = torch.rand(4, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return net(x, sample=True, rng=torch.Generator().manual_seed(5))


def test_gamma_is_scipys():
    x, a, b = np.array([0.01, 0.5, 3.0]), np.array([0.3, 2.0, 9.0]), np.array([0.5, 1.0, 4.0])
    ours = gamma_nll(*(torch.from_numpy(v) for v in (x, np.log(a), np.log(b))))
    np.testing.assert_allclose(ours, -scipy.stats.gamma.logpdf(x, a, scale=1 / b))


def test_gamma_is_finite_at_zero_and_at_the_ends_of_its_parameters():
    ends = torch.tensor([-7.0, 7.0]).repeat(2)
    found = gamma_nll(torch.zeros(4), ends, ends.flip(0))
    assert torch.isfinite(found).all()
    torch.testing.assert_close(
        gamma_nll(torch.tensor([0.0]), torch.zeros(1), torch.zeros(1)),
        gamma_nll(torch.tensor([SMALLEST]), torch.zeros(1), torch.zeros(1)),
    )


def test_kl_of_the_initial_condition_is_torchs(net, said):
    prior = Normal(net.ic_prior_mean, net.config.ic_prior_var**0.5)
    theirs = kl_divergence(Normal(said.ic_mean, said.ic_var.sqrt()), prior).sum(-1).mean()
    torch.testing.assert_close(kl_ic(net, said), theirs)


def test_kl_of_the_inputs_is_the_log_ratio_to_an_ar1_process(net, said):
    """Written out for one window and one dimension, with scipy's densities."""
    u, mean, logvar = (
        v[0, :, 1].detach().numpy() for v in (said.inputs, said.co_mean, said.co_logvar)
    )
    a = np.exp(-1 / net.config.tau_bins)
    sd = net.config.input_var**0.5
    expected = np.concatenate([[0.0], a * u[:-1]])
    spread = np.array([sd / np.sqrt(1 - a * a)] + [sd] * 7)
    ratio = scipy.stats.norm.logpdf(u, mean, np.exp(logvar / 2)) - scipy.stats.norm.logpdf(
        u, expected, spread
    )
    one = said._replace(**{k: getattr(said, k)[:1] for k in ("inputs", "co_mean", "co_logvar")})
    both = kl_inputs(net, one)
    u, mean, logvar = (
        v[0, :, 0].detach().numpy() for v in (said.inputs, said.co_mean, said.co_logvar)
    )
    expected = np.concatenate([[0.0], a * u[:-1]])
    other = scipy.stats.norm.logpdf(u, mean, np.exp(logvar / 2)) - scipy.stats.norm.logpdf(
        u, expected, spread
    )
    assert both.item() == pytest.approx(ratio.sum() + other.sum())


def test_l2_is_on_weighted_kernels_only_and_counts_only_them(net):
    gen, con = net.generator.u, net.controller.u

    def half(u):
        return 0.5 * (u * u).sum()

    found = l2(net, Weights(l2_gen=2.0, l2_con=0.0))
    torch.testing.assert_close(found, 2 * half(gen) / gen.numel())
    found = l2(net, Weights(l2_gen=2.0, l2_con=3.0))
    both = (2 * half(gen) + 3 * half(con)) / (gen.numel() + con.numel())
    torch.testing.assert_close(found, both)
    assert l2(net, Weights(l2_gen=0.0, l2_con=0.0)) == 0


def test_what_was_shown_teaches_nothing(net, said):
    """Coordinated dropout: the likelihood of shown entries has its value and no gradient."""
    x = torch.rand(4, 8, 3, dtype=torch.float64)
    none = Weights(0.0, 0.0, 0.0, 0.0)
    loss, value = total(net, said, x, none, learn_from=torch.zeros_like(x))
    full, same = total(net, said, x, none)
    assert loss.item() == pytest.approx(full.item())
    assert value == same
    assert torch.autograd.grad(loss, net.read_out.weight, retain_graph=True)[0].abs().max() == 0
    assert torch.autograd.grad(full, net.read_out.weight)[0].abs().max() > 0
