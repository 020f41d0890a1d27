"""What a simulated person is asked to do: a session of independent angle and push, a routine.

After Cunningham and Loram 2019: ankle angle and muscle activity vary independently, else a network
could read one off the other and never look at the muscle for it.  Both are slow, so the muscle is
near equilibrium at every instant (``mechanics``).  Their shapes and times are DEFAULTs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.cohort.participant import Participant

F64 = NDArray[np.float64]

PHASES = ("rest", "mvc", "range_of_motion")  # of the routine
REST_S, MVC_S, MOTION_S = 30.0, 30.0, 60.0
PUSHES, TURNS = 3, 4  # maximal pushes, and there and back of the passive ankle, in the routine

PERIODS_S = (8.0, 25.0)  # of the angle's sinusoids
AMPLITUDES = (1.0, 0.6, 0.4)
MAX_PUSH = 0.9  # of the session
MAX_CORRELATION = 0.1  # of angle and excitation: half of what may be left in EMG or activation
TRIES = 500
GRID_HZ = 20.0  # scale and correlation are judged here, so no sampling rate changes the session


@dataclass(frozen=True)
class Drive:
    """The ankle's angle, turned by a machine, and what the calf is told to do meanwhile."""

    t_s: F64  # (n,) from 0, evenly spaced
    angle_deg: F64  # (n,)
    excitation: F64  # (n,) of the whole calf, 0..1
    phase: NDArray[np.intp]  # (n,) index of PHASES; -1 in a session


def session(p: Participant, seconds: float, rate_hz: float) -> Drive:
    """A session of ``p``: |correlation| of angle and excitation is below MAX_CORRELATION.

    The same function of time whatever ``rate_hz``.  Raises ValueError where no angle fits the
    pushes, as may happen in a session of few seconds.
    """
    t_s, grid_s = _clock(seconds, rate_hz), _clock(seconds, GRID_HZ)
    rng = np.random.default_rng((p.seed, p.number, 20))
    knots_s, levels = _pushes(rng, seconds)
    pushes = _eased(grid_s, knots_s, levels)
    for _ in range(TRIES):
        period_s = rng.uniform(*PERIODS_S, len(AMPLITUDES))
        phase = rng.uniform(0, 2 * np.pi, len(AMPLITUDES))
        sway = _sway(grid_s, period_s, phase)
        if _independent(sway, pushes):
            break
    else:
        raise ValueError(f"no angle is independent of the pushes in {seconds:g} s: ask for longer")
    low, high = p.ankle.range_deg
    bottom, top = sway.min(), sway.max()
    share = np.clip((_sway(t_s, period_s, phase) - bottom) / (top - bottom), 0, 1)
    return Drive(
        t_s=t_s,
        angle_deg=low + (high - low) * share,
        excitation=_eased(t_s, knots_s, levels),
        phase=np.full(len(t_s), -1),
    )


def routine(p: Participant, rate_hz: float) -> Drive:
    """Two minutes to calibrate on: rest, PUSHES maximal pushes, both at 0 deg, then the relaxed
    ankle through its range TURNS times."""
    t_s = _clock(REST_S + MVC_S + MOTION_S, rate_hz)
    rng = np.random.default_rng((p.seed, p.number, 21))
    every_s = MVC_S / PUSHES
    starts_s = REST_S + every_s * np.arange(PUSHES)
    knots_s = (starts_s[:, None] + np.array([1.0, 2.0, 5.0, 6.0])).ravel()
    best = rng.uniform(0.9, 1.0, PUSHES)  # nobody finds the last tenth every time
    levels = np.outer(best, [0.0, 1.0, 1.0, 0.0]).ravel()
    motion_s = np.clip(t_s - (REST_S + MVC_S), 0, None)
    swing = np.sin(2 * np.pi * TURNS * motion_s / MOTION_S)
    low, high = p.ankle.range_deg
    return Drive(
        t_s=t_s,
        angle_deg=np.where(swing < 0, -low, high) * swing,
        excitation=_eased(t_s, knots_s, levels),
        phase=np.searchsorted([REST_S, REST_S + MVC_S], t_s, side="right"),
    )


def _clock(seconds: float, rate_hz: float) -> F64:
    n = round(seconds * rate_hz)
    if n < 2:
        raise ValueError(
            f"{seconds:g} s at {rate_hz:g} Hz is no session: ask for 2 samples or more"
        )
    return np.arange(n) / rate_hz


def _sway(t_s: F64, period_s: F64, phase: F64) -> F64:
    waves = np.sin(2 * np.pi * t_s[:, None] / period_s + phase)
    return np.asarray(waves @ np.array(AMPLITUDES))


def _pushes(rng: np.random.Generator, seconds: float) -> tuple[F64, F64]:
    """Knots in s and levels: rest, push, hold at about that level, let go, and again."""
    knots_s, levels, t_s = [0.0], [0.0], 0.0
    while t_s < seconds:
        rest_s, rise_s, hold_s, fall_s = rng.uniform([0.8, 0.5, 1.0, 0.5], [4.0, 2.0, 4.0, 2.0])
        level = rng.uniform(0.05, MAX_PUSH)
        sag = rng.uniform(0.7, 1.0)
        knots_s += list(t_s + np.cumsum([rest_s, rise_s, hold_s, fall_s]))
        levels += [0.0, level, sag * level, 0.0]
        t_s = knots_s[-1]
    return np.array(knots_s), np.array(levels)


def _eased(t_s: F64, knots_s: F64, levels: F64) -> F64:
    """Levels at t_s; between knots half a cosine, which starts and ends without a jolt."""
    at = np.interp(t_s, knots_s, np.arange(len(knots_s)))
    k = np.minimum(at.astype(np.intp), len(knots_s) - 2)
    ease = (1 - np.cos(np.pi * (at - k))) / 2
    return np.asarray(levels[k] + (levels[k + 1] - levels[k]) * ease)


def _independent(sway: F64, pushes: F64) -> bool:
    if not pushes.any() or not np.ptp(sway):
        return True  # nothing to correlate
    return abs(float(np.corrcoef(sway, pushes)[0, 1])) < MAX_CORRELATION
