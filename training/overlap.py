"""How well maps fit: overlap with what is known, and the thickness they give a muscle."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.segmenter import MAPS
from training.segments import Segments

F32 = NDArray[np.float32]
HALF = 0.5  # a pixel with this probability belongs to the map


@dataclass(frozen=True)
class Overlap:
    """Means over the ``n`` pictures that show the map."""

    map: str
    n: int
    dice: float  # 2 |A and B| / (|A| + |B|)
    jaccard: float  # |A and B| / |A or B|
    worst: float  # the smallest Jaccard index of a picture


def overlaps(maps: F32, truth: Segments) -> list[Overlap]:
    """One row for each of MAPS; pixels where ``truth`` is not known do not count.

    ``maps (n, 3, lines, samples)`` are probabilities on the grid of ``truth``.  Raises ValueError
    when the grids differ.  A map that no picture shows has n = 0 and NaN.
    """
    if maps.shape != truth.maps.shape:
        raise ValueError(f"maps {maps.shape} and truth {truth.maps.shape}: resample one of them")
    found = []
    for k, name in enumerate(MAPS):
        known = truth.known[:, k] > 0
        ours, theirs = (maps[:, k] > HALF) & known, (truth.maps[:, k] > 0) & known
        shown = theirs.any(axis=(1, 2))
        both, either = ((m[shown]).sum((1, 2)) for m in (ours & theirs, ours | theirs))
        jaccard = both / np.maximum(either, 1)
        dice = 2 * both / np.maximum(both + either, 1)
        n = int(shown.sum())
        numbers = (dice.mean(), jaccard.mean(), jaccard.min()) if n else (np.nan,) * 3
        found.append(Overlap(name, n, *map(float, numbers)))
    return found


def thickness(maps: NDArray[np.floating] | NDArray[np.uint8]) -> F32:
    """Depth of MG and SOL ``(n, 2)`` in samples, mean over the lines; maps ``(n, 3, l, s)``."""
    return np.asarray((maps[:, 1:] > HALF).sum(axis=-1).mean(axis=-1), np.float32)
