"""The trunks whose convolutions are learned: strided for one wearer, two deep ones to compare with.

A trunk is two parts: ``stem``, whose maps still show texture, and ``rest``, from there to features
``(n, hidden)``.
"""

from torch import Tensor, nn
from torch.nn import functional as F


def conv(n_in: int, n_out: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps (stride 1) or halves (stride 2) the picture, norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )


def strided_trunk(
    channels: int, widths: tuple[int, ...], hidden: int, dropout: float, squeeze: int, pixels: int
) -> tuple[nn.Module, nn.Module]:
    """One convolution of stride 2 per width, then one linear layer.

    Where a sheet *is* says as much as what it looks like, so the last map ``(n, squeeze, p, p)``
    is read place by place, never averaged over places.
    """
    side = pixels >> len(widths)
    halvings = [conv(a, b, stride=2) for a, b in zip(widths, widths[1:], strict=False)]
    rest = nn.Sequential(
        *halvings,
        conv(widths[-1], widths[-1]),
        conv(widths[-1], squeeze, 1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(squeeze * side * side, hidden),
        nn.ReLU(),
    )
    return conv(channels, widths[0], 5, stride=2), rest


def plain_trunk(
    channels: int, widths: tuple[int, ...], hidden: int, dropout: float
) -> tuple[nn.Module, nn.Module]:
    """Stages of two 3x3 convolutions and a max-pool, averaged over places, then a linear layer.

    ``(n, channels, p, p)`` to ``(n, hidden)``.  Five stages of 32, 64, 96, 128, 192 channels and
    128 hidden units are our reading of Cunningham & Loram 2019 (arXiv 1907.01649), who do not
    print their layers.
    """
    stages = [_double(a, b) for a, b in zip((channels, *widths), widths, strict=False)]
    return stages[0], nn.Sequential(*stages[1:], *_pooled(widths[-1], hidden, dropout))


def residual_trunk(
    channels: int, widths: tuple[int, ...], hidden: int, dropout: float
) -> tuple[nn.Module, nn.Module]:
    """Two residual blocks per width (He et al. 2016, the pattern of ResNet-18), then as above.

    The stem halves the picture twice, every width after the first halves it again.
    """
    stem = nn.Sequential(conv(channels, widths[0], 7, stride=2), nn.MaxPool2d(3, 2, padding=1))
    blocks: list[nn.Module] = []
    for k, (a, b) in enumerate(zip((widths[0], *widths), widths, strict=False)):
        blocks += [_Residual(a, b, stride=2 if k else 1), _Residual(b, b, stride=1)]
    return stem, nn.Sequential(*blocks, *_pooled(widths[-1], hidden, dropout))


class _Residual(nn.Module):
    """Two convolutions around a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.inner = nn.Sequential(
            conv(n_in, n_out, stride=stride),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.inner(x) + self.shortcut(x))


def _double(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(conv(n_in, n_out), conv(n_out, n_out), nn.MaxPool2d(2))


def _pooled(width: int, hidden: int, dropout: float) -> list[nn.Module]:
    return [
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(width, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
    ]
