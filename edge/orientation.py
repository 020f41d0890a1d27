"""Direction of fascicles in a B-mode picture: the side on which its spectrum is heavier.

Fascicles are parallel bright streaks, so their energy lies along one ray of the spatial spectrum,
square to them; by the projection-slice theorem that ray is the variance of a Radon transform, which
Rana, Hamarneh, Wakeling (2009, J Biomech 42:2068) maximise.  But speckle is drawn out across the
beam and pulls every such maximum, and every structure tensor, towards the horizontal.  It has no
side, though: what the beam does at ``+angle`` it does at ``-angle``.  Hence

    excess(angle) = (P(angle) - P(-angle)) / P(-angle) ** TEMPER

with P the mean power along the ray of an angle.  TEMPER 0 removes what speckle adds; 1 would also
undo the blur of the beam, but is noisy.  The constants were chosen on simulated pictures and on
strokes drawn along fascicles (us_masks_dltrack), not on the observers' labels that score them.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from edge.resample import weights

F32 = NDArray[np.float32]

STEP_MM = 0.2  # both ways, finer than a streak is wide
CELLS = 96  # of a patch: 19.2 mm, about as long as a fascicle stays visible
HOP = CELLS // 4
COVER = 0.5  # share of a patch's window that has to lie in the muscle
WAVES_MM = (0.7, 3.0)  # between streaks, across them
SHARPEN = 1.5  # exponent of frequency: tissue has less of the high ones
BLUR_DEG = 3.5  # width of a ray
TEMPER = 0.35
ANGLES_DEG = np.arange(-75.0, 76.0)  # symmetric: [::-1] is the mirror image


class Direction(NamedTuple):
    """Where most fascicles point; NaN and clarity 0 when no direction stands out."""

    angle_deg: float  # against the transducer's face; positive: deeper towards larger x
    clarity: float  # 0..1: share of the power on that ray which its mirror image does not explain


NONE = Direction(float("nan"), 0.0)


def direction(
    image: NDArray[Any],
    inside: NDArray[np.bool_],
    dx_mm: float,
    dz_mm: float,
    low_deg: float,
    high_deg: float,
) -> Direction:
    """Direction of the streaks in the part ``inside`` of a picture.

    ``image`` is ``(lines, samples)`` brightness, ``inside`` has its shape; keep it off the
    aponeuroses.  Looks at angles from ``low_deg`` to ``high_deg``, both within 0..74, and accepts
    only a maximum between them: one at an end is the slope of something else.
    """
    power = _power(image, inside, dx_mm, dz_mm)
    if power is None:
        return NONE
    mirror = power[::-1]
    excess = (power - mirror) / mirror**TEMPER
    there = np.flatnonzero(
        np.abs(ANGLES_DEG - (low_deg + high_deg) / 2) <= (high_deg - low_deg) / 2
    )
    k = there[np.argmax(excess[there])]
    if k in (there[0], there[-1]) or excess[k] <= 0:
        return NONE
    # A parabola through the top three: finer than the grid of angles.
    before, top, after = excess[k - 1 : k + 2]
    bend = before - 2 * top + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    clarity = (power[k] - mirror[k]) / (power[k] + mirror[k])
    return Direction(float(ANGLES_DEG[k] + shift), float(clarity))


def _power(
    image: NDArray[Any], inside: NDArray[np.bool_], dx_mm: float, dz_mm: float
) -> NDArray[np.float64] | None:
    """Mean power at each of ANGLES_DEG over the patches that lie in the muscle; None: no patch."""
    x, z = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(x) == 0:
        return None
    box = slice(x[0], x[-1] + 1), slice(z[0], z[-1] + 1)
    across, down = _grid(x[-1] + 1 - x[0], dx_mm), _grid(z[-1] + 1 - z[0], dz_mm)
    picture = across @ (image[box].astype(np.float32) @ down.T)
    share = across @ (inside[box].astype(np.float32) @ down.T)

    half = CELLS // 2  # so that patches may reach over the edge, where nothing counts
    patches = np.lib.stride_tricks.sliding_window_view
    size = CELLS, CELLS
    seen = patches(np.pad(picture, half), size)[::HOP, ::HOP]
    window = patches(np.pad(share, half), size)[::HOP, ::HOP] * _hann()
    total = window.sum(axis=(2, 3))
    good = total >= COVER * _hann().sum()
    if not good.any():
        return None
    seen, window = seen[good], window[good]
    level = (seen * window).sum(axis=(1, 2)) / total[good]
    waves = (seen - level[:, None, None]) * window
    # Bright patches show more, but must not drown the others: they vote with amplitude, not power.
    amplitude = np.sqrt(np.maximum((waves**2).sum(axis=(1, 2)), 1e-6))
    spectrum = np.abs(scipy.fft.rfft2(waves)) ** 2 / amplitude[:, None, None]
    return np.asarray(_rays() @ spectrum.mean(axis=0).ravel(), np.float64) + 1e-9


@lru_cache(maxsize=16)
def _grid(n: int, d_mm: float) -> F32:
    """Resampling matrix of one axis to STEP_MM."""
    cells = max(int(n * d_mm / STEP_MM), 1)
    return weights(n, (0.0, cells * STEP_MM / d_mm, cells))


@lru_cache(maxsize=1)
def _hann() -> F32:
    ramp = np.hanning(CELLS + 1)[:CELLS]
    return np.asarray(np.outer(ramp, ramp), np.float32)


@lru_cache(maxsize=1)
def _rays() -> F32:
    """Weights ``(angles, frequencies)`` of an rfft2; white noise has the same power on each ray."""
    fx = np.fft.fftfreq(CELLS, STEP_MM)[:, None]
    fz = np.fft.rfftfreq(CELLS, STEP_MM)[None, :]
    f = np.hypot(fx, fz)
    band = (f > 1 / WAVES_MM[1]) & (f < 1 / WAVES_MM[0])
    streak_deg = np.degrees(np.arctan2(-fx, fz))  # a streak is square to its wave vector
    off_deg = (streak_deg - ANGLES_DEG[:, None, None] + 90) % 180 - 90
    rays = np.exp(-0.5 * (off_deg / BLUR_DEG) ** 2) * band * f**SHARPEN
    rays /= rays.sum(axis=(1, 2), keepdims=True)
    return np.asarray(rays.reshape(len(ANGLES_DEG), -1), np.float32)
