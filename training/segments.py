"""Pictures with maps of their sheets and muscles: hand-drawn ones of people, exact simulated ones.

The hand-drawn masks (us_masks_dltrack) mark aponeuroses only, and not all of them.  What follows
from them becomes a map; where nothing follows, the map is *unknown* there and trains nobody:

=============  ================================  ==================================================
map            is                                known
=============  ================================  ==================================================
aponeurosis    what was drawn                    down to just below the last band that follows on
mg             between the two upper bands       in columns that have both, else above the first
sol            between second and third band     below the second only where there is a third
=============  ================================  ==================================================

So ``mg`` means the upper muscle: which muscle a picture shows was not recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.cohort.bmode import render
from training.cohort.mechanics import solve
from training.cohort.participant import COHORT, participant
from training.cohort.scene import make_scene
from training.cohort.scene import maps as scene_maps
from training.datasets import locate

U8 = NDArray[np.uint8]
MASKS = "us_masks_dltrack"
SIDE = 256  # hand-drawn pictures are kept finer than the network's, to be cropped at random
LONG = 0.3  # of the width: shorter pieces are sheets, but do not bound a muscle
FORK = 0.1  # of the height: a lower band nearer than this belongs to the one above it
MARGIN = 0.03  # of the height: how far below the last band we trust that there is no sheet

# Where the ultrasound picture lies on the screen, read off by eye: columns, then rows.
SCREENS = {
    (512, 512): (0, 512, 0, 512),
    (556, 660): (99, 563, 43, 556),
    (600, 800): (51, 628, 70, 522),
    (652, 800): (104, 544, 128, 603),
    (688, 1234): (237, 997, 43, 686),
}
OTHER_SCREENS = {
    1: (50, 597, 130, 599),
    2: (110, 650, 70, 514),  # a steered picture: the corners stay black
    20: (175, 504, 70, 522),
    48: (104, 530, 128, 603),
    77: (104, 530, 128, 603),
    95: (136, 512, 128, 603),
}
# No subject is named.  Numbers of one group share a machine, and every pair of pictures that look
# alike (correlation of 48 x 48 pixels over 0.8) is within one group.
GROUPS = (
    (1, 2, 3, 7, 13, 20, 21),  # several machines
    (36, 63, 79, 101, 123, 143, 161, 180, 200),
    (48, 77, 95, 117, 147),
    (299, 315, 330, 346, 361, 377),
    (392, 408, 423, 439, 454, 470),
)
EVAL_GROUP = 4  # never trains the shipped segmenter and chose nothing in it


@dataclass(frozen=True)
class Segments:
    """Pictures ``(n, lines, samples)`` uint8 with maps and what is known of them.

    ``maps`` and ``known`` are ``(n, 3, lines, samples)`` uint8, 0 or 1, in the order of MAPS.
    ``group (n,)`` must not be split between training and evaluation.
    """

    names: tuple[str, ...]
    pictures: U8
    maps: U8
    known: U8
    group: NDArray[np.intp]

    def part(self, keep: NDArray[np.bool_]) -> "Segments":
        """Only the pictures where ``keep (n,)`` is true."""
        names = tuple(n for n, k in zip(self.names, keep, strict=True) if k)
        return Segments(
            names, self.pictures[keep], self.maps[keep], self.known[keep], self.group[keep]
        )


def drawn(side: int = SIDE) -> Segments:
    """The 33 pictures with hand-drawn aponeuroses, ``side`` pixels square.  Raises DataMissing.

    Cropped from the screen to the ultrasound picture and mirrored, so that MG fascicles descend
    to the right as in us_mg_dynamometer.  Their scale is unknown and differs.
    """
    import cv2

    numbers = [n for group in GROUPS for n in group]
    pictures, maps, known = [], [], []
    for n in numbers:
        screen, mask = (_grey(f"{kind}/apo_{n:05d}.png") for kind in ("images", "masks"))
        x0, x1, z0, z1 = OTHER_SCREENS.get(n, SCREENS[screen.shape])
        box = np.s_[z0:z1, x0:x1]
        picture = screen[box][:, ::-1].T  # (lines, samples)
        here, sure = derive(mask[box][:, ::-1].T > 0)
        size = (side, side)
        pictures.append(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        maps.append([_shrunk(m, side) >= 0.5 for m in here])
        known.append([_shrunk(m, side) > 0.99 for m in sure])
    return Segments(
        tuple(f"apo_{n:05d}" for n in numbers),
        np.stack(pictures).astype(np.uint8),
        np.array(maps, np.uint8),
        np.array(known, np.uint8),
        np.repeat(np.arange(len(GROUPS)), [len(g) for g in GROUPS]),
    )


def simulated(people: Sequence[int], frames: int) -> Segments:
    """``frames`` simulated pictures of each participant at random angles and activations.

    Everything is known of them; ``group`` is the participant's number.  Raises ValueError for
    members of the cohort, on whom the networks behind the segmenter are evaluated.
    """
    if any(n < COHORT for n in people):
        raise ValueError(f"participants 0..{COHORT - 1} are the cohort: the segmenter takes others")
    pictures, maps = [], []
    for n in people:
        p = participant(n)
        scene = make_scene(p)
        rng = np.random.default_rng((p.seed, n, 50))
        angle_deg = rng.uniform(*p.ankle.range_deg, frames)
        activation = rng.beta(0.5, 1.0, frames)  # as often weak as strong
        state = solve(p, angle_deg, activation)
        shape = zip(state.fascicle_mm, state.pennation_deg, state.thickness_mm, strict=True)
        for k, one in enumerate(shape):
            pictures.append(render(scene, *one, float(activation[k]), k))
            maps.append(scene_maps(scene, *one))
    shown = np.stack(maps)
    return Segments(
        tuple(f"participant {n}" for n in people for _ in range(frames)),
        np.stack(pictures),
        shown,
        np.ones_like(shown),
        np.repeat(np.asarray(people, np.intp), frames),
    )


def derive(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Maps and where they are known, each ``(3, lines, samples)``, of drawn bands ``mask``."""
    lines, samples = mask.shape
    depth = np.arange(samples)[None, :]
    bands = _bands(mask)
    nowhere = np.full((lines, 1), np.nan)  # a comparison with it is false
    (_, a1), (b0, b1), (c0, c1) = [*bands, *((nowhere, nowhere),) * 3][:3]
    both, three = ~np.isnan(a1 + b0), ~np.isnan(a1 + b0 + c0)
    reach = np.where(three, c1, np.where(both, b1, a1))
    mg, sol = (depth > a1) & (depth < b0), (depth > b1) & (depth < c0) & three
    above = depth <= reach
    known = (depth <= reach + MARGIN * samples, above | both, above | three)
    return np.stack([mask, mg, sol]), np.stack(known)


def _bands(mask: NDArray[np.bool_]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """First and last sample ``(lines, 1)`` of each long band, from the skin down; NaN = not there.

    Bands that come from one, or run close to one another, count as one.
    """
    labels, found = ndimage.label(mask, np.ones((3, 3)))
    bands: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for k in range(1, found + 1):
        one = labels == k
        there = one.any(axis=1)
        if there.mean() >= LONG:
            first = np.where(there, one.argmax(axis=1), np.nan)
            last = np.where(there, one.shape[1] - 1 - one[:, ::-1].argmax(axis=1), np.nan)
            bands.append((first[:, None], last[:, None]))
    bands.sort(key=lambda b: float(np.nanmean(b[0])))
    kept = bands[:1]
    for first, last in bands[1:]:
        above = kept[-1]
        gap = first - above[1]
        if np.isnan(gap).all() or np.nanmean(gap) >= FORK * mask.shape[1]:
            kept.append((first, last))
        else:
            kept[-1] = np.fmin(above[0], first), np.fmax(above[1], last)
    return kept


def _grey(file: str) -> U8:
    import cv2

    path = locate(MASKS, file)
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise ValueError(f"{path}: OpenCV cannot read this picture: get the data set again")
    return np.asarray(picture, np.uint8)


def _shrunk(mask: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    import cv2

    small = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)
