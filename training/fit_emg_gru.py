"""Fits the EMG GRU: joint torque from a stream of EMG features."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.emg_gru import EmgGru, EmgGruConfig
from training.emg_steps import Trial
from training.losses import doubt_loss

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmgFit:
    """How the network is trained; everything that changes the result."""

    epochs: int = 20
    batches: int = 25  # in an epoch
    batch: int = 16  # excerpts
    steps: int = 400  # in an excerpt
    settle: int = 50  # first steps of an excerpt, not scored: the state starts empty
    gain: float = 0.15  # electrodes differ from day to day: each excerpt's, share
    noise: float = 0.02  # standard deviation added to the features
    rate: float = 5e-3
    decay: float = 1e-2
    seed: int = 1
    inner: int = 16
    hidden: int = 32


def fit_emg_gru(trials: Sequence[Trial], fit: EmgFit) -> tuple[EmgGru, list[float]]:
    """Train on random excerpts; the network in eval mode, and the loss of each epoch.

    Excerpts rather than trials, so that it cannot learn when in a trial the effort comes.  AdamW
    with one cosine cycle; the same seed gives the same weights on the same machine.
    """
    torch.manual_seed(fit.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    rng = torch.Generator().manual_seed(fit.seed)
    every = torch.from_numpy(np.concatenate([t.targets for t in trials]))
    net = EmgGru(EmgGruConfig(trials[0].features.shape[1], fit.inner, fit.hidden, every.shape[1]))
    net.mean.copy_(every.mean(0))
    net.scale.copy_(every.std(0))
    optimiser = torch.optim.AdamW(net.parameters(), fit.rate, weight_decay=fit.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, fit.rate, total_steps=fit.epochs * fit.batches, pct_start=0.1
    )
    losses = []
    for epoch in range(fit.epochs):
        total = 0.0
        for _ in range(fit.batches):
            x, y = _excerpts(trials, fit, rng)
            value, log_sd = (v[:, fit.settle :] for v in net.sequence(x))
            wanted = ((y - net.mean) / net.scale)[:, fit.settle :]
            error = F.mse_loss(value, wanted)
            optimiser.zero_grad(set_to_none=True)
            (error + doubt_loss(value, log_sd, wanted)).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += error.item()
        losses.append(total / fit.batches)
        log.info("epoch %3d  mean squared error %.4f (standardised)", epoch + 1, losses[-1])
    return net.eval(), losses


def predict_steps(
    net: EmgGru, features: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values and standard deviations ``(steps, outputs)`` of one recording, from zero state."""
    with torch.inference_mode():
        value, log_sd = net.sequence(torch.from_numpy(features)[None])
        values = net.mean + net.scale * value[0]
        return values.numpy(), (net.doubt * net.scale * log_sd[0].exp()).numpy()


def _excerpts(trials: Sequence[Trial], fit: EmgFit, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features and targets ``(batch, steps, ...)``; every trial is as likely as any other."""
    xs, ys = [], []
    for k in torch.randint(len(trials), (fit.batch,), generator=rng).tolist():
        x, y = trials[k].features, trials[k].targets
        start = int(torch.randint(max(1, len(x) - fit.steps + 1), (), generator=rng))
        xs.append(torch.from_numpy(x[start : start + fit.steps]))
        ys.append(torch.from_numpy(y[start : start + fit.steps]))
    x = torch.stack(xs)
    gain = 1 + fit.gain * (2 * torch.rand(fit.batch, 1, 1, generator=rng) - 1)
    return x * gain + fit.noise * torch.randn(x.shape, generator=rng), torch.stack(ys)
