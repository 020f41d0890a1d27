"""What keeps LFADS from copying its input: a part of it hidden, noise that differs, or shifts.

Noise that several channels share, such as cross-talk, can be copied from one to the other; then
the network reproduces noise.  Remedies, singly or together:

``hidden``  coordinated dropout (Keshtkaran & Pandarinath 2019): the network learns from exactly
            those entries that it was not shown.
``blocks``  plain: what is hidden is hidden in all channels, for several bins.  Then no neighbour
            tells the noise of that moment, and what is longer than a block has to be explained.
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

    block_bins: int = 0  # hidden at once, in all channels; 0 = every entry by itself
    grain: float = 0.0  # SD of the Gamma noise on the input; 0 = off
    shift_sd_bins: float = 0.0  # two different random shifts; 0 = off
    shift_max_bins: int = 6

    def __post_init__(self) -> None:
        if wrong := [k for k, v in vars(self).items() if v < 0]:
            raise ValueError(f"noise.{wrong[0]} must not be negative")


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
            torch.manual_seed(int(torch.randint(2**31, (), generator=rng, device=rng.device)))
            shown = shown * torch.distributions.Gamma(k, k).sample(x.shape).to(x)
    if not hidden:
        return Lesson(shown, target, torch.ones_like(x))
    kept = _kept(x, hidden, noise.block_bins, rng)
    # Single entries missing make a bin's sum too small, so the others make up for them; a bin of
    # which nothing is missing must look as it does in use.
    more = 1.0 if noise.block_bins else 1 / (1 - hidden)
    return Lesson(more * shown * kept, target, 1 - kept)


def _kept(x: Tensor, hidden: float, block: int, rng: torch.Generator) -> Tensor:
    """1 where an entry is shown: each by itself, or whole blocks of bins in all channels."""
    if not block:
        return (torch.rand(x.shape, generator=rng, device=rng.device) >= hidden).to(x)
    b, t, _ = x.shape
    # Blocks begin anywhere: no bin is always the first of one.
    first = torch.randint(block, (b, 1), generator=rng, device=rng.device)
    number = (torch.arange(t, device=rng.device)[None] + first) // block
    drawn = torch.rand(b, t // block + 2, generator=rng, device=rng.device) >= hidden
    return drawn.gather(1, number)[..., None].expand_as(x).to(x)


def _shifted(x: Tensor, noise: InputNoise, rng: torch.Generator) -> Tensor:
    """Each channel of each window moved by its own whole number of bins, edges repeated."""
    b, t, c = x.shape
    by = torch.randn(b, 1, c, generator=rng, device=rng.device) * noise.shift_sd_bins
    by = by.round().clamp(-noise.shift_max_bins, noise.shift_max_bins).long()
    at = torch.arange(t, device=x.device)[None, :, None] - by
    return x.gather(1, at.clamp(0, t - 1))
