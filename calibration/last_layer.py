"""The variant that turns the network's last layer, where the truth is known picture by picture.

Ridge regression of what the network gets wrong on its penultimate features, towards the weights it
has: the population's layer stays where the data say nothing.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.phases import CalibrationError
from calibration.prior import GAINS
from calibration.ridge import weights
from calibration.routine import Routine, check

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class LastLayer:
    """What is added to the estimates: ``(features - mean) @ weights + bias``."""

    mean: F64  # (features,)
    weights: F64  # (features, outputs), in the outputs' units
    bias: F64  # (outputs,)

    def apply(self, estimates: F64, features: F64) -> F64:
        """Adapted estimates ``(n, outputs)`` of pictures with ``features (n, features)``."""
        return estimates + (features - self.mean) @ self.weights + self.bias


def fit_last_layer(r: Routine, features: F64, strength_s: float) -> LastLayer:
    """From a routine whose references are known for every picture (NaN rows are left out).

    ``features`` are ``(n, features)``, of the rows of ``r``; they are divided by one number, their
    RMS, so that a feature that hardly moves hardly counts.  ``strength_s``: seconds of routine that
    weigh as much as the belief in the population's layer; it holds bias and weights alike.
    Raises CalibrationError.
    """
    check(r)
    if features.ndim != 2 or len(features) != len(r.t_s):
        raise CalibrationError(f"{len(r.t_s)} pictures, features {features.shape}")
    if not 0 < strength_s <= math.inf:
        raise CalibrationError(f"a strength is positive, not {strength_s}")
    outputs = r.estimates.shape[1]
    layer = np.zeros((features.shape[1], outputs))
    bias = np.zeros(outputs)
    used = np.isfinite(r.references).any(axis=1) & ~r.flagged
    if not np.isfinite(features[used]).all():
        raise CalibrationError("some features are no numbers: replay the recording")
    mean = features[used].mean(axis=0)
    rms = math.sqrt(float(np.mean((features[used] - mean) ** 2)))
    for k in range(outputs):
        w = weights(r, np.isfinite(r.references[:, k]))
        rows = w > 0
        if math.isinf(strength_s) or not rows.any() or rms == 0:
            continue
        error = r.references[rows, k] - r.estimates[rows, k]
        design = np.column_stack([np.ones(len(error)), (features[rows] - mean) / rms])
        weighted = design.T * w[rows]
        b = np.linalg.solve(
            weighted @ design + strength_s * np.eye(design.shape[1]), weighted @ error
        )
        bias[k], layer[:, k] = b[0], b[1:] / rms
        _guard(r.estimates[rows, k], design @ b, w[rows])
    return LastLayer(mean, layer, bias)


def _guard(estimates: F64, change: F64, w: F64) -> None:
    """The adapted estimates may not be more, or less, than GAINS of the ones before."""
    (xx, xy), _ = np.cov(estimates, estimates + change, aweights=w, ddof=0)
    if xx > 0 and not GAINS[0] <= xy / xx <= GAINS[1]:
        raise CalibrationError(
            f"the last layer would need a gain of {xy / xx:.2f}, people differ by {GAINS[0]:g} to "
            f"{GAINS[1]:g}: check the probe's place, and the times and units of the references"
        )
