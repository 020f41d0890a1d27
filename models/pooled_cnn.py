"""The trunk for people never seen: what the tissue looks like on average inside each muscle.

Speckle and streaks sit on the tissue, so filters fitted to a few dozen people learn those people's
tissue by heart.  This trunk has fixed ones: how much contrast lies along each direction (fascicle
streaks tell their angle in anybody's muscle), how bright and how varied the muscle is against its
sheets (a contracting muscle darkens, its sheets do not), each averaged over the upper and the lower
part of a muscle (deeper parts darken more, active fascicles bend); and from the masks how thick
the muscles are and where they lie.  Only what follows from those few numbers is learned.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DIRECTIONS = 12
WAVES = (4.0, 7.0)  # pixels from streak to streak: about 1.8 and 3 mm
SIZE = 11  # of a filter, pixels
ALONG = 3.0  # standard deviation of a filter along its streak, pixels
ACROSS = 0.45  # the same across it, in waves
ENERGIES = DIRECTIONS * len(WAVES)
BORDER = 3  # lines of an energy map, left and right, where a filter sticks out of the picture
QUIET = 0.1  # energy that counts as none
PLACES = 4  # along the leg, at which thickness is read
FAR = 4.0  # standard deviations at which a look counts no further
FULL = 0.4  # share of the picture's depth that a thick muscle takes: scales thickness to about 1
REGIONS = 5  # in the order MG upper, SOL upper, MG lower, SOL lower, sheets
LOOKS = REGIONS * (ENERGIES + len(WAVES) + 1) + (REGIONS - 1) + 2 * (PLACES + 1)


class OrientedEnergy(nn.Module):
    """How much of a picture's contrast lies along each direction, at two scales; nothing to learn.

    Quadrature pairs of Gabor filters (Daugman 1985; for texture: Jain & Farrokhnia 1991).
    """

    kernels: Tensor  # (2 * ENERGIES, 1, SIZE, SIZE), even filters then odd

    def __init__(self) -> None:
        super().__init__()
        bank = [_gabor(k, wave, odd) for odd in (False, True) for wave in WAVES
                for k in range(DIRECTIONS)]  # fmt: skip
        self.register_buffer("kernels", torch.stack(bank)[:, None], persistent=False)

    def forward(self, regions: Tensor) -> Tensor:
        """``regions (n, 6, 128, 128)`` to energies ``(n, ENERGIES, 64, 64)``."""
        picture = regions[:, :3].sum(1, keepdim=True)
        even, odd = F.conv2d(picture, self.kernels, stride=2, padding=SIZE // 2).chunk(2, 1)
        return even * even + odd * odd


class Looks(nn.Module):
    """Everything that is read off a picture, nothing of it learned."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = OrientedEnergy()

    def forward(self, regions: Tensor) -> Tensor:
        """``regions (n, 6, 128, 128)`` (``models.state_cnn.rois_and_sheets``) to ``(n, LOOKS)``."""
        return looks(self.energy(regions), regions)


class Standard(nn.Module):
    """Looks in standard deviations of the training pictures, what is far outside cut off.

    Not a batch norm: a batch has spoilt pictures in it, whose looks would stretch the scale.
    """

    mean: Tensor  # (LOOKS,) of the training pictures
    scale: Tensor  # (LOOKS,) their standard deviation

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(LOOKS))
        self.register_buffer("scale", torch.ones(LOOKS))

    def learn(self, looks: Tensor) -> None:
        """From the looks ``(n, LOOKS)`` of every training picture; one that never moves stays."""
        self.mean.copy_(looks.mean(0))
        sd = looks.std(0)
        self.scale.copy_(torch.where(sd > 0, sd, 1.0))

    def forward(self, looks: Tensor) -> Tensor:
        """``(n, LOOKS)`` to the same; beyond FAR it is no reason to estimate further outside."""
        return ((looks - self.mean) / self.scale).clamp(-FAR, FAR)


def pooled_trunk(hidden: int, dropout: float) -> tuple[nn.Module, nn.Module]:
    """Regions to looks, and the two linear layers from there to features ``(n, hidden)``."""
    rest = nn.Sequential(
        Standard(),
        nn.Linear(LOOKS, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
    )
    return Looks(), rest


def looks(energy: Tensor, regions: Tensor) -> Tensor:
    """``energy (n, ENERGIES, 64, 64)`` and ``regions (n, 6, 128, 128)`` to ``(n, LOOKS)``.

    Per region, in this order: shares of the contrast by direction at either scale, log of the
    whole contrast at either scale, brightness above the sheets' (muscles only), SD of brightness;
    then ``form``.
    """
    n, masks = regions.shape[0], regions[:, 3:]
    mean = averages(energy, masks).reshape(n, REGIONS, len(WAVES), DIRECTIONS)
    total = mean.sum(3, keepdim=True) + QUIET
    picture = regions[:, :3].sum(1, keepdim=True)
    both = F.avg_pool2d(torch.cat([picture, picture * picture], 1), 2)
    bright, square = averages(both, masks).reshape(n, REGIONS, 2).unbind(2)
    spread = (square - bright * bright).clamp(min=1e-4).sqrt()
    # The sheets' own brightness is 0: everything is measured against it.
    parts = [mean / total * DIRECTIONS, total.log(), bright[:, : REGIONS - 1], spread, form(masks)]
    return torch.cat([p.flatten(1) for p in parts], 1)


def averages(texture: Tensor, masks: Tensor) -> Tensor:
    """Mean of each channel in each of REGIONS: ``(n, REGIONS * c)``.  No region, no texture: 0.

    ``texture (n, c, 64, 64)``, ``masks (n, 3, 128, 128)`` MG, SOL, sheets.  A muscle's upper part
    fades linearly into its lower part, from sheet to sheet.  BORDER is left out: the sides of the
    picture, where every muscle is cut off, would pass for streaks straight down.
    """
    small = F.avg_pool2d(masks, masks.shape[-1] // texture.shape[-1])  # (n, 3, lines, samples)
    muscle, sheets = small[:, :2], small[:, 2:]
    n = small.shape[-1]
    # A product with a constant triangle: every engine has it, unlike a running sum.
    above = muscle @ torch.ones(n, n, dtype=small.dtype, device=small.device).triu()
    share = above / above[..., -1:].clamp(min=1e-3)
    where = _inside(torch.cat([muscle * (1 - share), muscle * share, sheets], 1))
    total = where.sum(2, keepdim=True).clamp(min=1.0)
    mean = (where / total) @ _inside(texture).transpose(1, 2)  # (n, REGIONS, c)
    return mean.flatten(1)


def form(masks: Tensor) -> Tensor:
    """MG and SOL: thickness at PLACES along the leg, and mean depth; shares of the window."""
    muscle = masks[:, :2]
    thick = muscle.mean(3)  # (n, 2, lines)
    places = thick.reshape(masks.shape[0], 2, PLACES, -1).mean(3)
    depth = torch.linspace(0, 1, masks.shape[3], dtype=masks.dtype, device=masks.device)
    middle = (muscle * depth).sum((2, 3)) / muscle.sum((2, 3)).clamp(min=1.0)
    return torch.cat([places.flatten(1) / FULL, middle], 1)


def _inside(x: Tensor) -> Tensor:
    """``(n, c, lines, samples)`` without the border, one axis for all places."""
    return x[:, :, BORDER:-BORDER].flatten(2)


def _gabor(k: int, wave: float, odd: bool) -> Tensor:
    """One filter ``(SIZE, SIZE)`` of norm 1 that does not answer to mere brightness."""
    at = torch.arange(SIZE, dtype=torch.float32) - SIZE // 2
    x, z = at[:, None], at[None, :]
    a = torch.tensor(torch.pi * k / DIRECTIONS)
    across, along = z * a.cos() - x * a.sin(), x * a.cos() + z * a.sin()
    window = torch.exp(-0.5 * ((across / (ACROSS * wave)) ** 2 + (along / ALONG) ** 2))
    ripple = window * torch.cos(2 * torch.pi * across / wave - (torch.pi / 2 if odd else 0.0))
    blind = ripple - window * ripple.sum() / window.sum()
    kernel: Tensor = blind / blind.norm()
    return kernel
