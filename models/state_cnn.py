"""The state CNN: muscle state from one segmented B-mode picture, or the word that it cannot tell.

Every estimate comes with a standard deviation that has two parts.  One is learned from errors on
ordinary pictures.  The other opens a gate to a very large one where the picture is unlike those
trained on, by either of two tests: a classifier that was shown spoilt pictures (outlier exposure,
Hendrycks et al. 2019), and the Mahalanobis distance of the features (Lee et al. 2018).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.physics_head import PhysicsHead
from models.plain_cnn import plain_trunk, residual_trunk, strided_trunk
from models.pooled_cnn import LOOKS, pooled_trunk

STATE = ("ankle_angle", "emg", "ankle_moment")  # deg, share of the 95th percentile, N m
ANATOMY = 6  # MG thickness_mm, pennation_deg, fascicle_mm, then SOL the same
WINDOW = 128  # lines and samples of a picture
LOST = 10.0  # sd of a picture the network does not know, in standard deviations of the targets
FLOOR = 0.15  # smallest SD a picture is divided by: 7.5 grey levels, a flat picture stays flat
SHUT = (1e6, 2e6)  # limits no picture reaches: what is ordinary is not yet known
TRUNKS = ("pooled", "strided", "plain", "residual")
LOG_SD = (-4.0, 2.0)  # range of the learned doubt, log of target standard deviations


@dataclass(frozen=True)
class StateCnnConfig:
    """Sizes.  Raises ValueError where they do not fit together."""

    # pooled: fixed filters, for people never seen; learned ones: strided, for one wearer, plain and
    # residual, to compare with
    trunk: str = "pooled"
    head: str = "linear"  # or physics: models/physics_head.py
    pixels: int = 128  # side the regions are averaged down to; divides 128
    widths: tuple[int, ...] = ()  # channels of each stage; pooled has none
    squeeze: int = 16  # strided: channels kept per place before the linear layers
    hidden: int = 64
    outputs: int = len(STATE)
    dropout: float = 0.2
    masks: bool = True  # the two masks are channels of their own: thickness and place
    # The tissue around the muscles stays in the picture: for a wearer whose leg was trained on.
    whole: bool = False

    def __post_init__(self) -> None:
        if self.trunk not in TRUNKS:
            raise ValueError(f"model.trunk must be one of {TRUNKS}, is {self.trunk!r}")
        if self.head not in ("linear", "physics"):
            raise ValueError(f"model.head must be linear or physics, is {self.head!r}")
        if self.head == "physics" and self.outputs not in (2, 3):
            raise ValueError("model.head physics estimates angle, [activity,] moment: outputs 2, 3")
        if self.pixels < 1 or WINDOW % self.pixels:
            raise ValueError(f"model.pixels must divide {WINDOW}, is {self.pixels}")
        if self.trunk == "pooled":
            if self.pixels != WINDOW or self.widths or self.whole:
                raise ValueError(
                    "model.trunk pooled needs all 128 pixels, and takes no widths and no whole"
                )
            return
        halvings = len(self.widths) + (self.trunk == "residual")
        if not self.widths:
            raise ValueError(f"model.trunk {self.trunk} needs model.widths, channels of each stage")
        if self.pixels >> halvings < 1:
            raise ValueError(
                f"model.widths: {halvings} halvings of {self.pixels} pixels leave nothing"
            )

    @property
    def sees_all(self) -> bool:
        """Whether it reads the picture as it is, without anything that a segmenter says."""
        return self.whole and not self.masks

    @property
    def keeps(self) -> bool:
        """Whether training keeps what it reads of a picture: little enough, or dear enough."""
        return self.trunk == "pooled" or self.sees_all

    @property
    def channels(self) -> int:
        """Channels of the regions that the network reads."""
        if self.trunk == "pooled":
            return 6
        return (1 if self.whole else 2) + (2 if self.masks else 0)


def cut(image: Tensor, maps: Tensor | None, config: StateCnnConfig) -> Tensor:
    """The regions that a network of this configuration reads; ``config.sees_all`` needs no maps."""
    if config.sees_all:
        return image
    if maps is None:
        raise ValueError("the network reads muscles cut out of the picture: it needs their maps")
    if config.trunk == "pooled":
        return rois_and_sheets(image, maps)
    if config.whole:
        return torch.cat([image, maps[:, 1:3]], 1)
    return rois(image, maps, config.masks)


def rois_and_sheets(image: Tensor, maps: Tensor) -> Tensor:
    """MG, SOL and the sheets between them, against the sheets' brightness, then the three masks.

    Shapes as in ``rois``, to ``(n, 6, lines, samples)``.  A picture is log-compressed, so a gain
    is an offset: what a muscle is darker than its sheets does not depend on it, and a muscle that
    contracts darkens while its sheets do not.
    """
    masks = maps[:, [1, 2, 0]]
    sheets = masks[:, 2:]
    bright = (image * sheets).sum((1, 2, 3), keepdim=True)
    mean = bright / sheets.sum((1, 2, 3), keepdim=True).clamp(min=1.0)
    return torch.cat([(image - mean) * masks, masks], 1)


def rois(image: Tensor, maps: Tensor, masks: bool = True) -> Tensor:
    """The two muscles cut out of a picture, on the window's own grid: millimetres stay.

    ``image (n, 1, lines, samples)`` standardised brightness and ``maps (n, 3, lines, samples)``
    probabilities in the order aponeurosis, MG, SOL to ``(n, 2 or 4, lines, samples)``: MG, SOL,
    each standardised by the mean and SD inside both, then the two masks.  One mean and one SD
    for both, so that how bright the one is beside the other is kept.  No muscle, no contrast:
    zeros, never NaN.
    """
    muscle = maps[:, 1:3]
    weight = muscle.sum(1, keepdim=True)
    area = weight.sum((1, 2, 3), keepdim=True).clamp(min=1.0)
    mean = (image * weight).sum((1, 2, 3), keepdim=True) / area
    centred = image - mean
    variance = (centred * centred * weight).sum((1, 2, 3), keepdim=True) / area
    inside = centred / variance.sqrt().clamp(min=FLOOR) * muscle
    return torch.cat([inside, muscle], 1) if masks else inside


class Reading(NamedTuple):
    """What the network reads off its regions, before the targets' units."""

    value: Tensor  # (n, outputs) standardised
    log_sd: Tensor  # (n, outputs) of the standardised values
    anatomy: Tensor  # (n, ANATOMY) standardised
    odd: Tensor  # (n,) logit: a spoilt picture
    features: Tensor  # (n, hidden) what the values are read off
    imprint: Tensor  # (n, imprints) what the distance is measured on


class StateCnn(nn.Module):
    """Regions ``(n, channels, 128, 128)`` to ``(values, sd)``, each ``(n, outputs)``, target units.

    ``config.trunk`` names what stands between the regions and the features: fixed filters and two
    linear layers (``models.pooled_cnn``), or convolutions that are learned (``models.plain_cnn``).
    Values, doubt, anatomy and oddness are read off the features.
    """

    mean: Tensor  # (outputs,) of the training targets
    scale: Tensor  # (outputs,) their standard deviation
    doubt: Tensor  # (outputs,) factor on sd; see training.metrics.doubt
    anatomy_mean: Tensor  # (ANATOMY,) of the training pictures, mm and deg
    anatomy_scale: Tensor  # (ANATOMY,) their standard deviation
    imprint_mean: Tensor  # (imprints,) of the training pictures
    imprint_whiten: Tensor  # (imprints, imprints): W with W W' = inverse covariance
    odd_limits: Tensor  # (2,) logit at which the gate begins to open, and at which it is open
    far_limits: Tensor  # (2,) the same for the distance

    def __init__(self, config: StateCnnConfig):
        super().__init__()
        self.config = config
        self.stem, self.rest = _trunk(config)
        stem = LOOKS if config.trunk == "pooled" else config.channels + config.widths[0]
        imprints = stem + config.hidden
        self.value: nn.Module = (
            PhysicsHead(config.hidden, config.outputs)
            if config.head == "physics"
            else nn.Linear(config.hidden, config.outputs)
        )
        self.log_sd = nn.Linear(config.hidden, config.outputs)
        self.anatomy = nn.Linear(config.hidden, ANATOMY)
        self.odd = nn.Sequential(nn.Linear(imprints, 32), nn.ReLU(), nn.Linear(32, 1))
        for name, size in (("", config.outputs), ("anatomy_", ANATOMY)):
            self.register_buffer(f"{name}mean", torch.zeros(size))
            self.register_buffer(f"{name}scale", torch.ones(size))
        self.register_buffer("doubt", torch.ones(config.outputs))
        self.register_buffer("imprint_mean", torch.zeros(imprints))
        self.register_buffer("imprint_whiten", torch.eye(imprints))
        self.register_buffer("odd_limits", torch.tensor(SHUT))
        self.register_buffer("far_limits", torch.tensor(SHUT))

    def reset_doubt(self) -> None:
        """Forget what was calibrated: the gate shut, the learned doubt as it is."""
        self.doubt.fill_(1.0)
        self.odd_limits.copy_(torch.tensor(SHUT))
        self.far_limits.copy_(torch.tensor(SHUT))

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Values and their standard deviation in the targets' units."""
        return self.estimate(self.read(regions))

    def estimate(self, r: Reading) -> tuple[Tensor, Tensor]:
        """A reading in the targets' units: values and their standard deviation."""
        spread = self.doubt * r.log_sd.exp()
        lost = LOST * self.gate(r)[:, None]
        return self.mean + self.scale * r.value, self.scale * (spread**2 + lost**2).sqrt()

    def read(self, regions: Tensor) -> Reading:
        """Everything the network says about a picture."""
        if self.config.pixels != WINDOW:  # training may hand over what is small already: it stays
            regions = F.adaptive_avg_pool2d(regions, self.config.pixels)
        texture = self.stem(regions)
        if self.config.trunk == "pooled":
            return self.read_kept(texture)
        f = self.rest(texture)
        means = [regions.abs().mean((2, 3)), texture.mean((2, 3))]
        return self._reading(f, torch.cat([*means, f], 1))

    def read_kept(self, kept: Tensor) -> Reading:
        """The same from what training keeps: looks ``(n, LOOKS)``, or small regions."""
        if self.config.trunk != "pooled":
            return self.read(kept)
        f = self.rest(kept)
        return self._reading(f, torch.cat([kept, f], 1))

    def _reading(self, f: Tensor, imprint: Tensor) -> Reading:
        """The doubt is read off the features without shaping them: accuracy does not pay for it."""
        return Reading(
            self.value(f),
            self.log_sd(f.detach()).clamp(*LOG_SD),
            self.anatomy(f),
            self.odd(imprint)[:, 0],
            f,
            imprint,
        )

    def gate(self, reading: Reading) -> Tensor:
        """0 for an ordinary picture, 1 for an unknown one, ``(n,)``; the worse of both tests."""
        return torch.maximum(
            _ramp(reading.odd, self.odd_limits),
            _ramp(self.distance(reading.imprint), self.far_limits),
        )

    def distance(self, imprint: Tensor) -> Tensor:
        """Mahalanobis distance to the training pictures, ``(n, imprints)`` to ``(n,)``."""
        white = (imprint - self.imprint_mean) @ self.imprint_whiten
        return (white * white).sum(1).sqrt()


def _ramp(x: Tensor, limits: Tensor) -> Tensor:
    return ((x - limits[0]) / (limits[1] - limits[0])).clamp(0.0, 1.0)


def _trunk(config: StateCnnConfig) -> tuple[nn.Module, nn.Module]:
    """Regions to texture, texture to features ``(n, hidden)``."""
    if config.trunk == "pooled":
        return pooled_trunk(config.hidden, config.dropout)
    sizes = (config.channels, config.widths, config.hidden, config.dropout)
    if config.trunk == "strided":
        return strided_trunk(*sizes, config.squeeze, config.pixels)
    return (plain_trunk if config.trunk == "plain" else residual_trunk)(*sizes)
