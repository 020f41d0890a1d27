"""An elbow driven by excitations, from rest to wherever they take it.

Free-running forward dynamics with either kind of tendon: what multiple shooting does in pieces.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models import elbow
from models.hill_joint import Geometry, moment_nm
from models.muscle import A_MIN, Muscle, equilibrium, rigid_tendon_force, smooth_rate
from models.tendon import force_rate


class Drive(NamedTuple):
    """What the elbow is like."""

    muscle: Muscle
    load_kg: float = 0.0
    damping_nm_s: float = 0.0
    rise_s: float = 0.015
    fall_s: float = 0.060
    sharpness: float = 10.0  # of activation's change from rising to falling


@torch.no_grad()
def roll(
    drive: Drive,
    excitation: Tensor,
    hold_s: float,
    angle_rad: Tensor,
    step_s: float,
    elastic: bool,
) -> Tensor:
    """Angles ``(n + 1, ...)`` at the ends of the holds of ``excitation (n, ..., 6)``.

    Begins at rest at ``angle_rad (...)`` with the first excitation as activation.  Runge and
    Kutta's fourth order in steps of at most ``step_s``; elastic tendons want 0.2 ms.
    """
    steps = max(1, round(hold_s / step_s))
    dt = hold_s / steps
    q, v = angle_rad, torch.zeros_like(angle_rad)
    a = excitation[0].clamp(min=A_MIN)
    path_mm, _ = elbow.paths(q)
    f = equilibrium(drive.muscle, a, path_mm).force_n / drive.muscle.f_max_n
    out = [q]
    for e in excitation:
        for _ in range(steps):
            state = (q, v, a, f)
            k1 = _rates(drive, e, state, elastic)
            k2 = _rates(drive, e, _moved(state, k1, dt / 2), elastic)
            k3 = _rates(drive, e, _moved(state, k2, dt / 2), elastic)
            k4 = _rates(drive, e, _moved(state, k3, dt), elastic)
            q, v, a, f = (
                x + dt / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
                for x, d1, d2, d3, d4 in zip(state, k1, k2, k3, k4, strict=True)
            )
            a = a.clamp(min=A_MIN)
        out.append(q)
    return torch.stack(out)


State = tuple[Tensor, Tensor, Tensor, Tensor]  # angle, speed, activation, tension


def _rates(drive: Drive, e: Tensor, state: State, elastic: bool) -> State:
    q, v, a, f = state
    length_mm, arm_mm = elbow.paths(q)
    g = Geometry(length_mm, arm_mm, -arm_mm * v[..., None])
    m = drive.muscle
    if elastic:
        force_n, df = m.f_max_n * f, force_rate(m, a, length_mm, g.speed_mm_s, f)
    else:
        force_n, df = rigid_tendon_force(m, a, length_mm, g.speed_mm_s), torch.zeros_like(f)
    net = moment_nm(force_n, g) - drive.damping_nm_s * v
    acceleration = elbow.forward_dynamics_rad_s2(q, v, net, drive.load_kg)
    da = (e - a) * smooth_rate(e, a, drive.rise_s, drive.fall_s, drive.sharpness)
    return v, acceleration, da, df


def _moved(state: State, rate: State, by: float) -> State:
    q, v, a, f = (x + by * d for x, d in zip(state, rate, strict=True))
    return q, v, a, f
