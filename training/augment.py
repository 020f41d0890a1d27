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


def augment(image: Tensor, a: Augment, rng: torch.Generator) -> Tensor:
    """A changed copy of ``image (n, 1, lines, samples)``; depth runs along the last axis."""
    n = len(image)

    def draw(limit: float, *shape: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=rng) - 1) * limit

    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = 1 + draw(a.scale, n)
    theta[:, 1, 1] = 1 + draw(a.scale, n)
    theta[:, :, 2] = 2 * draw(a.shift, n, 2)  # affine_grid counts from -1 to 1
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    x = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    depth = torch.linspace(-1, 1, image.shape[-1])
    gain = 1 + draw(a.gain, n, 1, 1, 1) + draw(a.depth_gain, n, 1, 1, 1) * depth
    noise = torch.randn(x.shape, generator=rng) * a.speckle
    return x * gain + draw(a.offset, n, 1, 1, 1) + noise
