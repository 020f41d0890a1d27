"""A causal GRU from EMG features to joint torque, one step at a time, its memory in the open."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class EmgGruConfig:
    """Sizes."""

    features: int
    inner: int = 16  # after the first linear layer
    hidden: int = 32
    outputs: int = 1


class EmgGru(nn.Module):
    """``forward`` is the device's step; ``sequence`` the same for whole recordings, to train on."""

    mean: Tensor  # (outputs,) of the training targets
    scale: Tensor  # (outputs,) their standard deviation
    doubt: Tensor  # (outputs,) factor on sd; see training.metrics.doubt

    def __init__(self, config: EmgGruConfig):
        super().__init__()
        self.config = config
        self.inner = nn.Linear(config.features, config.inner)
        self.gru = nn.GRU(config.inner, config.hidden, batch_first=True)
        self.value = nn.Linear(config.hidden, config.outputs)
        self.log_sd = nn.Linear(config.hidden, config.outputs)
        self.register_buffer("mean", torch.zeros(config.outputs))
        self.register_buffer("scale", torch.ones(config.outputs))
        self.register_buffer("doubt", torch.ones(config.outputs))

    def forward(self, features: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``features (1, f)`` and state ``h (1, hidden)`` to values, sd ``(1, outputs)`` and h'.

        Cho et al. 2014 as PyTorch orders it: reset, update and new gate, in 3 blocks of rows.
        """
        x = torch.relu(self.inner(features))
        g, blocks = self.gru, self.config.hidden
        xr, xz, xn = F.linear(x, *g.all_weights[0][0::2]).split(blocks, 1)
        hr, hz, hn = F.linear(h, *g.all_weights[0][1::2]).split(blocks, 1)
        z = torch.sigmoid(xz + hz)
        n = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
        h = n + z * (h - n)
        value, log_sd = self.value(h), self.log_sd(h)
        return self.mean + self.scale * value, self.doubt * self.scale * log_sd.exp(), h

    def sequence(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``(n, steps, f)`` from zero state to standardised values and log sd, ``(n, steps, o)``.

        The doubt is read off the state without shaping it: accuracy does not pay for it.
        """
        h, _ = self.gru(torch.relu(self.inner(features)))
        return self.value(h), self.log_sd(h.detach())
