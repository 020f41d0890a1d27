"""Simulated wearers whose model is wrong by a known gain and offset."""

from dataclasses import dataclass

import numpy as np
import pytest

from calibration.phases import Interval
from calibration.routine import Routine, references
from firmware_bridge.types import Output

OUTPUTS = (
    Output("ankle_angle", "deg", -50, 50, max_sd=20),
    Output("emg", "1", -0.5, 2),
    Output("ankle_moment", "N m", -50, 250),
)
INTERVALS = (
    Interval(0, 30, "rest"),
    Interval(32, 36, "mvc", moment_nm=120.0),
    Interval(40, 44, "mvc", moment_nm=120.0),
    Interval(50, 110, "passive"),
)
SD = np.array([3.0, 0.1, 8.0])  # of the model's errors, in its own units


@dataclass
class Wearer:
    """Truth = gain * estimate + offset, and noise of SD."""

    gain: np.ndarray
    offset: np.ndarray
    rng: np.random.Generator
    noise: float = 1.0

    def estimates(self, truth):
        """What the model says of ``truth (n, 3)``, and the SD it claims."""
        wrong = (truth - self.offset) / self.gain
        sd = np.broadcast_to(SD, truth.shape).copy()
        return wrong + self.noise * SD * self.rng.normal(size=truth.shape), sd

    def routine(self, fs_hz=10.0, encoder=True, intervals=INTERVALS):
        """110 s; the ankle swings in the passive phase, activity and moment in the pushes."""
        t_s = np.arange(0, 110, 1 / fs_hz) + 0.5 / fs_hz
        push = sum((t_s > i.start_s) & (t_s < i.end_s) for i in INTERVALS[1:3]).astype(float)
        angle = np.where(t_s > 50, 25 * np.sin(2 * np.pi * t_s / 15), 0.0)
        truth = np.stack([angle, push, 120 * push], axis=1)
        estimates, sd = self.estimates(truth)
        phase, known = references(t_s, intervals, OUTPUTS, angle if encoder else None)
        return Routine(t_s, phase, estimates, sd, known, np.zeros(len(t_s), bool))

    def session(self, n=400):
        """Truth, estimates and SD ``(n, 3)`` of something else than the routine."""
        truth = self.rng.normal([0, 0.4, 45], [12, 0.3, 40], (n, 3))
        return truth, *self.estimates(truth)


@pytest.fixture
def wearer():
    """``wearer(gain, offset, seed, noise)``."""

    def make(gain=(1, 1, 1), offset=(0, 0, 0), seed=0, noise=1.0):
        gain, offset = np.array(gain, float), np.array(offset, float)
        return Wearer(gain, offset, np.random.default_rng(seed), noise)

    return make
