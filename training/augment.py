"""What another day does to a B-mode picture: gain, depth gain, shift, scale, speckle."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augment:
    """Largest changes; each picture draws its own, uniform between minus and plus."""

    gain: float = 0.15  # share of the brightness
    offset: float = 0.15  # in the standardised brightness of the network's input
    depth_gain: float = 0.15  # share, growing linearly over depth
    shift: float = 0.02  # share of the picture, across and along depth
    scale: float = 0.02  # share
    speckle: float = 0.15  # standard deviation, standardised brightness


def move(x: Tensor, a: Augment, rng: torch.Generator) -> Tensor:
    """Shift and scale ``(n, channels, lines, samples)``, all channels of a picture alike."""
    theta = torch.zeros(len(x), 2, 3, device=x.device)
    theta[:, 0, 0] = 1 + _draw(rng, a.scale, len(x))
    theta[:, 1, 1] = 1 + _draw(rng, a.scale, len(x))
    theta[:, :, 2] = 2 * _draw(rng, a.shift, len(x), 2)  # affine_grid counts from -1 to 1
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def brighten(image: Tensor, a: Augment, rng: torch.Generator) -> Tensor:
    """Gain, depth gain, speckle and offset of standardised brightness ``(n, 1, lines, samples)``.

    Depth runs along the last axis.
    """
    each = (len(image), 1, 1, 1)
    depth = torch.linspace(-1, 1, image.shape[-1], device=image.device)
    gain = 1 + _draw(rng, a.gain, *each) + _draw(rng, a.depth_gain, *each) * depth
    noise = torch.randn(image.shape, generator=rng, device=image.device) * a.speckle
    return image * gain + _draw(rng, a.offset, *each) + noise


def _draw(rng: torch.Generator, limit: float, *shape: int) -> Tensor:
    return (2 * torch.rand(*shape, generator=rng, device=rng.device) - 1) * limit
