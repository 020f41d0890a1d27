"""What another scanner, depth or hand does to a picture with maps; and pictures of no calf."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

UNKNOWN, NO, YES = 0, 1, 2  # what a label says of a pixel; 0 is also what lies outside a picture


@dataclass(frozen=True)
class Change:
    """Largest changes; each picture draws its own, uniform between the limits."""

    depth: tuple[float, float] = (0.45, 1.05)  # of the picture that is shown, from the skin down
    width: tuple[float, float] = (0.5, 1.05)  # of the picture that is shown, from anywhere
    shift: float = 0.04  # of the depth, half-heights
    tilt: float = 0.12  # depth per way along the leg, both in half-sides
    warp: float = 0.08  # of the depth, half-heights: layers grow thinner, thicker and bent
    flip: float = 0.0  # share mirrored; the way fascicles run tells MG from SOL
    fade: float = 0.8  # share of its brightness that a sheet may lose, here and there
    gamma: float = 0.4  # natural logarithm of the exponent
    gain: float = 0.4  # share of the brightness
    depth_gain: float = 0.4  # share, growing linearly over depth
    speckle: float = 0.4  # standard deviation of the logarithm of the brightness
    noise: float = 0.03  # of full scale
    blur: float = 0.3  # share of pictures
    shadow: float = 0.3  # share of pictures with a dim strip; the maps stay
    contact: float = 0.1  # share of pictures black at one end; nothing is claimed there
    none: float = 0.06  # share of pictures that show no calf: noise, nothing, or a negative


def change(
    picture: Tensor, label: Tensor, c: Change, side: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Changed copies: brightness 0..255 ``(n, 1, side, side)`` and labels ``(n, 3, side, side)``.

    ``picture (n, 1, lines, samples)`` holds float 0..255, ``label (n, 3, lines, samples)`` float
    UNKNOWN, NO or YES.
    """
    grid = _windows(len(picture), c, side, rng)
    x = F.grid_sample(picture, grid, align_corners=False) / 255
    y = F.grid_sample(label, grid, mode="nearest", align_corners=False)
    x = _faded(x, y[:, :1] == YES, c, rng)
    x = _scanner(x, c, rng)
    x = _shadowed(x, c, rng)
    x, y = _lifted(x, y, c, rng)
    x, y = _emptied(x, y, c, rng)
    x = x + c.noise * torch.rand(len(x), 1, 1, 1, generator=rng) * _normal(x.shape, rng)
    return 255 * x.clamp(0, 1), y


def _windows(n: int, c: Change, side: int, rng: torch.Generator) -> Tensor:
    """Sampling grids: a window that starts at the skin; ``affine_grid`` counts from -1 to 1."""
    depth, width = _between(*c.depth, n, rng), _between(*c.width, n, rng)
    theta = torch.zeros(n, 2, 3)  # rows: depth (the last axis), way along the leg
    theta[:, 0, 0] = depth
    theta[:, 0, 1] = _between(-c.tilt, c.tilt, n, rng)
    theta[:, 0, 2] = depth - 1 + _between(-c.shift, c.shift, n, rng)
    theta[:, 1, 1] = torch.where(torch.rand(n, generator=rng) < c.flip, -width, width)
    theta[:, 1, 2] = (1 - width) * _between(-1, 1, n, rng)
    grid = F.affine_grid(theta, [n, 1, side, side], align_corners=False)
    amount = c.warp * torch.rand(n, 1, 1, generator=rng)
    grid[..., 0] += amount * _smooth(n, side, (5, 5), rng)[:, 0]
    return grid


def _faded(x: Tensor, sheet: Tensor, c: Change, rng: torch.Generator) -> Tensor:
    """Sheets are not bright everywhere: dim them in patches."""
    n, side = len(x), x.shape[-1]
    loss = c.fade * torch.rand(n, 1, 1, 1, generator=rng)
    patches = torch.sigmoid(4 * _smooth(n, side, (7, 4), rng))
    return x * (1 - loss * patches * F.avg_pool2d(sheet.float(), 3, 1, padding=1))


def _scanner(x: Tensor, c: Change, rng: torch.Generator) -> Tensor:
    """Gamma, gain over depth, speckle and sharpness of brightness 0..1."""
    n, side = len(x), x.shape[-1]
    each = (n, 1, 1, 1)
    x = x.clamp(1e-4, 1) ** _between(-c.gamma, c.gamma, n, rng).exp().view(each)
    ramp = torch.linspace(-1, 1, side)
    gain = _between(-c.gain, c.gain, n, rng).view(each)
    x = x * (1 + gain + _between(-c.depth_gain, c.depth_gain, n, rng).view(each) * ramp)
    amount = c.speckle * torch.rand(each, generator=rng)
    x = x * (amount * _grain(x.shape, rng)).exp()
    soft = F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)
    return torch.where(torch.rand(each, generator=rng) < c.blur, soft, x)


def _shadowed(x: Tensor, c: Change, rng: torch.Generator) -> Tensor:
    """Dim a strip of some pictures, from some depth down."""
    n, side = len(x), x.shape[-1]
    at, top = torch.rand(n, 1, 1, 1, generator=rng), 0.6 * torch.rand(n, 1, 1, 1, generator=rng)
    wide = 0.02 + 0.06 * torch.rand(n, 1, 1, 1, generator=rng)
    dim = 0.8 * torch.rand(n, 1, 1, 1, generator=rng)
    dim = dim * (torch.rand(n, 1, 1, 1, generator=rng) < c.shadow)
    place = (torch.arange(side) + 0.5) / side
    strip = torch.exp(-(((place.view(1, 1, -1, 1) - at) / wide) ** 2))
    below = torch.sigmoid(30 * (place.view(1, 1, 1, -1) - top))
    return x * (1 - dim * strip * below)


def _lifted(x: Tensor, y: Tensor, c: Change, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """The probe lifts off at one end of some pictures: black there, and nothing to be claimed."""
    n, side = len(x), x.shape[-1]
    share = 0.05 + 0.3 * torch.rand(n, 1, 1, 1, generator=rng)
    share = share * (torch.rand(n, 1, 1, 1, generator=rng) < c.contact)
    place = ((torch.arange(side) + 0.5) / side).view(1, 1, -1, 1)
    left = torch.rand(n, 1, 1, 1, generator=rng) < 0.5
    off = torch.where(left, place, 1 - place) < share
    return x.masked_fill(off, 0.0), y.masked_fill(off, NO)


def _emptied(x: Tensor, y: Tensor, c: Change, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some pictures become noise, nothing, or their own negative, in which nothing is found."""
    n, side = len(x), x.shape[-1]
    each = (n, 1, 1, 1)
    none = torch.rand(each, generator=rng) < c.none
    kind = torch.randint(3, each, generator=rng)
    level = torch.rand(each, generator=rng)
    decay = torch.linspace(0, 1, side) * -3 * torch.rand(each, generator=rng)
    noise = level * decay.exp() * (0.4 * _grain(x.shape, rng)).exp()
    nothing = 0.3 * level.expand_as(x)
    other = torch.where(kind == 0, noise, torch.where(kind == 1, nothing, 1 - x))
    return torch.where(none, other, x), torch.where(none, torch.full_like(y, NO), y)


def _grain(shape: torch.Size, rng: torch.Generator) -> Tensor:
    """Normal noise, in half of the pictures of grains three pixels wide."""
    fine = _normal(shape, rng)
    coarse = 3 * F.avg_pool2d(fine, 3, 1, padding=1)
    return torch.where(torch.rand(shape[0], 1, 1, 1, generator=rng) < 0.5, fine, coarse)


def _smooth(n: int, side: int, knots: tuple[int, int], rng: torch.Generator) -> Tensor:
    """Random surfaces ``(n, 1, side, side)`` through normal values at ``knots``."""
    values = _normal((n, 1, *knots), rng)
    return F.interpolate(values, (side, side), mode="bicubic", align_corners=True)


def _between(low: float, high: float, n: int, rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=rng)


def _normal(shape: tuple[int, ...] | torch.Size, rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng)
