"""What keeps LFADS from copying its input: a part of it hidden, noise that differs, or shifts.

Noise that several channels share, such as cross-talk, can be copied from one to the other; then
the network reproduces noise.  Three remedies, singly or together:

``hidden``  coordinated dropout (Keshtkaran & Pandarinath 2019): the network learns from exactly
            those entries that it was not shown.
``grain``   plain: the input is multiplied by Gamma noise of mean 1, the target is not.
``shift``   input and target are moved in time by different random shifts of each channel.  Off by
            default: the method is described in a patent application of Emory University; clear it
            for your use before you switch it on.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class InputNoise:
    """What is done to windows in training, besides coordinated dropout; never in use."""

    grain: float = 0.0  # SD of the Gamma noise on the input; 0 = off
    shift_sd_bins: float = 0.0  # two different random shifts; 0 = off
    shift_max_bins: int = 6

    def __post_init__(self) -> None:
        if self.grain < 0 or self.shift_sd_bins < 0 or self.shift_max_bins < 0:
            raise ValueError("noise.grain, shift_sd_bins and shift_max_bins must not be negative")


class Lesson(NamedTuple):
    """A batch as training sees it; ``(b, t, channels)`` each."""

    shown: Tensor
    target: Tensor
    learn_from: Tensor  # 1 where the likelihood teaches


def lesson(x: Tensor, hidden: float, noise: InputNoise, rng: torch.Generator) -> Lesson:
    """Input and target of windows ``x (b, t, channels)``; ``hidden`` is the share not shown.

    Shifts come first, and what teaches is counted on the target's own bins.
    """
    shown = target = x
    if noise.shift_sd_bins:
        shown, target = (_shifted(x, noise, rng) for _ in range(2))
    if noise.grain:
        k = 1 / noise.grain**2
        # torch draws Gamma variates from its global generator only: seed it from ours.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=rng)))
            shown = shown * torch.distributions.Gamma(k, k).sample(x.shape).to(x)
    if not hidden:
        return Lesson(shown, target, torch.ones_like(x))
    kept = (torch.rand(x.shape, generator=rng, device=rng.device) >= hidden).to(x)
    return Lesson(shown * kept / (1 - hidden), target, 1 - kept)


def _shifted(x: Tensor, noise: InputNoise, rng: torch.Generator) -> Tensor:
    """Each channel of each window moved by its own whole number of bins, edges repeated."""
    b, t, c = x.shape
    by = torch.randn(b, 1, c, generator=rng, device=rng.device) * noise.shift_sd_bins
    by = by.round().clamp(-noise.shift_max_bins, noise.shift_max_bins).long()
    at = torch.arange(t, device=x.device)[None, :, None] - by
    return x.gather(1, at.clamp(0, t - 1))
