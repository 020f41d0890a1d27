"""Simulated people who bend an elbow: their bodies, their habits, what they are asked to do.

Bodies are arm26's with strengths, lengths, times and masses drawn within what EMG-driven studies
let their fits move (Pizzolato et al. 2015; Lloyd and Besier 2003).  Habits say who of the muscles
begins first: the deep heads, brachialis and triceps medialis, do the light work and the superficial
ones join as it grows (Basmajian and Latif 1957; Travill 1962).  The numbers are DEFAULTs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MUSCLES = ("TRIlong", "TRIlat", "TRImed", "BIClong", "BICshort", "BRA")  # arm26's order
FLEXES = np.array([False, False, False, True, True, True])
DEEP = ("BRA", "TRImed")
PEOPLE = ("V1", "V2", "V3", "V4", "V5")  # who the methods are judged on
TUNED_ON = "V6"  # who settings were chosen on
EVERYBODY = (*PEOPLE, TUNED_ON)
LOADS_KG = (0.0, 2.0, 4.0)
TEMPOS_S = (2.0, 1.2, 0.7)  # a flexion, or an extension
TRIAL_S = 12.0
RATE_HZ = 100.0
LOAD_M = 0.30  # from the elbow to what the hand holds

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Body:
    """What differs from arm26; scales of its numbers, one per muscle of ``MUSCLES``."""

    f_max: F64
    l_opt: F64
    l_slack: F64
    rise_s: float
    fall_s: float
    forearm: float  # scale of mass and inertia
    damping_nm_s: float  # per rad


@dataclass(frozen=True)
class Habits:
    """Who of the muscles does what share of an effort."""

    begins: F64  # part of the group's capacity at which a muscle joins
    speed: F64  # how much earlier it joins per rad/s of shortening
    cocontraction: float  # of the other group's capacity, at rest
    stiffens: float  # more of it, per kg in the hand
    hurries: float  # and per rad/s of movement
    wander: float  # SD of slow changes of each muscle's share, relative


@dataclass(frozen=True)
class Electrodes:
    """How an excitation becomes an envelope over MVC."""

    gain: F64  # an MVC that was not maximal reads high
    noise: float  # SD of the envelope, relative
    delay_s: float  # excitation comes this much after the EMG that shows it


@dataclass(frozen=True)
class Person:
    """One of ``EVERYBODY``."""

    name: str
    body: Body
    habits: Habits
    electrodes: Electrodes


def person(name: str) -> Person:
    """Always the same one for a name.  Raises ValueError for nobody's."""
    if name not in EVERYBODY:
        raise ValueError(f"{name!r} is not one of the simulated people: {', '.join(EVERYBODY)}")
    rng = np.random.default_rng(2500 + EVERYBODY.index(name))
    groups = rng.uniform(0.75, 1.3, 2)
    body = Body(
        f_max=np.where(FLEXES, groups[0], groups[1]) * np.exp(0.12 * rng.standard_normal(6)),
        l_opt=rng.uniform(0.92, 1.08, 6),
        l_slack=rng.uniform(0.98, 1.02, 6),
        rise_s=rng.uniform(0.010, 0.020),
        fall_s=rng.uniform(0.040, 0.065),
        forearm=rng.uniform(0.85, 1.15),
        damping_nm_s=rng.uniform(0.05, 0.3),
    )
    first = np.array([m in DEEP for m in MUSCLES])
    habits = Habits(
        begins=np.where(
            first, 0.0, np.where(FLEXES, rng.uniform(0.03, 0.15, 6), rng.uniform(0.02, 0.08, 6))
        ),
        speed=np.where(first, 0.0, rng.uniform(0.0, 0.03, 6)),
        cocontraction=rng.uniform(0.02, 0.05),
        stiffens=rng.uniform(0.005, 0.015),
        hurries=rng.uniform(0.005, 0.015),
        wander=0.12,
    )
    electrodes = Electrodes(rng.uniform(0.8, 1.25, 6), 0.10, rng.uniform(0.03, 0.07))
    return Person(name, body, habits, electrodes)


def shares(h: Habits, effort: F64, shortening_rad_s: float, wander: F64) -> F64:
    """Excitation ``(..., 6)``, 0..1, of each muscle at its group's ``effort (...)``, 0..1.

    A soft threshold and then a line to 1: whoever begins late rises faster.
    """
    soft = 0.03
    begins = np.maximum(h.begins - h.speed * max(shortening_rad_s, 0.0), 0.0)
    above = soft * np.logaddexp(0, (effort[..., None] - begins) / soft)
    nothing = soft * np.logaddexp(0, -begins / soft)
    full = soft * np.logaddexp(0, (1 - begins) / soft)
    return np.asarray(np.clip((above - nothing) / (full - nothing) * wander, 0.01, 1.0))


def movement(seed: int, tempo_s: float) -> tuple[F64, F64, F64]:
    """Angle, speed, acceleration (rad, s) that a person tries to follow, at ``RATE_HZ``.

    Minimum-jerk flexions and extensions (Flash and Hogan 1985) of varying range and time, with
    short holds between.
    """
    rng = np.random.default_rng(seed)
    n = round(TRIAL_S * RATE_HZ)
    at, low = np.deg2rad(15.0), True
    q: list[float] = [at] * 50
    while len(q) < n:
        to = np.deg2rad(rng.uniform(90, 118) if low else rng.uniform(10, 30))
        steps = max(30, round(tempo_s * rng.uniform(0.85, 1.15) * RATE_HZ))
        x = np.arange(1, steps + 1) / steps
        q += list(at + (to - at) * (10 * x**3 - 15 * x**4 + 6 * x**5))
        q += [to] * round(rng.uniform(0.0, 0.3) * RATE_HZ)
        at, low = to, not low
    angle = np.array(q[:n])
    speed = np.gradient(angle) * RATE_HZ
    return angle, speed, np.gradient(speed) * RATE_HZ


def wandering(rng: np.random.Generator, n: int, sd: float, corner_hz: float = 0.5) -> F64:
    """``(n, 6)`` factors about 1 that change slowly and independently."""
    keep = np.exp(-2 * np.pi * corner_hz / RATE_HZ)
    x = np.empty((n, 6))
    x[0] = rng.standard_normal(6)
    for k in range(1, n):
        x[k] = keep * x[k - 1] + np.sqrt(1 - keep**2) * rng.standard_normal(6)
    return np.asarray(np.exp(sd * x))
