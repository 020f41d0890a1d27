"""How much of a movement is in estimates of activation: ridge from all muscles, at the best lag.

The protocol of Wimalasena et al. 2022: z-scored, ridge with penalty 1, ten unshuffled folds, one
lag for all muscles, 0 to 48 ms, the best by mean R2.  Errors of a fold are taken against the
variance of the whole recording: in a fold where nothing moves, its own variance is none.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

FOLDS = 10
LAGS = tuple(range(0, 25, 4))  # bins by which EMG leads
PENALTY = 1.0
LEARNED = 0.75  # of a test bed; the rest is only judged


class Decoded(NamedTuple):
    """Of one target."""

    r2: float  # mean over folds, at the best lag
    sd: float  # over folds
    lag: int  # bins


def decode(activation: F64, target: F64, valid: NDArray[np.bool_] | None = None) -> Decoded:
    """R2 of ``target (bins,)`` from ``activation (bins, channels)``.

    Bins without an estimate (NaN), or not ``valid``, are left out of both.  Every method must be
    given the same bins: pass ``valid``.
    """
    ok = np.asarray(np.isfinite(activation).all(1))
    if valid is not None:
        ok = ok & valid
    return max((_at(activation, target, ok, lag) for lag in LAGS), key=lambda d: d.r2)


def _at(activation: F64, target: F64, ok: NDArray[np.bool_], lag: int) -> Decoded:
    """By the sums of each fold: what a ridge needs, and what its error on a fold is made of."""
    n = min(len(activation), len(target)) - lag
    keep = ok[:n]
    x, y = activation[:n][keep], target[lag : lag + n][keep]
    # Round their means, so that sums of squares are about what varies.
    rows = np.column_stack([x - x.mean(0), y - y.mean(), np.ones(len(x))])
    sums = np.stack([part.T @ part for part in np.array_split(rows, FOLDS)])
    whole = sums.sum(0)
    scores = []
    for out in sums:
        line = _ridge(whole - out)
        error = line @ out @ line / out[-1, -1]
        scores.append(1 - error / (whole[-2, -2] / whole[-1, -1]))
    return Decoded(float(np.mean(scores)), float(np.std(scores)), lag)


def _ridge(sums: F64) -> F64:
    """From the sums of products of ``(x, y, 1)`` to what leaves the error, in the same order.

    Columns are brought to mean 0 and SD 1 for the penalty.
    """
    n = sums[-1, -1]
    mean = sums[-1, :-1] / n
    cov = sums[:-1, :-1] / n - np.outer(mean, mean)
    spread = np.sqrt(np.maximum(np.diag(cov), 0.0))
    unit = np.where(spread > 0, spread, 1.0)
    r = n * cov / np.outer(unit, unit)
    weights = np.linalg.solve(r[:-1, :-1] + PENALTY * np.eye(len(r) - 1), r[:-1, -1])
    slope = weights * unit[-1] / unit[:-1]
    return np.concatenate([slope, [-1.0, mean[-1] - slope @ mean[:-1]]])


def truth_r2(activation: F64, truth: F64, train: NDArray[np.bool_]) -> float:
    """R2 of known activation, mean over channels, on the bins that are not ``train``.

    Estimates have units of their own: each channel gets the gain and offset that fit it best on
    ``train``.  ``(bins, channels)`` both.
    """
    n = min(len(activation), len(truth))
    e, t, train = activation[:n], truth[:n], train[:n]
    ok = np.isfinite(e).all(1)
    found = []
    for k in range(t.shape[1]):
        x = np.stack([e[:, k], np.ones(n)], 1)
        fitted, *_ = np.linalg.lstsq(x[ok & train], t[ok & train, k], rcond=None)
        judged = ok & ~train
        error = x[judged] @ fitted - t[judged, k]
        found.append(1 - np.mean(error**2) / np.var(t[judged, k]))
    return float(np.mean(found))
