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
    n = min(len(activation), len(target)) - lag
    keep = ok[:n]
    x, y = activation[:n][keep], target[lag : lag + n][keep]
    scores = []
    for out in np.array_split(np.arange(len(x)), FOLDS):
        train = np.ones(len(x), bool)
        train[out] = False
        centre, spread = x[train].mean(0), x[train].std(0)
        z = (x - centre) / np.where(spread > 0, spread, 1.0)
        middle, scale = y[train].mean(), y[train].std()
        gram = z[train].T @ z[train] + PENALTY * np.eye(z.shape[1])
        weights = np.linalg.solve(gram, z[train].T @ ((y[train] - middle) / scale))
        error = y[out] - (z[out] @ weights * scale + middle)
        scores.append(1 - np.mean(error**2) / np.var(y))
    return Decoded(float(np.mean(scores)), float(np.std(scores)), lag)


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
