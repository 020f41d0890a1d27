"""What the device's network says of whole trials, beside a linear map of the same features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.elbow import MUSCLES
from models.nmm_doubt import Doubt
from models.nmm_step import SPOKEN, NmmStep
from training.fit_nmm import Fitted
from training.joint_data import F64, JointTrial
from training.nmm_study import NEIGHBOURS
from training.virtual_arm import Trial
from training.virtual_measure import Measured, segment_of

LATER = 5  # samples from EMG to activation, as is usual: the linear map's guess
_SPOKEN = [MUSCLES.index(name) for name in SPOKEN]


@dataclass(frozen=True)
class Asked:
    """A held-out trial: ``(n, 7)`` in the units of the outputs, once the states had settled."""

    load_kg: float
    away_kg: float  # to the nearest load in training
    said: F64
    linear: F64
    truth: F64

    @property
    def off(self) -> F64:
        """What was said less what was so."""
        return self.said - self.truth


def device_step(fitted: Fitted, person: str, doubt: Doubt) -> NmmStep:
    """The module that ships, for somebody whose forearm was weighed."""
    standard = fitted.standard
    return NmmStep(fitted.model, standard.mean, standard.sd, segment_of(person), doubt).eval()


@torch.inference_mode()
def say(step: NmmStep, trials: Sequence[Measured]) -> list[tuple[F64, F64]]:
    """Values and SD ``(n, 7)`` of each trial, sample by sample from its raw angle; side by side,
    so all must be of one length.
    """
    angles = torch.tensor(np.rad2deg([t.raw_angle_rad for t in trials]), dtype=torch.float32)
    loads = torch.tensor([[t.load_kg] for t in trials], dtype=torch.float32)
    states, rows = tuple(step.start(len(trials))), []
    for angle in angles.T:
        values, sd, *after = step(angle[:, None], loads, *states)
        states = tuple(after)
        rows.append(torch.stack([values, sd]))
    said = torch.stack(rows, 2).double().numpy()  # (2, trials, n, 7)
    return [(values, sd) for values, sd in zip(*said, strict=True)]


def truth(t: Trial, m: Measured) -> F64:
    """``(n, 7)`` of a measured trial: activations of the simulation, measured moment."""
    edge = (len(t.angle_rad) - len(m.angle_rad)) // 2  # that measuring cuts
    activation = t.activation[edge : edge + len(m.angle_rad), _SPOKEN]
    return np.concatenate([100 * activation, m.moment_nm[:, None]], 1)


class Line:
    """Least squares from the newest features to moment, and to envelopes as activation shows them.

    Muscles without an electrode are their neighbours' mean.
    """

    def __init__(self, trials: Sequence[JointTrial]):
        wanted = np.concatenate([np.c_[t.envelope[:-LATER], t.moment_nm[LATER:]] for t in trials])
        wanted[:, np.isnan(wanted).all(0)] = 0.0
        x = np.concatenate([_with_one(t)[LATER:] for t in trials])
        self._weights = np.linalg.lstsq(x, wanted, rcond=None)[0]
        for deep, near in NEIGHBOURS.items():
            like = self._weights[:, [MUSCLES.index(n) for n in near]].mean(1)
            self._weights[:, MUSCLES.index(deep)] = like

    def __call__(self, t: JointTrial) -> F64:
        """``(n, 7)`` of a trial."""
        said = _with_one(t) @ self._weights
        pct = 100 * said[:, :-1].clip(0, 1)[:, _SPOKEN]
        return np.asarray(np.concatenate([pct, said[:, -1:]], 1))


def _with_one(t: JointTrial) -> F64:
    return np.asarray(np.c_[t.features, np.ones(len(t.features))])
