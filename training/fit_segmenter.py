"""Fits the segmenter to pictures whose maps are known in part."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.segmenter import Segmenter, SegmenterConfig
from training.augment_segments import UNKNOWN, YES, Change, change
from training.segments import Segments

log = logging.getLogger(__name__)

SIDE = 128  # of the network's picture
EVERY = 100  # steps between lines of the log


@dataclass(frozen=True)
class SegmenterFit:
    """How the network is trained; everything that changes the result."""

    steps: int = 1200
    batch: int = 32
    rate: float = 4e-3
    decay: float = 2e-2
    seed: int = 1
    bf16: bool = True  # three times as fast on a CPU that has it
    change: Change = field(default_factory=Change)
    model: SegmenterConfig = field(default_factory=SegmenterConfig)


def fit_segmenter(
    sources: Sequence[tuple[Segments, float]], fit: SegmenterFit
) -> tuple[Segmenter, list[float]]:
    """Train on ``sources``, each with its share of a batch; the network in eval mode and losses.

    The loss of a step is cross-entropy plus Dice of what is known; the list holds its mean over
    every EVERY steps.  AdamW with one cosine cycle.  The same seed gives the same weights on the
    same machine.
    """
    torch.manual_seed(fit.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    rng = torch.Generator().manual_seed(fit.seed)
    parts = [(*_tensors(s), round(share * fit.batch)) for s, share in sources]
    net = Segmenter(fit.model).train()
    # Faster on a CPU; torch's own stubs do not know the argument.
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), fit.rate, weight_decay=fit.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, fit.rate, total_steps=fit.steps, pct_start=0.1
    )
    losses, recent = [], []
    for step in range(1, fit.steps + 1):
        drawn = [_draw(p, y, n, fit.change, rng) for p, y, n in parts]
        x, y = (torch.cat(part) for part in zip(*drawn, strict=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=fit.bf16):
            logits = net.logits(standardised(x))
        loss = map_loss(logits.float(), y == YES, y != UNKNOWN)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        recent.append(loss.item())
        if step % EVERY == 0 or step == fit.steps:
            losses.append(float(np.mean(recent)))
            log.info("step %5d  loss %.4f", step, losses[-1])
            recent = []
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return net.eval(), losses


def map_loss(logits: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy plus Dice loss, mean over maps; all ``(n, 3, lines, samples)``.

    Only what is ``known`` counts.  Dice over the whole batch (Milletari et al., V-Net, 2016,
    arXiv:1606.04797, without the squares): a map that a picture lacks does not divide by zero.
    """
    y, k = wanted.float(), known.float()
    entropy = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    share = torch.sigmoid(logits)
    over = (0, 2, 3)
    entropy = (entropy * k).sum(over) / k.sum(over).clamp(min=1)
    both = (share * y * k).sum(over)
    dice = (2 * both + 1) / ((share * k).sum(over) + (y * k).sum(over) + 1)
    return (entropy + 1 - dice).mean()


def standardised(brightness: Tensor) -> Tensor:
    """Brightness 0..255 as the network takes it: the ``normalise`` step of the device."""
    return (brightness - 50) / 50


def predict(net: Segmenter, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Maps ``(n, 3, 128, 128)`` of pictures ``(n, lines, samples)`` uint8, resampled if need be."""
    x = torch.from_numpy(pictures).float()[:, None]
    x = F.interpolate(x, (SIDE, SIDE), mode="area") if x.shape[-2:] != (SIDE, SIDE) else x
    with torch.inference_mode():
        maps = torch.cat([net(part) for part in standardised(x).split(32)])
    return np.asarray(maps.numpy(), np.float32)


def _tensors(s: Segments) -> tuple[Tensor, Tensor]:
    """Pictures ``(n, 1, ...)`` and labels ``(n, 3, ...)``, both uint8."""
    return torch.from_numpy(s.pictures)[:, None], torch.from_numpy((s.maps + 1) * s.known)


def _draw(
    pictures: Tensor, labels: Tensor, n: int, c: Change, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    at = torch.randint(len(pictures), (n,), generator=rng)
    return change(pictures[at].float(), labels[at].float(), c, SIDE, rng)
