"""A small CNN from one B-mode picture to ankle angle and torque, with its own doubt.

Convolution, batch norm, ReLU and linear layers only: they fold and quantise well.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FrameCnnConfig:
    """Sizes; ``pixels`` is the side of the square picture."""

    pixels: int = 128
    widths: tuple[int, ...] = (16, 32, 48, 64)  # channels after each halving of the picture
    squeeze: int = 16  # channels kept per place before the linear layers
    hidden: int = 64
    outputs: int = 2
    dropout: float = 0.2


class FrameCnn(nn.Module):
    """Picture ``(n, 1, pixels, pixels)`` float32 to ``(values, sd)``, each ``(n, outputs)``.

    Values come out in the targets' own units.  Where an aponeurosis *is* says as much as what it
    looks like, so the last feature map is read place by place, never averaged over places.
    """

    mean: Tensor  # (outputs,) of the training targets
    scale: Tensor  # (outputs,) their standard deviation
    doubt: Tensor  # (outputs,) factor on sd; see training.metrics.doubt

    def __init__(self, config: FrameCnnConfig):
        super().__init__()
        self.config = config
        widths = (1, *config.widths)
        halvings = [
            _conv(a, b, 5 if a == 1 else 3, stride=2)
            for a, b in zip(widths, widths[1:], strict=False)
        ]
        side = config.pixels >> len(config.widths)
        self.features = nn.Sequential(
            *halvings,
            _conv(widths[-1], widths[-1], 3, stride=1),
            _conv(widths[-1], config.squeeze, 1, stride=1),
            nn.Flatten(),  # (n, squeeze * side * side)
            nn.Dropout(config.dropout),
            nn.Linear(config.squeeze * side * side, config.hidden),
            nn.ReLU(),
        )
        self.value = nn.Linear(config.hidden, config.outputs)
        self.log_sd = nn.Linear(config.hidden, config.outputs)
        self.register_buffer("mean", torch.zeros(config.outputs))
        self.register_buffer("scale", torch.ones(config.outputs))
        self.register_buffer("doubt", torch.ones(config.outputs))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Values and their standard deviation in the targets' units."""
        value, log_sd = self.standardised(image)
        return self.mean + self.scale * value, self.doubt * self.scale * log_sd.exp()

    def standardised(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Values in training standard deviations from the mean, and the log of their doubt.

        The doubt is read off the features without shaping them: accuracy does not pay for it.
        """
        f = self.features(image)  # (n, hidden)
        return self.value(f), self.log_sd(f.detach())


def _conv(n_in: int, n_out: int, size: int, stride: int) -> nn.Sequential:
    """Convolution that keeps (stride 1) or halves (stride 2) the picture, norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )
