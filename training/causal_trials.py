"""Simulated trials as the device meets them: features from the raw angle, nothing of what comes.

What there is to learn, envelopes and moment, stays what a laboratory measures with filters that
look both ways.
"""

from dataclasses import replace

import numpy as np
import torch

from models.causal_features import FILTER, end_of_quadratic, features
from training.joint_data import F64, JointTrial, elbow_trial
from training.virtual_measure import Measured, segment_of


def causal_trial(m: Measured) -> JointTrial:
    """A trial with features that ``models.nmm_step`` will see of it, sample by sample."""
    t = elbow_trial(m)
    segment, held = segment_of(m.person), np.full(FILTER - 1, m.raw_angle_rad[0])
    windows = torch.from_numpy(np.concatenate([held, m.raw_angle_rad])).unfold(0, FILTER, 1)
    weights = end_of_quadratic(FILTER, t.rate_hz)

    def with_load(kg: float) -> F64:
        return np.asarray(
            features(windows, windows.new_full((len(windows),), kg), weights, segment)
        )

    per_kg = with_load(1.0) - with_load(0.0)
    return replace(t, features=with_load(m.load_kg), features_per_kg=per_kg)
