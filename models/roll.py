"""An elbow driven by excitations, from rest to wherever they take it.

Free-running forward dynamics with either kind of tendon: what ``models/nmm.py`` learns through in
pieces, as a whole, to be compared with other software.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from models import elbow
from models.hill_joint import Geometry, moment_nm
from models.muscle import A_MIN, Muscle, equilibrium, rigid_tendon_force, smooth_rate
from models.tendon import force_rate

F64 = NDArray[np.float64]


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

    Begins at rest with the first excitation as activation, elastic tendons in balance.  LSODA,
    because tendons are stiff.  Raises RuntimeError where it finds no way.
    """
    a = torch.from_numpy(excitation[0]).clamp(min=A_MIN)
    length_mm, _ = elbow.paths(torch.tensor(angle_rad, dtype=torch.float64))
    tension = equilibrium(drive.muscle, a, length_mm).force_n / drive.muscle.f_max_n
    y = np.concatenate([[angle_rad, 0.0], a.numpy(), tension.numpy() if elastic else []])
    holds = torch.from_numpy(excitation)
    body = elbow.pendulum(torch.tensor(drive.load_kg, dtype=torch.float64))

    def rates(t_s: float, y: F64) -> F64:
        now = min(int(t_s / hold_s), len(holds) - 1)
        return _rates(drive, body, holds[now], torch.from_numpy(y), elastic)

    at_s = np.arange(len(excitation) + 1) * hold_s
    with torch.no_grad():
        found = solve_ivp(
            rates, (0.0, at_s[-1]), y, method="LSODA", t_eval=at_s, max_step=hold_s, rtol=1e-5,
            atol=1e-7,
        )  # fmt: skip
    if not found.success:
        raise RuntimeError(f"forward dynamics: {found.message}")
    return np.asarray(found.y[0])


def _rates(drive: Drive, body: elbow.Pendulum, e: Tensor, y: Tensor, elastic: bool) -> F64:
    """Of angle, speed, six activations and, with elastic tendons, six tensions over F_max."""
    q, v, a, tension = y[0], y[1], y[2:8].clamp(min=A_MIN), y[8:]
    length_mm, arm_mm = elbow.paths(q)
    g = Geometry(length_mm, arm_mm, -arm_mm * v)
    m = drive.muscle
    if elastic:
        force_n, stretch = m.f_max_n * tension, force_rate(m, a, length_mm, g.speed_mm_s, tension)
    else:
        force_n, stretch = rigid_tendon_force(m, a, length_mm, g.speed_mm_s), tension
    net = moment_nm(force_n, g) - drive.damping_nm_s * v
    acceleration = body.acceleration_rad_s2(q, net)
    da = (e - a) * smooth_rate(e, a, drive.rise_s, drive.fall_s, drive.sharpness)
    return torch.cat([v[None], acceleration[None], da, stretch]).numpy()
