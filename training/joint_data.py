"""Trials of one joint as every method reads them: motion and load, envelopes and moment.

``JointTrial`` does not know where it comes from: simulated elbows (``elbow_trial``) and recorded
ankles (``training/gait.py``) look alike to the fits and the baselines.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.elbow import inverse_dynamics_nm, paths
from training.virtual_measure import Measured, segment_of

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class JointTrial:
    """One trial at ``rate_hz``: ``(n,)``, features ``(n, inputs)``, the rest ``(n, muscles)``."""

    name: str
    load_kg: float
    rate_hz: float
    features: F64  # kinematics, load, inverse-dynamics moment; in their own units
    angle_rad: F64
    speed_rad_s: F64
    moment_nm: F64
    length_mm: F64
    arm_mm: F64
    path_mm_s: F64
    envelope: F64  # NaN where no electrode is
    truth: F64  # envelopes that nobody measured, to score against; NaN where not known
    features_per_kg: F64  # what another kg in the hand would add to features and moment
    moment_per_kg: F64
    start_s: float = 0.0  # of the first sample, by the clock of the trial's own files

    def loaded(self, load_kg: float) -> "JointTrial":
        """The same motion with another load: moment known, EMG not."""
        more = load_kg - self.load_kg
        return replace(
            self,
            load_kg=load_kg,
            features=self.features + more * self.features_per_kg,
            moment_nm=self.moment_nm + more * self.moment_per_kg,
            envelope=np.full_like(self.envelope, np.nan),
            truth=np.full_like(self.truth, np.nan),
        )


def elbow_trial(m: Measured) -> JointTrial:
    """A simulated trial; its features are angle, speed, acceleration, load, moment."""
    q, v, a = (torch.from_numpy(x) for x in (m.angle_rad, m.speed_rad_s, m.acceleration_rad_s2))
    segment = segment_of(m.person)
    loaded, empty = (inverse_dynamics_nm(q, v, a, kg, segment) for kg in (1.0, 0.0))
    per_kg = (loaded - empty).numpy()
    length, arm = (x.numpy() for x in paths(q))
    n = len(m.angle_rad)
    constant, nothing = np.full(n, m.load_kg), np.zeros(n)
    return JointTrial(
        name=f"{m.person}-{m.load_kg:g}kg-{m.tempo_s:g}s",
        load_kg=m.load_kg,
        rate_hz=100.0,
        features=np.stack(
            [m.angle_rad, m.speed_rad_s, m.acceleration_rad_s2, constant, m.moment_nm], 1
        ),
        angle_rad=m.angle_rad,
        speed_rad_s=m.speed_rad_s,
        moment_nm=m.moment_nm,
        length_mm=length,
        arm_mm=arm,
        path_mm_s=-arm * m.speed_rad_s[:, None],
        envelope=m.envelope,
        truth=m.truth,
        features_per_kg=np.stack([nothing, nothing, nothing, nothing + 1, per_kg], 1),
        moment_per_kg=per_kg,
    )
