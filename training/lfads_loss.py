"""What LFADS minimises: Gamma likelihood, two KL divergences, L2 on recurrent kernels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.lfads import Inferred, Lfads

SMALLEST = 1e-4  # of scaled EMG: a Gamma distribution has no density at 0


@dataclass(frozen=True)
class Weights:
    """Of the loss's terms.  The likelihood is a mean and the KLs are sums, so these are small."""

    kl_ic: float = 1e-6
    kl_co: float = 1e-6
    l2_gen: float = 1e-4
    l2_con: float = 1e-4
    scale: float = 1e4  # of everything


def gamma_nll(x: Tensor, log_shape: Tensor, log_rate: Tensor) -> Tensor:
    """Negative log density of ``x > 0``, elementwise; finite for any clamped logarithms."""
    x = x.clamp(min=SMALLEST)
    shape = log_shape.exp()
    return torch.lgamma(shape) - shape * log_rate - (shape - 1) * x.log() + log_rate.exp() * x


def kl_ic(net: Lfads, said: Inferred) -> Tensor:
    """Of the initial condition to its prior, summed over dimensions, mean over windows."""
    var = net.config.ic_prior_var
    distance = (said.ic_mean - net.ic_prior_mean) ** 2
    each = 0.5 * ((said.ic_var + distance) / var - 1 - torch.log(said.ic_var / var))
    return each.sum(-1).mean()


def kl_inputs(net: Lfads, said: Inferred) -> Tensor:
    """Of the inferred inputs to an AR(1) process, by the one sample drawn; as ``kl_ic``.

    ``u_1 ~ N(0, v / (1 - a^2))``, ``u_t ~ N(a u_{t-1}, v)``, ``a = exp(-1 / tau)``.
    """
    if not net.config.controlled:
        return said.ic_mean.new_zeros(())
    a, log_v = torch.exp(-torch.exp(-net.log_tau)), net.log_input_var
    u = said.inputs
    first = log_v - torch.log1p(-a * a)
    log_var = torch.cat([first.expand_as(u[:, :1]), log_v.expand_as(u[:, 1:])], 1)
    expected = torch.cat([torch.zeros_like(u[:, :1]), a * u[:, :-1]], 1)
    log_q = _log_normal(u - said.co_mean, said.co_logvar)
    log_p = _log_normal(u - expected, log_var)
    return (log_q - log_p).sum((1, 2)).mean()


def l2(net: Lfads, weights: Weights) -> Tensor:
    """Half the squares of the weighted recurrent kernels, over the number of their elements."""
    weighted = {"gen": weights.l2_gen, "con": weights.l2_con}
    total, count = net.generator.u.new_zeros(()), 0
    for part, kernels in net.recurrent().items():
        if (w := weighted.get(part, 0.0)) > 0:
            total = total + w * sum(0.5 * (u * u).sum() for u in kernels)
            count += sum(u.numel() for u in kernels)
    return total / max(1, count)


def total(
    net: Lfads,
    said: Inferred,
    target: Tensor,
    weights: Weights,
    ramp: float = 1.0,
    learn_from: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The scaled loss, and the mean likelihood term of it, unscaled.

    ``target (b, t, channels)``.  Where ``learn_from`` is 0 the likelihood keeps its value and
    teaches nothing (coordinated dropout).
    """
    nll = gamma_nll(target, said.log_shape, said.log_rate)
    mean = nll.detach().mean()
    if learn_from is not None:
        nll = torch.where(learn_from > 0, nll, nll.detach())
    kl = weights.kl_ic * kl_ic(net, said) + weights.kl_co * kl_inputs(net, said)
    return weights.scale * (nll.mean() + ramp * (l2(net, weights) + kl)), mean


def _log_normal(error: Tensor, log_var: Tensor) -> Tensor:
    return -0.5 * (math.log(2 * math.pi) + log_var + error * error * torch.exp(-log_var))
