"""LFADS for EMG: many muscles as the output of one small dynamical system.

Sequential variational auto-encoder of Pandarinath et al. 2018 with the Gamma observations that
Wimalasena et al. 2022 use for EMG.  A window of rectified EMG goes through two bidirectional
encoders; one says where the generator starts, the other what disturbs it on the way; what the
generator does, read out linearly, is the distribution of every muscle's activation in every bin.
Written from the equations; the loops are in ``models.gru`` and ``models.lfads_decoder``.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import gru
from models.gru import GruWeights
from models.lfads_decoder import Decoded, Noise, Weights, decode, decode_naive
from models.lfads_encoder import Encoder, encode


@dataclass(frozen=True)
class LfadsConfig:
    """Sizes and constants; the defaults are those known of the laboratory's EMG models."""

    channels: int
    bins: int = 100  # of a window
    ic_enc: int = 100  # units of each direction of the initial condition's encoder
    ci_enc: int = 100  # of the controller's
    con: int = 100
    co: int = 3  # inferred inputs; any of ci_enc, con, co 0: no controller, an autonomous system
    ic: int = 20
    gen: int = 100
    factors: int = 10
    lag: int = 1  # bins: at t the controller knows what came before t - lag and from t + lag on
    clip: float = gru.CLIP
    ic_prior_var: float = 0.1
    ic_var_floor: float = 1e-4
    tau_bins: float = 10.0  # of the inputs' prior, before training
    input_var: float = 0.1  # of the innovations of that prior, before training
    log_limit: float = 7.0  # of the logarithms of shape and rate

    def __post_init__(self) -> None:
        for name in ("channels", "bins", "ic_enc", "ic", "gen", "factors", "lag"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} must be at least 1, is {getattr(self, name)}")
        if min(self.ci_enc, self.con, self.co) < 0:
            raise ValueError("model.ci_enc, con and co must not be negative")

    @property
    def controlled(self) -> bool:
        """Whether anything but its initial state moves the generator."""
        return min(self.ci_enc, self.con, self.co) > 0


class Inferred(NamedTuple):
    """What LFADS says about windows; time is the second axis."""

    log_shape: Tensor  # (b, t, channels) of the Gamma distribution
    log_rate: Tensor
    factors: Tensor  # (b, t, factors)
    ic_mean: Tensor  # (b, ic)
    ic_var: Tensor
    co_mean: Tensor  # (b, t, co); co = 0 without a controller
    co_logvar: Tensor
    inputs: Tensor  # (b, t, co) as drawn

    @property
    def activation(self) -> Tensor:
        """Mean of the Gamma distribution, ``(b, t, channels)``, in the data's own scale."""
        return torch.exp(self.log_shape - self.log_rate)


class Lfads(nn.Module):
    """Windows ``(b, bins, channels)`` float32, zero or more, to what they came from."""

    def __init__(self, config: LfadsConfig):
        super().__init__()
        c = self.config = config
        self.ic_encoder = Encoder(c.channels, c.ic_enc)
        self.to_ic = _linear(2 * c.ic_enc, 2 * c.ic)
        self.ic_prior_mean = nn.Parameter(torch.zeros(c.ic))
        self.to_gen = _linear(c.ic, c.gen)
        self.generator = GruWeights(c.co if c.controlled else 0, c.gen, (max(1, c.co), c.gen))
        self.to_factors = nn.Parameter(torch.randn(c.factors, c.gen) / math.sqrt(c.gen))
        self.read_out = _linear(c.factors, 2 * c.channels)
        if c.controlled:
            self.ci_encoder = Encoder(c.channels, c.ci_enc)
            inputs = 2 * c.ci_enc + c.factors
            self.controller = GruWeights(inputs, c.con, (inputs, c.con))
            self.con_first = nn.Parameter(torch.zeros(1, c.con))
            self.to_co = _linear(c.con, 2 * c.co)
            self.log_tau = nn.Parameter(torch.full((c.co,), math.log(c.tau_bins)))
            self.log_input_var = nn.Parameter(torch.full((c.co,), math.log(c.input_var)))

    def forward(
        self,
        x: Tensor,
        *,
        sample: bool = False,
        dropout: float = 0.0,
        rng: torch.Generator | None = None,
        naive: bool = False,
    ) -> Inferred:
        """``sample`` draws from the posteriors, else their means stand for them.

        ``dropout`` is the rate of all dropout layers.  ``naive`` runs the loops step by step, the
        same numbers to rounding, for export and to compare.
        """
        c = self.config
        if not torch.onnx.is_in_onnx_export() and x.shape[1] != c.bins:
            raise ValueError(f"windows of {x.shape[1]} bins, for a network of {c.bins}")
        draw = _Draw(x, sample, dropout, rng)
        x = draw.dropped(x.transpose(0, 1))
        encoders = [self.ic_encoder] + ([self.ci_encoder] if c.controlled else [])
        states = encode(encoders, x, c.clip, naive)
        last = torch.cat([states[0][-1, 0], states[0][0, 1]], -1)
        ic_mean, ic_logvar = self.to_ic(draw.dropped(last)).chunk(2, -1)
        ic_var = ic_logvar.exp() + c.ic_var_floor
        g = self.to_gen(ic_mean + ic_var.sqrt() * draw.normal(*ic_mean.shape))
        d = self._decode(states[1] if c.controlled else None, g, draw, naive)
        log_shape, log_rate = (
            self.read_out(d.factors).clamp(-c.log_limit, c.log_limit).transpose(0, 1).chunk(2, -1)
        )
        factors, mean, logvar, inputs = (part.transpose(0, 1) for part in d)
        return Inferred(log_shape, log_rate, factors, ic_mean, ic_var, mean, logvar, inputs)

    def _decode(self, ci: Tensor | None, g: Tensor, draw: "_Draw", naive: bool) -> Decoded:
        c, b, t = self.config, g.shape[0], self.config.bins
        fac = F.normalize(self.to_factors, dim=1).t()
        if ci is None:
            return self._free(g, fac, draw, naive)
        ahead, back = ci.unbind(1)
        none = ahead.new_zeros(c.lag, b, c.ci_enc)
        known = torch.cat(
            [torch.cat([none, ahead[: -c.lag]]), torch.cat([back[c.lag :], none])], -1
        )
        con_e, con_f = self.controller.w.split([2 * c.ci_enc, c.factors])
        weights = Weights(
            con_f,
            self.controller.u,
            self.to_co.weight.t(),
            self.to_co.bias,
            self.generator.w,
            self.generator.b,
            self.generator.u,
            fac,
        )
        noise = Noise(draw.normal(t, b, c.co), draw.keep(t, b, c.factors), draw.keep(t, b, c.gen))
        calm = not draw.sample and not draw.rate
        p = draw.dropped(known) @ con_e + self.controller.b
        f = draw.dropped(g) @ fac
        first = self.con_first.expand(b, -1)
        if naive:
            return decode_naive(p, first, g, f, None if calm else noise, weights, c.clip)
        return decode(p, first, g, f, noise, weights, c.clip)

    def _free(self, g: Tensor, fac: Tensor, draw: "_Draw", naive: bool) -> Decoded:
        """The generator on its own: only its initial state says what it does."""
        t, b = self.config.bins, g.shape[0]
        clip, p = self.config.clip, self.generator.b.expand(t, b, -1)
        if naive:
            states, h = [], g
            for now in p.unbind():
                h = gru.step(now, h, self.generator.u, clip)
                states.append(h)
            over_time = torch.stack(states)
        else:
            over_time = gru.sequence(p[:, None], g[None], self.generator.u[None], clip)[:, 0]
        empty = g.new_zeros(t, b, 0)
        return Decoded(draw.dropped(over_time) @ fac, empty, empty, empty)

    def recurrent(self) -> dict[str, list[Tensor]]:
        """Recurrent kernels by part: what the L2 penalty is on."""
        parts: dict[str, list[Tensor]] = {"gen": [self.generator.u]}
        encoders = {"ic_enc": self.ic_encoder}
        if self.config.controlled:
            encoders["ci_enc"] = self.ci_encoder
            parts["con"] = [self.controller.u]
        return parts | {name: [e.ahead.u, e.back.u] for name, e in encoders.items()}


class _Draw:
    """Everything that is random in one pass."""

    def __init__(self, x: Tensor, sample: bool, dropout: float, rng: torch.Generator | None):
        self.like, self.sample, self.rate, self.rng = x, sample, dropout, rng

    def normal(self, *shape: int) -> Tensor:
        if not self.sample:
            return self.like.new_zeros(shape)
        return torch.randn(
            shape, generator=self.rng, dtype=self.like.dtype, device=self.like.device
        )

    def keep(self, *shape: int) -> Tensor:
        """0 where something is dropped, else what makes up for it."""
        one = self.like.new_ones(shape)
        if not self.rate:
            return one
        drawn = torch.rand(
            shape, generator=self.rng, dtype=self.like.dtype, device=self.like.device
        )
        return (drawn >= self.rate) / (1 - self.rate) * one

    def dropped(self, x: Tensor) -> Tensor:
        return x * self.keep(*x.shape) if self.rate else x


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    nn.init.zeros_(layer.bias)
    return layer
