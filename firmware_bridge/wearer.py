"""A simulated wearer: what one calf does at time t, known exactly, shared by the synthetic sensors.

The synthetic probe draws it and the synthetic EMG amplifier sounds like it; opened with the same
``seed`` both tell of the same movement, and ``truth`` is what an estimator should have found.
Signs as on a dynamometer: plantar flexion positive, in angle and in torque.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

MIN_ANGLE_DEG, MAX_ANGLE_DEG = -30.0, 20.0  # dorsiflexed .. plantarflexed
MAX_TORQUE_NM = 120.0
ELECTROMECHANICAL_DELAY_S = 0.05  # force follows excitation; 30-80 ms is usual for the calf

PUSH_EVERY_S = 8.0  # one plantar flexion, then one weaker dorsiflexion, in each period
PUSHES = 64  # then the wearer begins again


class Truth(NamedTuple):
    """Each field has the shape of the ``t_s`` it was asked for."""

    angle_deg: Array  # ankle, -30..+20; negative = dorsiflexed
    torque_nm: Array  # plantar-flexion moment of the calf, passive part included, 0..120
    activation: Array  # medial gastrocnemius (MG), 0..1: its EMG envelope
    activation_ta: Array  # tibialis anterior, the antagonist, 0..1
    force: Array  # MG, 0..1 of its maximum: the activation of one delay before


def truth(t_s: ArrayLike, seed: int = 1) -> Truth:
    """State of the wearer ``t_s`` seconds after opening.  Pure: equal arguments, equal numbers."""
    t = np.asarray(t_s, np.float64)
    angle = _angle_deg(t, seed)
    force = _pushes(t - ELECTROMECHANICAL_DELAY_S, seed, 0)
    return Truth(angle, torque_nm(angle, force), _pushes(t, seed, 0), _pushes(t, seed, 1), force)


def torque_nm(angle_deg: ArrayLike, force: ArrayLike) -> Array:
    """Moment of the calf in N m: strongest when dorsiflexed, with a passive stretch at the end."""
    stretch = (MAX_ANGLE_DEG - np.asarray(angle_deg, np.float64)) / (MAX_ANGLE_DEG - MIN_ANGLE_DEG)
    passive = 12.0 * np.exp(5.0 * (stretch - 1.0))
    active = (0.6 + 0.4 * stretch) * np.asarray(force, np.float64)
    return np.asarray(passive + (MAX_TORQUE_NM - 12.0) * active)


def _angle_deg(t_s: Array, seed: int) -> Array:
    """Three slow sinusoids; their amplitudes add up to the range, so it is never left."""
    phase = np.random.default_rng([seed, 2]).uniform(0, 2 * np.pi, 3)
    amplitude, period_s = (0.6, 0.28, 0.12), (11.0, 4.7, 2.3)
    swing: Any = sum(
        a * np.sin(2 * np.pi * t_s / p + f)
        for a, p, f in zip(amplitude, period_s, phase, strict=True)
    )
    middle, half = (MAX_ANGLE_DEG + MIN_ANGLE_DEG) / 2, (MAX_ANGLE_DEG - MIN_ANGLE_DEG) / 2
    return np.asarray(middle + half * swing)


def _pushes(t_s: Array, seed: int, muscle: int) -> Array:
    """Trapezoids with smooth corners over a small resting tone; zero slope where they meet."""
    begin_s, rise_s, hold_s, level = _plan(seed)[muscle]
    k = np.floor(t_s / PUSH_EVERY_S).astype(np.int64) % PUSHES
    inside = t_s % PUSH_EVERY_S - begin_s[k]
    up = np.clip(inside / rise_s[k], 0, 1)
    down = np.clip((inside - rise_s[k] - hold_s[k]) / rise_s[k], 0, 1)
    shape = up * up * (3 - 2 * up) - down * down * (3 - 2 * down)
    return np.asarray(0.02 + (level[k] - 0.02) * shape)


@lru_cache(maxsize=8)
def _plan(seed: int) -> tuple[tuple[Array, Array, Array, Array], ...]:
    """Per muscle (MG, tibialis anterior): begin, rise and hold in s, level 0..1; (PUSHES,) each.

    MG works in 0..5.2 s of a period and tibialis anterior in 5.4..8 s: they take turns.
    """
    rng = np.random.default_rng([seed, 1])

    def draw(low: float, high: float) -> Array:
        return rng.uniform(low, high, PUSHES)

    mg = (draw(0.1, 1.2), draw(0.3, 1.0), draw(0.5, 2.0), draw(0.15, 1.0))
    ta = (draw(5.4, 5.8), draw(0.25, 0.5), draw(0.4, 1.0), draw(0.1, 0.6))
    return mg, ta
