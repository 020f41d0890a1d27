"""An elbow driven by excitations, from rest to wherever they take it.

Free-running forward dynamics with either kind of tendon: what ``models/nmm.py`` learns through in
pieces, as a whole, to be compared with other software.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import elbow
from models.hill_joint import Geometry, moment_nm
from models.muscle import A_MIN, Muscle, equilibrium, rigid_tendon_force, smooth_rate
from models.tendon import force_rate

F64 = NDArray[np.float64]

STEP_S = 1e-3
_GAMMA = 1 - 0.5**0.5  # what is stiff dies out at once (L-stable)
_APART = 1e-7  # of differences


class Drive(NamedTuple):
    """What the elbow is like; ``muscle`` in float64."""

    muscle: Muscle
    load_kg: float = 0.0
    damping_nm_s: float = 0.0
    rise_s: float = 0.015
    fall_s: float = 0.060
    sharpness: float = 10.0  # of activation's change from rising to falling


def roll(drive: Drive, excitation: F64, hold_s: float, angle_rad: float, elastic: bool) -> F64:
    """Angles ``(n + 1,)`` in rad at the ends of the holds of ``excitation (n, 6)``.

    Begins at rest with the first excitation as activation, elastic tendons in balance.  Whole
    steps of about ``STEP_S`` fill a hold.
    """
    steps = max(1, round(hold_s / STEP_S))
    a = torch.from_numpy(excitation[0]).clamp(min=A_MIN)
    start = torch.tensor([angle_rad, 0.0], dtype=torch.float64)
    length_mm, _ = elbow.paths(start[0])
    tension = equilibrium(drive.muscle, a, length_mm).force_n / drive.muscle.f_max_n
    y = torch.cat([start, a, tension if elastic else tension[:0]])
    body = elbow.pendulum(torch.tensor(drive.load_kg, dtype=torch.float64))
    angles = [angle_rad]
    with torch.inference_mode():
        for e in torch.from_numpy(excitation):
            for _ in range(steps):
                y = _step(partial(_rates, drive, body, e, elastic), y, hold_s / steps)
            angles.append(float(y[0]))
    return np.array(angles)


def _step(rates: Callable[[Tensor], Tensor], y: Tensor, h_s: float) -> Tensor:
    """One step of the second-order Rosenbrock method ROS2 (Verwer et al. 1999).

    Tendons are stiff, and a muscle that falls slack is a kink, at which solvers that choose their
    own steps may stand still; this one takes as long for every movement.
    """
    eye = torch.eye(len(y), dtype=y.dtype)
    moved = rates(torch.cat([y[None], y + _APART * eye]))
    slopes = ((moved[1:] - moved[0]) / _APART).T
    solve = torch.linalg.inv(eye - _GAMMA * h_s * slopes)
    first = solve @ moved[0]
    second = solve @ (rates(y + h_s * first) - 2 * first)
    then: Tensor = y + h_s * (1.5 * first + 0.5 * second)
    return then


def _rates(drive: Drive, body: elbow.Pendulum, e: Tensor, elastic: bool, y: Tensor) -> Tensor:
    """Of states ``(..., 8 or 14)``: angle, speed, six activations and, with elastic tendons, six
    tensions over F_max."""
    q, v, a, tension = y[..., 0], y[..., 1], y[..., 2:8].clamp(min=A_MIN), y[..., 8:]
    length_mm, arm_mm = elbow.paths(q)
    g = Geometry(length_mm, arm_mm, -arm_mm * v[..., None])
    m = drive.muscle
    if elastic:
        force_n, stretch = m.f_max_n * tension, force_rate(m, a, length_mm, g.speed_mm_s, tension)
    else:
        force_n, stretch = rigid_tendon_force(m, a, length_mm, g.speed_mm_s), tension
    net = moment_nm(force_n, g) - drive.damping_nm_s * v
    acceleration = body.acceleration_rad_s2(q, net)
    da = (e - a) * smooth_rate(e, a, drive.rise_s, drive.fall_s, drive.sharpness)
    return torch.cat([v[..., None], acceleration[..., None], da, stretch], -1)
