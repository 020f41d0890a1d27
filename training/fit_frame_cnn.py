"""Fits the frame CNN: angle and torque from single B-mode pictures."""

import logging
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from models.frame_cnn import FrameCnn, FrameCnnConfig
from training.augment import Augment, brighten, move
from training.frames import Clips
from training.losses import doubt_loss

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrameFit:
    """How the network is trained; everything that changes the result."""

    epochs: int = 40
    batch: int = 32
    rate: float = 2e-3
    decay: float = 2e-2
    seed: int = 1
    augment: Augment = field(default_factory=Augment)
    model: FrameCnnConfig = field(default_factory=FrameCnnConfig)


def fit_frame_cnn(clips: Clips, fit: FrameFit) -> tuple[FrameCnn, list[float]]:
    """Train on every frame of ``clips``; the network in eval mode, and the loss of each epoch.

    AdamW with one cosine cycle.  The same seed gives the same weights on the same machine.
    """
    torch.manual_seed(fit.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    rng = torch.Generator().manual_seed(fit.seed)
    images, targets = torch.from_numpy(clips.images), torch.from_numpy(clips.targets)
    net = FrameCnn(fit.model)
    # A third faster on a CPU; torch's own stubs do not know the argument.
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.mean.copy_(targets.mean(0))
    net.scale.copy_(targets.std(0))
    wanted = (targets - net.mean) / net.scale
    steps = max(1, len(images) // fit.batch)
    optimiser = torch.optim.AdamW(net.parameters(), fit.rate, weight_decay=fit.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, fit.rate, total_steps=fit.epochs * steps, pct_start=0.1
    )
    losses = []
    for epoch in range(fit.epochs):
        net.train()
        total = 0.0
        order = torch.randperm(len(images), generator=rng)
        for batch in order[: steps * fit.batch].split(fit.batch):
            value, log_sd = net.standardised(
                brighten(move(images[batch], fit.augment, rng), fit.augment, rng)
            )
            error = F.mse_loss(value, wanted[batch])
            loss = error + doubt_loss(value, log_sd, wanted[batch])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += error.item()
        losses.append(total / steps)
        log.info("epoch %3d  mean squared error %.4f (standardised)", epoch + 1, losses[-1])
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return net.eval(), losses


def predict(
    net: FrameCnn, images: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values and standard deviations ``(n, outputs)`` of pictures, in the targets' units."""
    with torch.inference_mode():
        parts = [net(x) for x in torch.from_numpy(images).split(64)]
    values, sd = (torch.cat(p).numpy() for p in zip(*parts, strict=True))
    return values, sd
