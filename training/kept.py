"""What no fit changes of a picture is computed once, not once an epoch.

The pooled trunk's filters are fixed: its looks are kept.  A network that sees all of the picture
reads it smaller: what it reads is kept.  Either as it is, and changed at random a few times.
"""

from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.pooled_cnn import Looks
from models.state_cnn import WINDOW, StateCnnConfig
from training.augment import Augment
from training.state_data import Pictures, regions

BATCH = 64

P = TypeVar("P", bound=Pictures)


def keep(pictures: P, config: StateCnnConfig, change: Augment, copies: int, seed: int) -> P:
    """The pictures with what ``config`` reads of each, as it is and changed ``copies`` times.

    What is there already stays; pictures as they are when nothing can be kept.
    0.6 KB a copy of looks, 8 KB of a whole picture of 64 pixels; against 64 KB with its maps.
    """
    if pictures.kept is not None or not config.keeps:
        return pictures
    rng = torch.Generator().manual_seed(seed)
    images, maps = pictures.on("cpu")
    see = Looks().eval() if config.trunk == "pooled" else _Small(config.pixels)
    copy = []
    with torch.inference_mode():
        for k in range(1 + copies):
            parts = [
                see(regions(images[rows], maps[rows], config, change if k else None, rng))
                for rows in torch.arange(len(images)).split(BATCH)
            ]
            copy.append(torch.cat(parts).numpy())
    return replace(pictures, kept=np.stack(copy))


class _Small:
    """Regions averaged down to what the network would make of them first, in half precision."""

    def __init__(self, pixels: int):
        self.block = WINDOW // pixels

    def __call__(self, regions: Tensor) -> Tensor:
        return F.avg_pool2d(regions, self.block).half()
