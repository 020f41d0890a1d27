"""A small U-Net from one B-mode picture of the calf to maps of its sheets and muscles.

Convolution, batch norm, ReLU and nearest-neighbour enlarging only: they fold, quantise and export
well.  The down-and-up shape with skips is that of Ronneberger et al., U-Net, MICCAI 2015
(arXiv:1505.04597); the skips are added, not stacked, which halves the work of the way up.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

# aponeurosis = any of the sheets (superficial, between MG and SOL, deep); mg and sol = the medial
# gastrocnemius and the soleus, each between its two sheets.
MAPS = ("aponeurosis", "mg", "sol")
FLAT = 0.1  # standardised brightness: a picture that varies less than this is not stretched


@dataclass(frozen=True)
class SegmenterConfig:
    """Sizes; the picture's sides must be multiples of ``2 ** len(widths)``."""

    widths: tuple[int, ...] = (16, 32, 48, 64, 64)  # channels after each halving of the picture
    fine: int = 8  # channels at full resolution
    deepest: int = 2  # more convolutions where a pixel sees the whole picture


class Segmenter(nn.Module):
    """Picture ``(n, 1, lines, samples)`` float32 to probabilities ``(n, 3, lines, samples)``.

    Each picture is first scaled to its own mean and standard deviation, inside the graph, so gain
    and contrast of the scanner hardly matter.  The maps are independent: a pixel may be none.
    """

    def __init__(self, config: SegmenterConfig):
        super().__init__()
        self.config = config
        w = config.widths
        self.stem = _conv(1, w[0], 5, stride=2)
        self.keep = nn.ModuleList(_conv(a, a, 3) for a in w[:-1])
        self.down = nn.ModuleList(_conv(a, b, 3, stride=2) for a, b in zip(w, w[1:], strict=False))
        self.deep = nn.Sequential(*(_conv(w[-1], w[-1], 3) for _ in range(config.deepest)))
        self.up = nn.ModuleList(_conv(b, a, 1) for a, b in zip(w, w[1:], strict=False))
        self.join = nn.ModuleList(_conv(a, a, 3) for a in w[:-1])
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.coarse = _conv(w[0], config.fine, 1)
        self.edge = _conv(1, config.fine, 3)
        self.fine = _conv(config.fine, config.fine, 3)
        self.head = nn.Conv2d(config.fine, len(MAPS), 1)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities 0..1 in the order of MAPS."""
        return torch.sigmoid(self.logits(image))

    def logits(self, image: Tensor) -> Tensor:
        """The maps before the sigmoid, to train on."""
        x = own_scale(image)
        skips, y = [], self.stem(x)  # (n, 16, lines / 2, samples / 2)
        for keep, down in zip(self.keep, self.down, strict=True):
            skips.append(keep(y))
            y = down(skips[-1])
        y = self.deep(y)  # (n, 64, lines / 32, samples / 32)
        ways = zip(self.up, self.join, skips, strict=True)
        for up, join, skip in reversed(list(ways)):
            y = join(self.enlarge(up(y)) + skip)
        y = self.enlarge(self.coarse(y)) + self.edge(x)  # (n, 8, lines, samples)
        maps: Tensor = self.head(self.fine(y))
        return maps


def own_scale(image: Tensor) -> Tensor:
    """Each picture ``(n, 1, lines, samples)`` with mean 0 and standard deviation 1, unless flat."""
    x = image - image.mean((2, 3), keepdim=True)
    sd = (x * x).mean((2, 3), keepdim=True).sqrt()
    return x / sd.clamp(min=FLAT)


def _conv(n_in: int, n_out: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps (stride 1) or halves (stride 2) the picture, norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )
