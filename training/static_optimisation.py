"""Static optimisation and the neighbour's copy: baselines that learn little or nothing.

At each instant the activations with the least sum of squares that make the moment (Crowninshield
and Brand 1981 with squares).  With rigid tendons the moment is a line in each activation, so the
optimum is known up to one multiplier, found by bisection for all instants together.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.hill_joint import Geometry, forces_n
from models.muscle import A_MIN, Muscle
from models.physiology import Values
from training.joint_data import JointTrial

F64 = NDArray[np.float64]
ROUNDS = 60
MOST_SHIFT = 20  # samples


def static_optimisation(t: JointTrial, muscle: Muscle, values: Values) -> tuple[F64, F64]:
    """Activations ``(n, muscles)`` A_MIN..1, and the moment ``(n,)`` in N m they could not make.

    The least sum is of the squares of activity as force follows it; what is returned is the
    activation behind it, the person's bend undone.
    """
    g = Geometry(*(torch.from_numpy(x) for x in (t.length_mm, t.arm_mm, t.path_mm_s)))
    linear = values._replace(shape=torch.tensor(-0.01, dtype=torch.float64))
    ones, zeros = torch.ones_like(g.arm_mm), torch.zeros_like(g.arm_mm)
    m = Muscle(*(x.double() for x in muscle))
    passive = (forces_n(m, linear, zeros, g) * g.arm_mm).numpy() / 1000
    full = (forces_n(m, linear, ones, g) * g.arm_mm).numpy() / 1000 - passive
    damping = float(values.damping_nm_s) * t.speed_rad_s
    wanted = t.moment_nm + damping - passive.sum(1)
    # d/da (sum a^2 - mu (sum full a - wanted)) = 0: a = mu full / 2, inside its limits.
    scale = 2 / np.maximum(np.abs(full).max(1), 1e-9) ** 2
    low, high = -1e3 * scale, 1e3 * scale
    for _ in range(ROUNDS):
        mu = 0.5 * (low + high)
        a = np.clip(0.5 * mu[:, None] * full, A_MIN, 1.0)
        more = (full * a).sum(1) < wanted
        low, high = np.where(more, mu, low), np.where(more, high, mu)
    shape = float(values.shape)
    return np.log1p(a * np.expm1(shape)) / shape, wanted - (full * a).sum(1)


def best_shift(trials: Sequence[JointTrial], said: Sequence[F64]) -> int:
    """How many samples earlier activations look most like the measured envelopes of training."""

    def likeness(k: int) -> float:
        pairs = [
            np.corrcoef(t.envelope[: len(t.envelope) - k, j], a[k:, j])[0, 1]
            for t, a in zip(trials, said, strict=True)
            for j in np.flatnonzero(~np.isnan(t.envelope).all(0))
            if a[k:, j].std() > 0
        ]
        return float(np.mean(pairs))

    return max(range(MOST_SHIFT + 1), key=likeness)


def earlier(a: F64, samples: int) -> F64:
    """Each row ``samples`` earlier; the last one is held."""
    return np.concatenate([a[samples:], np.repeat(a[-1:], samples, axis=0)])


def copied(t: JointTrial, names: Sequence[str], neighbours: Mapping[str, Sequence[str]]) -> F64:
    """Measured envelopes, and the mean of neighbours' where there is no electrode."""
    said = t.envelope.copy()
    for deep, surface in neighbours.items():
        said[:, names.index(deep)] = t.envelope[:, [names.index(s) for s in surface]].mean(1)
    return said
