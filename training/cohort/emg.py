"""Surface EMG of simulated MG and SOL: pools of motor units, heard through two electrode pairs.

Recruitment and firing follow Fuglevand, Winter & Patla 1993 (J Neurophysiol 70:2470): exponential
thresholds (their equation 1), firing rates that rise linearly with excitation above a minimum
(equation 2), Gaussian intervals.  Action potentials are Hermite-Rodriguez functions (Lo Conte,
Merletti & Sandri 1994, IEEE TBME 41:1147).  Simulated: nobody wore these electrodes.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from edge.filters import design
from models.spec import Step
from training.cohort.participant import Participant

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

UNITS = 100
RECRUITMENT_RANGE = 30.0  # threshold of the last unit over that of the first
MIN_RATE_HZ = 8.0  # of a unit just recruited
PEAK_RATE_HZ = (35.0, 25.0)  # first and last unit
ISI_CV = 0.15
AMPLITUDE_RANGE = 10.0  # of the largest over the smallest unit; DEFAULT
AMPLITUDE_SCATTER = 0.4  # of log amplitude: depth below the electrodes; DEFAULT
WIDTH_MS = (2.6, 1.9)  # first and last unit: large fibres conduct faster; DEFAULT
REACH = 4.5  # widths from its middle at which an action potential is over
MAINS_HZ = 50.0

BAND = Step("bandpass", {"low_hz": 20, "high_hz": 450})
SMOOTH_HZ = 4.0  # half power, after both passes
# Run forward and backward, a filter of order 2 has order 4 and half power at a lower frequency.
_TWO_PASSES = (math.sqrt(2) - 1) ** 0.25


@dataclass(frozen=True)
class Pool:
    """Motor units of one muscle under one electrode pair, smallest first; arrays ``(units,)``."""

    threshold: F64  # share of full excitation
    peak_hz: F64
    amplitude_uv: F64  # root of the energy of one action potential, in uV * sqrt(s)
    width_s: F64
    mix: F64  # angle between the Hermite-Rodriguez functions of order 1 and 2


def motor_units(gain_uv: float, rng: np.random.Generator) -> Pool:
    """A pool whose sum has an RMS of ``gain_uv`` at full excitation (Campbell's theorem)."""
    rank = np.arange(1, UNITS + 1) / UNITS
    threshold = RECRUITMENT_RANGE**rank
    first_hz, last_hz = PEAK_RATE_HZ
    peak_hz = first_hz - (first_hz - last_hz) * threshold / RECRUITMENT_RANGE
    # 1 Hz per unit of excitation; excitation is full when the last unit is at its peak.
    full = RECRUITMENT_RANGE + last_hz - MIN_RATE_HZ
    amplitude = AMPLITUDE_RANGE**rank * np.exp(rng.normal(0, AMPLITUDE_SCATTER, UNITS))
    amplitude *= gain_uv / math.sqrt(np.sum(amplitude**2 * peak_hz))
    width_ms = WIDTH_MS[0] + (WIDTH_MS[1] - WIDTH_MS[0]) * rank
    return Pool(
        threshold=threshold / full,
        peak_hz=peak_hz,
        amplitude_uv=amplitude,
        width_s=1e-3 * width_ms * np.exp(rng.normal(0, 0.1, UNITS)),
        mix=rng.uniform(-np.pi, np.pi, UNITS),
    )


def firing_rate_hz(pool: Pool, unit: int, excitation: F64) -> F64:
    """Rate ``(n,)`` of one unit; zero below its threshold (Fuglevand et al. 1993, equation 2)."""
    full = RECRUITMENT_RANGE + PEAK_RATE_HZ[1] - MIN_RATE_HZ
    above = (excitation - pool.threshold[unit]) * full
    rate = np.minimum(above + MIN_RATE_HZ, pool.peak_hz[unit])
    return np.where(above >= 0, rate, 0.0)


def spike_times_s(rate_hz: F64, fs_hz: float, rng: np.random.Generator) -> F64:
    """When a unit with the rate ``(n,)`` fires: intervals are Gaussian, in units of their mean.

    The phase of a silenced unit waits; deviations end at 3 SD, so that no interval is negative.
    """
    phase = np.concatenate([[0.0], np.cumsum(rate_hz) / fs_hz])
    interval = 1 + ISI_CV * rng.standard_normal(int(1.1 * phase[-1]) + 50).clip(-3, 3)
    due = np.cumsum(interval) - rng.uniform() * interval[0]  # starts within an interval
    due = due[due < phase[-1]]
    return np.asarray(np.interp(due, phase, np.arange(len(phase)) / fs_hz))


def potentials_uv(pool: Pool, unit: NDArray[np.intp], t_s: F64) -> F64:
    """Action potentials of ``unit (k,)`` at times ``t_s (..., k)`` from their middles, uV."""
    x = t_s / pool.width_s[unit]
    mix = pool.mix[unit]
    first, second = math.sqrt(2) * x, (2 * x * x - 1) / math.sqrt(2)
    wave = (np.cos(mix) * first + np.sin(mix) * second) * np.exp(-x * x / 2)
    scale = pool.amplitude_uv[unit] / np.sqrt(math.sqrt(math.pi) * pool.width_s[unit])
    return np.asarray(wave * scale)


def muscle_uv(pool: Pool, excitation: F64, fs_hz: float, rng: np.random.Generator) -> F64:
    """Sum ``(n,)`` of all action potentials of a muscle at the excitation ``(n,)``, 0..1."""
    trains = [spike_times_s(firing_rate_hz(pool, k, excitation), fs_hz, rng) for k in range(UNITS)]
    unit = np.repeat(np.arange(UNITS), [len(t) for t in trains])
    spike_s = np.concatenate(trains)
    reach = math.ceil(REACH * float(pool.width_s.max()) * fs_hz)
    around = np.arange(-reach, reach + 1)[:, None]
    total = np.zeros(len(excitation) + 2 * reach)
    for part in np.array_split(np.arange(len(unit)), 1 + len(unit) // 20_000):
        near = np.rint(spike_s[part] * fs_hz).astype(np.intp)  # (k,)
        sample = near + around  # (2 reach + 1, k)
        wave = potentials_uv(pool, unit[part], sample / fs_hz - spike_s[part])
        total += np.bincount((sample + reach).ravel(), wave.ravel(), len(total) + 1)[: len(total)]
    return total[reach : reach + len(excitation)]


def raw_emg_uv(p: Participant, excitation: F64, fs_hz: float, seed: int) -> F32:
    """What the electrodes on MG and SOL of ``p`` record: ``(n, 2)`` float32 uV, unfiltered.

    ``excitation (n,)`` is the drive of the whole calf, 0..1, at ``fs_hz``.  ``seed`` draws what
    differs between recordings (spike times, noise); the motor units are the person's.
    Each pair also hears its share of the other muscle.  Raises ValueError for an excitation
    outside 0..1 or a rate too low for the band of the envelope.
    """
    design(BAND, fs_hz)
    level = np.asarray(excitation, np.float64)
    if level.ndim != 1 or not np.all((level >= 0) & (level <= 1)):
        raise ValueError("excitation must be (n,) within 0..1: clip it, and look for NaN")
    mg, _, sol = p.recruit(level).T
    e = p.electrodes
    own = np.stack(
        [
            muscle_uv(
                motor_units(gain, np.random.default_rng((p.seed, p.number, 50 + k))),
                drive,
                fs_hz,
                np.random.default_rng((p.seed, p.number, 60 + k, seed)),
            )
            for k, (gain, drive) in enumerate(zip(e.gain_uv, (mg, sol), strict=True))
        ],
        axis=1,
    )
    heard = own + own[:, ::-1] * np.array(e.crosstalk)
    rng = np.random.default_rng((p.seed, p.number, 70, seed))
    heard += e.noise_uv * rng.standard_normal(heard.shape)
    mains = 2 * np.pi * MAINS_HZ * np.arange(len(level)) / fs_hz + rng.uniform(0, 2 * np.pi)
    heard += e.hum_uv * np.sin(mains)[:, None]
    return np.asarray(heard, np.float32)


def envelope(raw: NDArray[np.floating], fs_hz: float, at_s: NDArray[np.floating]) -> F64:
    """Amplitude ``(m, channels)`` uV of ``raw (n, channels)`` uV at ``at_s (m,)``, 0 = its start.

    Band-pass 20-450 Hz, rectified, Butterworth low-pass of 4 Hz; both filters run forward and
    backward, so nothing is delayed.  Not scaled to anybody.  Raises ValueError for a time outside
    the recording or a rate too low for the band.
    """
    sos = design(BAND, fs_hz)
    at = np.asarray(at_s, np.float64)
    t_s = np.arange(len(raw)) / fs_hz
    if len(at) and not (at.min() >= 0 and at.max() <= t_s[-1]):
        raise ValueError(
            f"envelope at {at.min():g}..{at.max():g} s of a recording of 0..{t_s[-1]:g} s"
        )
    active = np.abs(scipy.signal.sosfiltfilt(sos, np.asarray(raw, np.float64), axis=0))
    low = scipy.signal.butter(2, SMOOTH_HZ / _TWO_PASSES, fs=fs_hz, output="sos")
    # The low-pass undershoots after a burst; an amplitude does not.
    smooth = np.maximum(scipy.signal.sosfiltfilt(low, active, axis=0), 0.0)
    return np.stack([np.interp(at, t_s, channel) for channel in smooth.T], axis=1)
