"""A simulated trial as a laboratory would have it: noisy angle, envelopes of surface EMG, moment.

The truth of every muscle stays beside it, on the clock of the EMG: what a wire in the deep muscle
would have shown.  The seed is the trial's own, so a trial is always measured alike.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import butter, savgol_filter, sosfilt, sosfiltfilt

from models.elbow import Segment, inverse_dynamics_nm
from training.virtual_arm import Trial, trials_of
from training.virtual_people import (
    DEEP,
    EVERYBODY,
    F64,
    LOADS_KG,
    MUSCLES,
    RATE_HZ,
    TEMPOS_S,
    person,
)

ANGLE_NOISE_DEG = 0.1
ANGLE_HZ, ENVELOPE_HZ = 6.0, 6.0
FLOOR = 0.005  # of an envelope at rest
SURFACE = np.array([m not in DEEP for m in MUSCLES])


@dataclass(frozen=True)
class Measured:
    """One trial at 100 Hz, ``(n,)`` and ``(n, 6)``; edges where filters had half their data cut."""

    person: str
    load_kg: float
    tempo_s: float
    raw_angle_rad: F64  # as the sensor gives it, for causal filters
    angle_rad: F64
    speed_rad_s: F64
    acceleration_rad_s2: F64
    moment_nm: F64  # inverse dynamics
    envelope: F64  # NaN where no electrode is
    truth: F64  # excitations when their EMG would show


def measure(trial: Trial) -> Measured:
    """Electrodes, encoder and inverse dynamics on one simulated trial."""
    who = person(trial.person)
    rng = np.random.default_rng(
        [
            EVERYBODY.index(trial.person),
            LOADS_KG.index(trial.load_kg),
            TEMPOS_S.index(trial.tempo_s),
        ]
    )
    n = len(trial.angle_rad)
    raw = trial.angle_rad + np.deg2rad(ANGLE_NOISE_DEG) * rng.standard_normal(n)
    smooth = butter(4, ANGLE_HZ / (RATE_HZ / 2), output="sos")
    angle = sosfiltfilt(smooth, raw).copy()  # filtfilt returns a view that runs backwards
    speed, acceleration = (savgol_filter(angle, 11, 4, deriv=d, delta=1 / RATE_HZ) for d in (1, 2))
    truth = _earlier(trial.excitation, who.electrodes.delay_s)
    envelope = _envelope(truth, who.electrodes.gain, who.electrodes.noise, rng)
    cut = slice(25, n - 25)
    q, v, a = (torch.from_numpy(x) for x in (angle, speed, acceleration))
    moment = inverse_dynamics_nm(q, v, a, trial.load_kg, segment_of(trial.person)).numpy()
    return Measured(
        trial.person, trial.load_kg, trial.tempo_s,
        *(x[cut] for x in (raw, angle, speed, acceleration, moment, envelope, truth)),
    )  # fmt: skip


def measured_of(name: str) -> list[Measured]:
    """All trials of one simulated person."""
    return [measure(t) for t in trials_of(name)]


def segment_of(name: str) -> Segment:
    """The person's forearm and hand, as weighed."""
    scale, plain = person(name).body.forearm, Segment()
    return Segment(
        plain.mass_kg * scale, plain.centre_m, tuple(i * scale for i in plain.inertia_kg_m2)
    )


def _earlier(excitation: F64, by_s: float) -> F64:
    """Each excitation ``by_s`` earlier: EMG is seen before its muscle is driven."""
    at = np.arange(len(excitation)) / RATE_HZ
    return np.stack([np.interp(at + by_s, at, e) for e in excitation.T], 1)


def _envelope(truth: F64, gain: F64, noise: float, rng: np.random.Generator) -> F64:
    """Envelope over MVC: an estimate of amplitude, so its error grows with it."""
    sos = butter(2, ENVELOPE_HZ / (RATE_HZ / 2), output="sos")
    rough = sosfilt(sos, rng.standard_normal((len(truth) + 200, 6)), axis=0)[200:]
    rough = rough / rough.std(0)
    smooth = sosfiltfilt(sos, truth, axis=0).clip(min=0)
    read = gain * smooth * np.maximum(1 + noise * rough, 0) + FLOOR
    return np.where(SURFACE, np.clip(read, 0, 1.5), np.nan)
