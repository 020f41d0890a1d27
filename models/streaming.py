"""LFADS on the device, where the future is not known yet: two ways to give activation in time.

``WindowLfads``  the network itself over the last window, one pass with posterior means, read some
                 bins before the newest one: the longer it waits, the more it knows.
``Twin``         a causal network taught to say what LFADS says in hindsight: one small step a bin,
                 its memory in the open, and what comes in the next 50 ms besides.

Both take rectified bins in microvolts, as ``training.emg.EmgChain`` makes them on the device.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.gru import GruWeights, sequence, step
from models.lfads import Inferred, Lfads

BIN_MS = 2.0
# Bins before the newest one, and after it, that a twin speaks of.
LAGS = (0, 5, 10, 25)
AHEAD = (5, 10, 15, 20, 25)
FLOOR = 1e-3  # of scaled EMG, before its logarithm


class Scaled(nn.Module):
    """Microvolts to the scale that the networks know: clipped, then a muscle's effort about 1."""

    clip: Tensor  # (channels,) microvolts
    unit: Tensor  # (channels,) microvolts

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("clip", torch.full((channels,), torch.inf))
        self.register_buffer("unit", torch.ones(channels))

    def forward(self, bins: Tensor) -> Tensor:
        """``(..., channels)``, zero or more."""
        return torch.minimum(bins, self.clip) / self.unit


class WindowLfads(nn.Module):
    """``(1, bins, channels)`` microvolts, oldest first, to activation ``(1, channels)``.

    ``lag`` bins before the newest: LFADS is a smoother and knows the last bins worst.  Never more
    than what the EMG is clipped at.
    """

    def __init__(self, net: Lfads, scaled: Scaled, lag: int):
        super().__init__()
        if not 0 <= lag < net.config.bins:
            raise ValueError(f"lag must be 0 to {net.config.bins - 1} bins, is {lag}")
        controlled = [net.ci_encoder] if net.config.controlled else []
        if any((e.first.abs() > net.config.clip).any() for e in (net.ic_encoder, *controlled)):
            raise ValueError("an encoder begins beyond the clip, which ONNX's GRU does not apply")
        self.net, self.scaled, self.lag = net, scaled, lag

    def forward(self, window: Tensor) -> Tensor:
        """Static and without custom operators, so that it exports."""
        said: Inferred = self.net(self.scaled(window), naive=True)
        now = said.activation[:, self.net.config.bins - 1 - self.lag]
        return torch.minimum(now, self.scaled.clip / self.scaled.unit)


@dataclass(frozen=True)
class TwinConfig:
    """Sizes."""

    channels: int
    inner: int = 32  # after the first linear layer
    hidden: int = 128


class Twin(nn.Module):
    """One bin ``(1, channels)`` and state ``(1, hidden)`` to activation at every lag, and ahead.

    Values are ``(1, (lags + ahead) * channels)`` in the order of ``LAGS`` then ``AHEAD``, all
    channels of the first lag first; zero or more, in the teacher's scale.
    """

    def __init__(self, config: TwinConfig):
        super().__init__()
        c = self.config = config
        self.scaled = Scaled(c.channels)
        self.inner = nn.Linear(2 * c.channels, c.inner)
        self.cell = GruWeights(c.inner, c.hidden, (c.inner, c.hidden))
        self.said = nn.Linear(c.hidden, (len(LAGS) + len(AHEAD)) * c.channels)

    def forward(self, bins: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The device's step: values and the next state."""
        h = step(self.cell.project(self._seen(bins)), h, self.cell.u)
        return F.softplus(self.said(h)), h

    def sequence(self, bins: Tensor) -> Tensor:
        """``(n, t, channels)`` from zero state to ``(n, t, lags + ahead, channels)``: to train on.

        The same numbers as ``forward`` step by step.
        """
        p = self.cell.project(self._seen(bins)).transpose(0, 1)[:, None]
        h = sequence(p, p.new_zeros(1, len(bins), self.config.hidden), self.cell.u[None])
        said: Tensor = F.softplus(self.said(h[:, 0].transpose(0, 1)))
        return said.reshape(*said.shape[:2], len(LAGS) + len(AHEAD), self.config.channels)

    def _seen(self, bins: Tensor) -> Tensor:
        """Size and its logarithm: at rest only the latter moves, in a burst mostly the former."""
        x = self.scaled(bins)
        return torch.relu(self.inner(torch.cat([x, torch.log(x + FLOOR)], -1)))


class TwinAt(nn.Module):
    """A twin that speaks of one lag: values ``(1, channels)``, then what it knows of later bins.

    Returns values, ``(1, len(ahead_ms) * channels)`` and the state.
    """

    def __init__(self, twin: Twin, lag: int):
        super().__init__()
        if lag not in LAGS:
            raise ValueError(f"lag must be one of {LAGS} bins, is {lag}")
        # Bins after the newest one, in the order of time, and where the twin keeps them.
        shifts = [*(-k for k in LAGS), *AHEAD]
        later = sorted((shift, k) for k, shift in enumerate(shifts) if shift > -lag)
        self.twin, self.at, self._later = twin, LAGS.index(lag), [k for _, k in later]
        self.ahead_ms = tuple(BIN_MS * (shift + lag) for shift, _ in later)

    def forward(self, bins: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As ``Twin``, in this order."""
        said, h = self.twin(bins, h)
        c = self.twin.config.channels
        by_time = said.reshape(len(LAGS) + len(AHEAD), c)
        return by_time[self.at][None], by_time[self._later].reshape(1, -1), h
