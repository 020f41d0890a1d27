"""A muscle read from others that it used to work with: no physics, only what was once measured.

Needs the muscle's electrode while it learns, unlike synergy extrapolation, and so is no method for
deep muscles; it says how much of a muscle the others know at best, and it is all that can be done
where muscle paths are unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.joint_data import F64, JointTrial
from training.synergy import Method, Synergies, factorise

PENALTY = 0.01  # of a regression's standardised weights


@dataclass(frozen=True)
class VirtualSensor:
    """Time courses of the others, and features where ``mean`` is not empty, to one envelope."""

    synergies: Synergies
    others: list[int]
    mean: F64  # (inputs,) of what the weights see
    sd: F64
    weights: F64  # (inputs,)
    level: float
    features: bool

    def __call__(self, t: JointTrial) -> F64:
        """The envelope ``(n,)`` of a trial, >= 0, from its other envelopes."""
        x = _inputs(t, self.synergies, self.others, self.features)
        return np.asarray((((x - self.mean) / self.sd) @ self.weights + self.level).clip(min=0))


def learn(
    trials: Sequence[JointTrial],
    names: Sequence[str],
    muscle: str,
    method: Method,
    features: bool = False,
    seed: int = 0,
) -> VirtualSensor:
    """From trials in which everything is measured, ``muscle`` too.

    Regression on the synergies of the others, with ``features`` on motion and load as well.
    Raises ValueError where the muscle is hidden.
    """
    column = list(names).index(muscle)
    envelope = np.concatenate([t.envelope for t in trials])
    if np.isnan(envelope[:, column]).any():
        raise ValueError(f"{muscle} is hidden: what it does with others cannot be learned")
    others = [k for k in range(len(names)) if k != column]
    synergies = factorise(envelope[:, others], method, seed)
    x = np.concatenate([_inputs(t, synergies, others, features) for t in trials])
    mean, sd = x.mean(0), x.std(0)
    # What never changed, such as the load of a single trial, has nothing to say.
    sd[sd < 1e-9] = np.inf
    z, level = (x - mean) / sd, float(envelope[:, column].mean())
    square = z.T @ z + PENALTY * len(z) * np.eye(z.shape[1])
    weights = np.linalg.solve(square, z.T @ (envelope[:, column] - level))
    return VirtualSensor(synergies, others, mean, sd, weights, level, features)


def _inputs(t: JointTrial, synergies: Synergies, others: list[int], features: bool) -> F64:
    courses = synergies.courses(t.envelope[:, others])
    return np.concatenate([courses, t.features], 1) if features else courses
