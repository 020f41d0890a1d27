"""What a person would measure in a calf picture, and a linear model on it: the baseline to beat.

Thickness, mean pennation, mean echo intensity and its depth gradient, of MG and of SOL.  The local
direction is that of the smaller eigenvalue of the structure tensor (Bigun & Granlund 1987), in
millimetres; pennation is its mean within the muscle, against the muscle's own tilt, over angles
that fascicles can have, weighted by the square of coherence.  Speckle is wide and flat and pulls
the mean towards zero: good for comparing pictures, not for a ruler.
"""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from training.baselines import PENALTIES, Linear, ridge
from training.folds import Folds, folds
from training.state_data import StateData

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FEATURES = tuple(
    f"{muscle}_{what}"
    for muscle in ("mg", "sol")
    for what in ("thickness_mm", "pennation_deg", "echo", "echo_per_mm")
)
MUSCLES = {1: 1.0, 2: -1.0}  # index of its map: MG fascicles descend to the right, SOL's rise
DX_MM, DZ_MM = 60 / 128, 50 / 128  # of the window every picture is resampled to
SMOOTH_MM = 0.5  # of the derivatives: finer than streaks, as coarse as a pixel
AROUND_MM = 1.0  # of the tensor: wider, and the sheets leak in
CLEAR_MM = 2.5  # of the muscle's sheets, which are brighter than any fascicle
PENNATION_DEG = (8.0, 50.0)  # flatter is speckle, steeper no calf
BATCH = 256  # pictures at a time: directions take many times their memory
HALF = 127.5  # of maps that are bytes
SMALLEST = 0.02  # share of the picture below which a muscle is not there


def hand_features(
    images: NDArray[np.uint8] | NDArray[np.floating],
    maps: NDArray[np.uint8] | NDArray[np.bool_] | NDArray[np.floating],
    threshold: float = 0.5,
) -> F64:
    """Features ``(n, 8)`` in order FEATURES; echo in the unit of the picture.

    ``images (n, lines, samples)`` of the 60 x 50 mm window, ``maps (n, 3, lines, samples)`` with
    aponeurosis, MG and SOL, which count where they exceed ``threshold``.  NaN where a muscle covers
    less than 2 % of the picture.  Raises ValueError for shapes that do not fit.
    """
    n, *grid = images.shape
    if maps.shape != (n, 3, *grid) or len(grid) != 2:
        raise ValueError(f"images {images.shape} and maps {maps.shape}: (n, l, s), (n, 3, l, s)")
    parts = [
        _features(images[k : k + BATCH].astype(np.float32), maps[k : k + BATCH] > threshold)
        for k in range(0, n, BATCH)
    ]
    return np.concatenate(parts) if parts else np.empty((0, len(FEATURES)))


@dataclass(frozen=True)
class HandModel:
    """Ridge on hand features; takes ``(n, 8)`` and gives ``(n, outputs)``."""

    linear: Linear

    def __call__(self, features: F64) -> F64:
        """Estimates; a feature that is missing (NaN) counts as the training mean."""
        return self.linear(np.where(np.isnan(features), self.linear.centre, features))


def hand_baseline(features: F64, y: NDArray[np.floating], person: NDArray[np.intp]) -> HandModel:
    """Fit ``y (n, outputs)`` on ``features (n, 8)``; leaving out people picks the penalty.

    Raises ValueError for fewer than two people or a feature that is missing everywhere.
    """
    people = np.unique(person)
    if len(people) < 2:
        raise ValueError("one person's frames cannot say how well others are met: pass two or more")
    if np.isnan(features).all(axis=0).any():
        raise ValueError("a muscle is in none of the maps: look at the segmentation first")
    errors = dict.fromkeys(PENALTIES, 0.0)
    scale = np.std(y, axis=0)
    for left_out in people:
        out = person == left_out
        for penalty in PENALTIES:
            model = _fit(features[~out], y[~out], penalty)
            errors[penalty] += float(np.sum(((model(features[out]) - y[out]) / scale) ** 2))
    return _fit(features, y, min(errors, key=lambda p: errors[p]))


def hand_baseline_folds(data: StateData, how: Folds) -> F64:
    """What ridge on hand features says of everybody by people of other folds: ``(n, outputs)``.

    It needs nobody to stop it, so it is fitted to the validation people as well.
    """
    features = hand_features(data.images, data.maps, HALF)
    values = np.empty(data.targets.shape)
    for fold in folds(data.person.tolist(), how):
        out = np.isin(data.person, fold.test)
        model = hand_baseline(features[~out], data.targets[~out], data.person[~out])
        values[out] = model(features[out])
    return values


def _fit(features: F64, y: NDArray[np.floating], penalty: float) -> HandModel:
    centre, scale = np.nanmean(features, axis=0), np.nanstd(features, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    # Millimetres, degrees and brightness weigh alike.
    standard = ridge(np.nan_to_num((features - centre) / scale), y, penalty)
    # Centred before: the ridge's own centre is zero.
    return HandModel(Linear(centre, standard.weights / scale[:, None], standard.offset))


def _features(images: F32, maps: NDArray[np.bool_]) -> F64:
    """``hand_features`` of one batch."""
    along_rad, coherence = _directions(images)
    found = [
        _muscle(images, along_rad, coherence, maps[:, index], descending)
        for index, descending in MUSCLES.items()
    ]
    return np.concatenate(found, axis=1)


def _directions(images: F32) -> tuple[F32, F32]:
    """Direction of the brightness, -pi/2..pi/2, > 0 descending, and coherence 0..1, per pixel."""
    gx, gz = (_smooth(images, SMOOTH_MM, order) for order in ((1, 0), (0, 1)))
    gx /= DX_MM
    gz /= DZ_MM
    xx, xz, zz = (_smooth(product, AROUND_MM) for product in (gx * gx, gx * gz, gz * gz))
    # The steepest change of brightness; what is bright runs at right angles to it.
    across = 0.5 * np.arctan2(2 * xz, xx - zz)
    along = np.mod(across + np.float32(np.pi), np.float32(np.pi)) - np.float32(np.pi / 2)
    return along, np.hypot(xx - zz, 2 * xz) / (xx + zz + np.float32(1e-6))


def _smooth(images: F32, mm: float, order: tuple[int, int] = (0, 0)) -> F32:
    sigma = (0, mm / DX_MM, mm / DZ_MM)
    return np.asarray(scipy.ndimage.gaussian_filter(images, sigma, (0, *order)))


def _muscle(
    images: F32, along_rad: F32, coherence: F32, inside: NDArray[np.bool_], descending: float
) -> F64:
    """The four features ``(n, 4)`` of one muscle."""
    n, lines, samples = inside.shape
    x_mm, z_mm = (np.arange(lines) + 0.5) * DX_MM, (np.arange(samples) + 0.5) * DZ_MM
    pixels = inside.sum(axis=2)  # (n, lines)
    area, there = pixels.sum(axis=1), pixels > 0
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where there is no muscle
        middle_mm = np.where(there, inside @ z_mm / pixels, 0.0)
        tilt_rad = np.arctan(_slope(np.broadcast_to(x_mm, there.shape), middle_mm, there))
        thickness_mm = area * DZ_MM / there.sum(axis=1) * np.cos(tilt_rad)

        core = scipy.ndimage.minimum_filter1d(
            inside.view(np.uint8), 2 * round(CLEAR_MM / DZ_MM) + 1, axis=2, mode="constant"
        )
        angle_deg = descending * np.rad2deg(along_rad - tilt_rad[:, None, None])
        low, high = PENNATION_DEG
        weight = core * coherence**2 * ((angle_deg > low) & (angle_deg < high))
        pennation_deg = np.sum(weight * angle_deg, axis=(1, 2)) / np.sum(weight, axis=(1, 2))

        echo = np.sum(images * inside, axis=(1, 2), dtype=np.float64) / area
        depth_mm = np.broadcast_to(z_mm, inside.shape).reshape(n, -1)
        per_mm = _slope(depth_mm, images.reshape(n, -1), inside.reshape(n, -1))
    found = np.stack([thickness_mm, pennation_deg, echo, per_mm], axis=1)
    found[area < SMALLEST * lines * samples] = np.nan
    return np.asarray(found, np.float64)


def _slope(x: NDArray[np.floating], y: NDArray[np.floating], weight: NDArray[np.bool_]) -> F64:
    """Least-squares slope ``(n,)`` of ``y`` on ``x``, rows of each ``(n, k)``."""
    w = weight / weight.sum(axis=1, keepdims=True)
    dx = x - np.sum(w * x, axis=1, keepdims=True)
    return np.asarray(np.sum(w * dx * y, axis=1) / np.sum(w * dx * dx, axis=1))
