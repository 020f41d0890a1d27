"""Teaches the causal twin: what LFADS says of every bin in hindsight, from the past alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.streaming import AHEAD, LAGS, Twin, TwinConfig
from training.emg import Scale

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class TwinFit:
    """How the twin is taught; everything that changes the result but data and sizes."""

    epochs: int = 40
    batches: int = 20  # in an epoch
    batch: int = 16  # excerpts
    bins: int = 300  # in an excerpt
    settle: int = 75  # first bins of an excerpt, not scored: the state starts empty
    gain: float = 0.1  # electrodes differ from day to day: each excerpt's channels, share
    rate: float = 4e-3
    decay: float = 1e-3
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.settle < self.bins:
            raise ValueError(f"settle must be 0 to {self.bins - 1} bins, is {self.settle}")


@dataclass(frozen=True)
class Taught:
    """One recording: what the device hears, and what the teacher said of it."""

    bins: F64  # (bins, channels) microvolts, the device's chain
    teacher: F64  # (bins, channels) activation; NaN where no window reached


def fit_twin(
    lessons: Sequence[Taught],
    scale: Scale,
    fit: TwinFit,
    config: TwinConfig,
    report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Twin:
    """Train on random excerpts, AdamW with one cosine cycle; the network in eval mode.

    ``scale`` is the teacher's.  The same seed gives the same weights on the same machine.
    Raises ValueError for recordings too short for an excerpt.
    """
    torch.manual_seed(fit.seed)
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(fit.seed)
    net = Twin(config)
    net.scaled.clip.copy_(torch.from_numpy(scale.clip))
    net.scaled.unit.copy_(torch.from_numpy(scale.unit))
    pool = [_pair(one) for one in lessons if len(one.bins) >= fit.bins]
    if not pool:
        raise ValueError(f"no recording has {fit.bins} bins: record longer, or shorten fit.bins")
    known = torch.cat([wanted for _, wanted in pool])
    spread = torch.nan_to_num(known, nan=0.0).flatten(0, 1).std(0).clamp(min=1e-3)  # (channels,)
    optimiser = torch.optim.AdamW(net.parameters(), fit.rate, weight_decay=fit.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, fit.rate, total_steps=fit.epochs * fit.batches, pct_start=0.1
    )
    odds = torch.tensor([float(len(bins)) for bins, _ in pool])
    for epoch in range(fit.epochs):
        total = 0.0
        for _ in range(fit.batches):
            x, wanted = _excerpts(pool, odds, fit, rng)
            said = net.sequence(x)[:, fit.settle :]
            wanted = wanted[:, fit.settle :]
            ok = torch.isfinite(wanted)
            error = torch.where(ok, (said - wanted.nan_to_num()) / spread, 0.0)
            loss = F.mse_loss(error, torch.zeros_like(error), reduction="sum") / ok.sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        report(epoch + 1, total / fit.batches)
    return net.eval()


def follow(net: Twin, bins: F64) -> F64:
    """A whole recording from zero state: ``(bins, lags + ahead, channels)`` as said at each bin."""
    with torch.inference_mode():
        x = torch.from_numpy(np.asarray(bins, np.float32))[None]
        return np.asarray(net.sequence(x)[0].numpy(), np.float64)


def aligned(said: F64, which: int) -> F64:
    """What was said of each bin, ``(bins, channels)``, by one of ``LAGS`` then ``AHEAD``.

    NaN where it was never spoken of.
    """
    shift = (*(-lag for lag in LAGS), *AHEAD)[which]
    out = np.full((len(said), said.shape[2]), np.nan)
    if shift <= 0:
        out[: len(said) + shift] = said[-shift:, which]
    else:
        out[shift:] = said[:-shift, which]
    return out


def _pair(one: Taught) -> tuple[Tensor, Tensor]:
    """Bins, and the teacher's words at each of the twin's lags, ``(t, lags + ahead, channels)``."""
    n = min(len(one.bins), len(one.teacher))
    wanted = np.full((n, len(LAGS) + len(AHEAD), one.bins.shape[1]), np.nan, np.float32)
    for k, shift in enumerate((*(-lag for lag in LAGS), *AHEAD)):
        if shift <= 0:
            wanted[-shift:, k] = one.teacher[: n + shift]
        else:
            wanted[: n - shift, k] = one.teacher[shift:n]
    return torch.from_numpy(one.bins[:n].astype(np.float32)), torch.from_numpy(wanted)


def _excerpts(
    pool: Sequence[tuple[Tensor, Tensor]], odds: Tensor, fit: TwinFit, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    xs, ys = [], []
    for k in torch.multinomial(odds, fit.batch, replacement=True, generator=rng).tolist():
        bins, wanted = pool[k]
        start = int(torch.randint(len(bins) - fit.bins + 1, (), generator=rng))
        xs.append(bins[start : start + fit.bins])
        ys.append(wanted[start : start + fit.bins])
    x = torch.stack(xs)
    gain = 1 + fit.gain * (2 * torch.rand(fit.batch, 1, x.shape[2], generator=rng) - 1)
    return x * gain, torch.stack(ys)
