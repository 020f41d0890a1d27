"""What a state CNN is cross-validated on: the simulated cohort, segmented, and spoilt pictures."""

import functools
from pathlib import Path

import numpy as np
import torch

from edge.bundle import load_bundle
from models.segmenter import Segmenter
from training.cohort.dataset import cohort, routine_cohort
from training.cohort.person import Cohort
from training.crossval import Material
from training.outliers import SHOWN, UNSEEN, spoil
from training.recipe_segmenter import segmenter_of
from training.state_config import SimulatedPeople
from training.state_data import MEAN, STD, U8, MapsOf, StateData


@functools.lru_cache(maxsize=1)
def material(d: SimulatedPeople) -> Material:
    """Simulated people ready for ``cross_validate``; kept for the next member of a committee.

    Raises BundleError without the segmenter.
    """
    see = maps_of(d)
    people = range(d.first, d.first + d.people)
    cache = Path(d.cache)
    data = state_data(cohort(people, d.frames, d.seed, cache), see)
    routine = None
    if d.routine:
        routine = state_data(routine_cohort(people, d.routine, d.seed, cache), see)
    return Material(
        data,
        shown=spoil(data, list(SHOWN), d.shown, 1, see),
        probes=spoil(data, [*SHOWN, *UNSEEN], d.probes, 2, see),
        routine=routine,
    )


def maps_of(d: SimulatedPeople) -> MapsOf:
    """The segmenter that the run names.  Raises BundleError where it is not."""
    return segmented(segmenter_of(load_bundle(d.segmenter)))


def state_data(c: Cohort, see: MapsOf) -> StateData:
    """Frames of simulated people with the maps that the segmenter sees in them."""
    return StateData(c.images, see(c.images), c.person, c.targets, c.anatomy)


def segmented(net: Segmenter) -> MapsOf:
    """The segmenter as a function of pictures ``(n, 128, 128)`` uint8 to maps of bytes."""

    def see(images: U8) -> U8:
        maps = np.empty((len(images), 3, *images.shape[1:]), np.uint8)
        with torch.inference_mode():
            for k in range(0, len(images), 64):
                x = (torch.from_numpy(images[k : k + 64]).float()[:, None] - MEAN) / STD
                maps[k : k + 64] = (net(x) * 255).round().byte().numpy()
        return maps

    return see
