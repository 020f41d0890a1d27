"""Networks that were trained alone and answer together.

Fixed filters and learned ones err on different pictures, and where they disagree about somebody the
doubt grows (Lakshminarayanan, Pritzel & Blundell 2017).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.state_cnn import StateCnn, cut


class Committee(nn.Module):
    """State CNNs with the same outputs; each reads its own regions of the same picture."""

    def __init__(self, members: Sequence[StateCnn]):
        super().__init__()
        if not members or len({m.config.outputs for m in members}) > 1:
            raise ValueError("a committee needs members, all with the same outputs")
        self.members = nn.ModuleList(members)
        self.configs = [m.config for m in members]

    def forward(self, image: Tensor, maps: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``image (n, 1, 128, 128)``, ``maps (n, 3, 128, 128)`` to values and sd, target units.

        Without maps where every member sees all of the picture.
        """
        said = [m(cut(image, maps, c)) for m, c in zip(self.members, self.configs, strict=True)]
        return together([v for v, _ in said], [sd for _, sd in said])


def together(values: Sequence[Tensor], sd: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and SD of an equal mixture of Gaussians; each ``(n, outputs)``."""
    v, s = torch.stack(list(values)), torch.stack(list(sd))
    mean = v.mean(0)
    return mean, (s * s + (v - mean) ** 2).mean(0).sqrt()
