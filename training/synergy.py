"""Muscle synergy extrapolation: deep muscles as mixtures of what surface electrodes share.

The procedure of Ao, Shourijeh, Patten, Fregly 2020 (doi 10.3389/fncom.2020.588943): factorise the
measured envelopes over their greatest values, mix the unmeasured ones from the same time courses,
and find weights and the person's Hill parameters together by the joint's moment.  As there, NMF or
PCA with a constant, factors of NMF whose weights sum to 1, and a price on unmeasured activity of an
allowable size of 0.3.  It departs from what is known of the reference (its abstract, and SynX in
the NMSM Pipeline of the same laboratory) in this:

- One factorisation of all trials, where the reference may take each trial or task by itself; as
  few synergies as explain ``VAF``, at most ``MOST`` (DEFAULTs: its best choice is not known here).
- Measured envelopes stay as they are.  There, they may be off by residuals, mixtures of the same
  courses with small weights of their own.
- Envelopes between 0 and 1 are a constraint there.  Here going beyond costs, with a tolerance of
  0.02, and what is read from other trials is clipped.
- Weights of NMF are not negative here; there any may be between -100 and 100.
- A moment's error is of an allowable size of 3 % of the greatest moment, there of 2 N m; samples
  within 0.2 s count as one.
- The person has strengths here, a greatest speed and a damping of the joint, and what is usual as
  a weak prior; parameters and bounds are those of ``models/physiology.py``.  Because strengths are
  free, the price on activity makes muscles stronger and unmeasured ones quieter than they are;
  the studies therefore try it with ``CHEAPER``, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from calibration.hill_problem import ALLOWED_ACTIVITY, Effort
from calibration.physiology import Identification, identify
from models.hill_joint import Geometry
from models.muscle import Muscle
from training.joint_data import JointTrial

F64 = NDArray[np.float64]
Method = Literal["nmf", "pca"]

RESTARTS, ROUNDS, TOLERANCE = 20, 2000, 1e-10
VAF = 0.95  # of the measured envelopes, that synergies must explain
MOST = 4
CHEAPER = 1.0  # allowed activity; of 0.3, 0.6, 1, 2 the best for both methods on person V6


@dataclass(frozen=True)
class Synergies:
    """A factorisation of envelopes over their greatest values: ``E / top ~ C W [+ mean]``."""

    method: Method
    weights: F64  # (k, measured)
    top: F64  # (measured,)
    mean: F64  # (measured,); 0 for nmf

    def courses(self, envelope: F64) -> F64:
        """Time courses ``(n, k [+ 1])`` of measured envelopes ``(n, measured)``."""
        scaled = envelope / self.top - self.mean
        if self.method == "nmf":
            return np.stack([nnls(self.weights.T, row)[0] for row in scaled])
        courses = scaled @ self.weights.T
        return np.concatenate([courses, np.ones((len(courses), 1))], 1)


@dataclass(frozen=True)
class Extrapolation:
    """Synergies, and the person and mixtures found with them."""

    synergies: Synergies
    person: Identification
    measured: NDArray[np.bool_]

    def __call__(self, trial: JointTrial) -> F64:
        """All envelopes ``(n, muscles)`` of another trial, from its measured ones."""
        said = trial.envelope.copy()
        courses = self.synergies.courses(trial.envelope[:, self.measured])
        said[:, ~self.measured] = np.clip(courses @ self.person.weights, 0.0, 1.0)
        return said


def nmf(e: F64, k: int, seed: int = 0) -> tuple[F64, F64, float]:
    """``C (n, k)``, ``W (k, m)`` with rows that sum to 1, and VAF: the best of many starts.

    Multiplicative updates (Lee and Seung 2001).
    """
    rng = np.random.default_rng(seed)
    best: tuple[float, F64, F64] | None = None
    for _ in range(RESTARTS):
        c, w = rng.uniform(0.1, 1, (len(e), k)), rng.uniform(0.1, 1, (k, e.shape[1]))
        before = np.inf
        for _ in range(ROUNDS):
            c *= (e @ w.T) / np.maximum(c @ (w @ w.T), 1e-12)
            w *= (c.T @ e) / np.maximum((c.T @ c) @ w, 1e-12)
            error = float(((e - c @ w) ** 2).sum())
            if before - error < TOLERANCE * before:
                break
            before = error
        if best is None or error < best[0]:
            best = error, c, w
    assert best is not None
    error, c, w = best
    size = w.sum(1)
    return c * size, w / size[:, None], 1 - error / float((e**2).sum())


def factorise(envelope: F64, method: Method, seed: int = 0) -> Synergies:
    """As few synergies as explain ``VAF`` of envelopes ``(n, measured)``, at most one less than
    there are muscles.  Raises ValueError for fewer than two muscles."""
    if envelope.shape[1] < 2:
        raise ValueError("synergies need at least two measured muscles")
    top = envelope.max(0)
    scaled = envelope / top
    most = min(MOST, envelope.shape[1] - 1)
    if method == "pca":
        mean = scaled.mean(0)
        _, s, w = np.linalg.svd(scaled - mean, full_matrices=False)
        explained = 1 - (np.sum(s**2) - np.cumsum(s**2)) / np.sum(scaled**2)
        k = next((i + 1 for i in range(most) if explained[i] >= VAF), most)
        return Synergies(method, w[:k], top, mean)
    thin = scaled[:: max(1, len(scaled) // 2000)]  # synergies change slowly
    for k in range(1, most + 1):
        _, w, vaf = nmf(thin, k, seed)
        if vaf >= VAF:
            break
    return Synergies(method, w, top, np.zeros(len(top)))


def extrapolate(
    trials: Sequence[JointTrial],
    muscle: Muscle,
    names: Sequence[str],
    method: Method,
    seed: int = 0,
    allowed_activity: float = ALLOWED_ACTIVITY,
) -> Extrapolation:
    """Learn mixtures and person from training trials."""
    every = np.concatenate([t.envelope for t in trials])
    measured = ~np.isnan(every).all(0)
    synergies = factorise(every[:, measured], method, seed)
    efforts = [effort(t, synergies.courses(t.envelope[:, measured])) for t in trials]
    # Non-negative factors are mixed with non-negative weights; components have a sign.
    person = identify(efforts, muscle, names, trials[0].rate_hz, signed=method == "pca",
                      allowed_activity=allowed_activity)  # fmt: skip
    return Extrapolation(synergies, person, measured)


def effort(t: JointTrial, courses: F64 | None = None) -> Effort:
    """A trial as the identification reads it."""
    g = Geometry(*(torch.from_numpy(x) for x in (t.length_mm, t.arm_mm, t.path_mm_s)))
    return Effort(t.envelope, g, t.speed_rad_s, t.moment_nm, courses)
