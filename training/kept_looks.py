"""The pooled trunk's filters are fixed: what they see is computed once, not once an epoch."""

from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from models.pooled_cnn import LOOKS, Looks
from models.state_cnn import StateCnnConfig
from training.augment import Augment
from training.state_data import Pictures, regions

POOLED = StateCnnConfig("pooled")
BATCH = 64

P = TypeVar("P", bound=Pictures)


def keep_looks(pictures: P, change: Augment, copies: int, seed: int) -> P:
    """The pictures with the looks of each, as it is and of ``copies`` changed at random.

    Looks that are there already stay.  0.6 KB a copy, against 64 KB of a picture with its maps.
    """
    if pictures.looks is not None:
        return pictures
    rng = torch.Generator().manual_seed(seed)
    images, maps = pictures.on("cpu")
    found = np.empty((1 + copies, len(images), LOOKS), np.float32)
    see = Looks().eval()
    with torch.inference_mode():
        for k in range(1 + copies):
            for rows in torch.arange(len(images)).split(BATCH):
                x = regions(images[rows], maps[rows], POOLED, change if k else None, rng)
                found[k, rows.numpy()] = see(x).numpy()
    return replace(pictures, looks=found)
