"""Ridge towards "nothing to change", for one output of one wearer.

With z = (estimate - centre) / scale and r = (reference - estimate) / scale, it minimises

    sum_i w_i (r_i - b0 - b1 z_i)^2 + offset_s b0^2 + gain_s b1^2

where the weights w_i are seconds.  So a strength is the number of seconds of routine that weigh as
much as the belief that the wearer needs no correction, whatever the frame rate.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibration.phases import PHASES
from calibration.routine import NO_PHASE, Routine

F64 = NDArray[np.float64]

LEAST_SPAN = 0.5  # of the scale: references that span less say nothing about the gain


class Moments(NamedTuple):
    """All that the fit needs of one output of a routine."""

    a: F64  # (2, 2) weighted products of (1, z)
    c: F64  # (2,) weighted products of (1, z) and r
    rr: float  # weighted r^2
    seconds: float  # of all weights
    span: float  # of the references, in the output's unit


def weights(r: Routine, known: NDArray[np.bool_]) -> F64:
    """Seconds per row ``(n,)``, 0 where nothing is known; every phase weighs the same in all.

    Rest lasts ten times as long as the pushes, and says no more.
    """
    rows = known & ~r.flagged & (r.phase != NO_PHASE)
    w = np.where(rows, r.seconds, 0.0)
    total = w.sum()
    per_phase = [w * (r.phase == k) for k in range(len(PHASES))]
    there = [p for p in per_phase if p.sum() > 0]
    return sum((p * (total / len(there) / p.sum()) for p in there), np.zeros(len(w)))


def moments(r: Routine, k: int, centre: float, scale: float) -> Moments | None:
    """Of output ``k``; None where nothing is known of it."""
    w = weights(r, np.isfinite(r.references[:, k]))
    rows = w > 0
    if not rows.any():
        return None
    return products(r.estimates[rows, k], r.references[rows, k], w[rows], centre, scale)


def products(x: F64, y: F64, w: F64, centre: float, scale: float) -> Moments:
    """Of estimates ``x``, references ``y`` and weights ``w``, all ``(n,)``."""
    design = np.stack([np.ones(len(x)), (x - centre) / scale])
    residual = (y - x) / scale
    weighted = design * w
    return Moments(
        weighted @ design.T,
        weighted @ residual,
        float(w @ residual**2),
        float(w.sum()),
        float(np.ptp(y)),
    )


def solve(m: Moments, offset_s: float, gain_s: float) -> tuple[float, float]:
    """``(b0, b1)``; an infinite strength holds its number at 0."""
    (a00, a01), (_, a11) = m.a + np.diag([_finite(offset_s), _finite(gain_s)])
    c0, c1 = m.c
    if math.isinf(offset_s) and math.isinf(gain_s):
        return 0.0, 0.0
    if math.isinf(gain_s):
        return float(c0 / a00), 0.0
    if math.isinf(offset_s):
        return 0.0, float(c1 / a11)
    det = a00 * a11 - a01 * a01
    return float((a11 * c0 - a01 * c1) / det), float((a00 * c1 - a01 * c0) / det)


def mean_square(m: Moments, b0: float, b1: float) -> float:
    """Weighted mean of the squared residual that ``(b0, b1)`` leaves, in units of scale^2."""
    b = np.array([b0, b1])
    return max(float(m.rr - 2 * b @ m.c + b @ m.a @ b) / m.seconds, 0.0)


def surprise(r: Routine, k: int, gain: float, offset: float) -> float:
    """By how much the errors that are left exceed gain x SD (RMS), at least 1.

    A network that reads this wearer badly would be shrunk to the mean, its SD with it: what is left
    of the error must not be believed to be small.
    """
    w = weights(r, np.isfinite(r.references[:, k]))
    rows = w > 0
    if r.sd is None or not rows.any():
        return 1.0
    left = r.references[rows, k] - gain * r.estimates[rows, k] - offset
    squares = (left / (gain * r.sd[rows, k])) ** 2
    return max(1.0, math.sqrt(float(np.average(squares, weights=w[rows]))))


def _finite(strength: float) -> float:
    return 0.0 if math.isinf(strength) else strength
