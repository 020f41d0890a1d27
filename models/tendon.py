"""A muscle on a tendon that stretches while it moves: its state is the force in the tendon.

The explicit form of De Groote, Kinney, Rao, Fregly 2016: the force that the fibres must carry gives
their velocity, what is left of the path's velocity stretches the tendon.  Stiff: at little
activation its time constant is below a millisecond.  ``models/hill_joint.py``, with rigid tendons,
is what learns; this is what it is checked against.
"""

import torch
from torch import Tensor

from models.muscle import (
    N_MIN,
    V_MAX,
    Muscle,
    active_force_length,
    inverse_force_velocity,
    inverse_tendon_force,
    passive_force_length,
    tendon_force,
)

LEAST = 1e-3  # of activation times force-length: fibres that cannot pull have no velocity


def force_rate(
    muscle: Muscle, activation: Tensor, path_mm: Tensor, path_mm_s: Tensor, tension: Tensor
) -> Tensor:
    """d(tension)/dt in 1/s; ``tension`` is tendon force over F_max.  All broadcast."""
    tendon = inverse_tendon_force(tension, muscle.tendon_strain)
    along_mm = path_mm - tendon * muscle.l_slack_mm
    length_mm = torch.hypot(along_mm, muscle.width_mm)
    cosine = along_mm / length_mm
    n = (length_mm / muscle.l_opt_mm).clamp(min=N_MIN)
    able = (activation * active_force_length(n)).clamp(min=LEAST)
    v = inverse_force_velocity((tension / cosine - passive_force_length(n)) / able)
    fibre_mm_s = v.clamp(-1.5, 1.5) * V_MAX * muscle.l_opt_mm / cosine
    return (path_mm_s - fibre_mm_s) / muscle.l_slack_mm * _slope(muscle, tendon)


def _slope(muscle: Muscle, tendon: Tensor) -> Tensor:
    """Of tendon force against tendon length, both normalised: the curve is an exponential."""
    base = tendon_force(torch.zeros_like(tendon) - 1e9, muscle.tendon_strain)  # far slack: -c
    one = torch.ones_like(tendon) + muscle.tendon_strain
    at_1 = tendon_force(one, muscle.tendon_strain)
    rate = torch.log((at_1 - base) / -base) / muscle.tendon_strain
    return (tendon_force(tendon, muscle.tendon_strain) - base) * rate
