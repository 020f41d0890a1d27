"""The linear models to beat: principal components of pictures, and lagged EMG envelopes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from models.spec import Input, Step
from training.emg_steps import Trial

F64 = NDArray[np.float64]
Floats = NDArray[np.floating]
PENALTIES = tuple(10.0**k for k in range(-6, 3))  # of the ridge, relative to the feature variance
COMPONENTS = 80
LAGS = tuple(range(0, 55, 5))  # steps of 10 ms: half a second back

# The chain of the authors of emg_torque_fascicle_ta: 10-450 Hz, rectified, 5 Hz low-pass.
ENVELOPE = Input(
    "envelope",
    (1, 1),
    "emg",
    steps=(
        Step("bandpass", {"low_hz": 10, "high_hz": 450}),
        Step("rectify"),
        Step("envelope", {"hz": 5}),
        Step("bin"),
    ),
    rate_hz=2000,
    hop=20,
    channels=("tibialis anterior",),
)


@dataclass(frozen=True)
class Linear:
    """``(x - centre) @ weights + offset``."""

    centre: Floats
    weights: Floats
    offset: Floats

    def __call__(self, x: Floats) -> F64:
        """Estimates ``(n, outputs)`` for features ``(n, f)``."""
        return np.asarray((x - self.centre) @ self.weights + self.offset)


def ridge(x: Floats, y: Floats, penalty: float) -> Linear:
    """Least squares of ``y (n, o)`` on ``x (n, f)`` with a penalty on the weights."""
    centre, offset = (np.asarray(np.mean(v, axis=0, dtype=np.float64)) for v in (x, y))
    d = x - centre
    gram = d.T @ d
    gram[np.diag_indices_from(gram)] += penalty * np.trace(gram) / len(gram)
    weights = scipy.linalg.solve(gram, d.T @ (y - offset), assume_a="pos")
    return Linear(centre, weights, offset)


def picture_baseline(images: Floats, y: Floats, clip: NDArray[np.intp]) -> Linear:
    """Ridge on principal components of ``images (n, ...)``; leave-clip-out picks the penalty.

    The result takes pictures flattened to ``(n, pixels)``.
    """
    x = images.reshape(len(images), -1)

    def project(train: NDArray[np.bool_]) -> tuple[Floats, Callable[[Linear], Linear]]:
        centre, basis = _components(x[train])
        return (x - centre) @ basis, lambda m: Linear(
            centre, basis @ m.weights, m.offset - m.centre @ m.weights
        )

    penalty = _choose(project, y, clip)
    features, unproject = project(np.ones(len(x), bool))
    return unproject(ridge(features, y, penalty))


def emg_baseline(trials: Sequence[Trial]) -> Linear:
    """Ridge on the lagged envelopes of ``trials``; leave-trial-out picks the penalty."""
    x = np.concatenate([lagged(t.features) for t in trials])
    y = np.concatenate([t.targets for t in trials])
    trial = np.concatenate([np.full(len(t.targets), k) for k, t in enumerate(trials)])
    return ridge(x, y, _choose(lambda _: (x, lambda m: m), y, trial))


def lagged(features: Floats) -> Floats:
    """``(steps, f)`` to ``(steps, f * lags)``; before the start the first value holds."""
    at = np.arange(len(features))[:, None] - np.array(LAGS)
    return np.asarray(features[np.maximum(at, 0)].reshape(len(features), -1))


def _choose(
    project: Callable[[NDArray[np.bool_]], tuple[Floats, Callable[[Linear], Linear]]],
    y: Floats,
    group: NDArray[np.intp],
) -> float:
    """The penalty with the least standardised error when each group in turn is left out."""
    errors = dict.fromkeys(PENALTIES, 0.0)
    scale = np.std(y, axis=0)
    for k in np.unique(group):
        out = group == k
        features, _ = project(~out)
        for penalty in PENALTIES:
            model = ridge(features[~out], y[~out], penalty)
            errors[penalty] += float(np.sum(((model(features[out]) - y[out]) / scale) ** 2))
    return min(errors, key=lambda p: errors[p])


def _components(x: Floats) -> tuple[Floats, Floats]:
    """Mean ``(f,)`` and the first principal directions ``(f, k)``, orthonormal."""
    centre = np.mean(x, axis=0)
    d = x - centre
    n = len(d)
    k = min(COMPONENTS, n - 1)
    # Fewer pictures than pixels: the directions follow from the small matrix of their products.
    power, vectors = scipy.linalg.eigh((d @ d.T).astype(np.float64), subset_by_index=(n - k, n - 1))
    return centre, d.T @ (vectors / np.sqrt(power)).astype(x.dtype)
