"""The ankle as the calf muscles see it: path length, moment arm, passive moment against angle.

The Achilles tendon pulls on a point that circles the ankle's axis, along a line that stays
parallel to the leg: its moment arm is a cosine of ankle angle, greatest at ``arm_peak_deg`` in
plantarflexion.  Shape and size follow imaging of the resting tendon (Maganaris, Baltzopoulos,
Sargeant 2000); 50 mm, 20 deg and the passive moment's numbers are DEFAULTs of this project.
Medial and lateral gastrocnemius and soleus share the tendon; the knee does not move.
Angles in degrees, negative = dorsiflexed; moments in N m, plantarflexion positive.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from models.muscle import Muscle, inverse_tendon_force, passive_force_length

ARM_MM = 50.0
ARM_PEAK_DEG = 20.0
PASSIVE_DF_DEG = -20.0
PASSIVE_PF_DEG = 30.0
PASSIVE_FOLD_DEG = 6.0  # the passive moment grows e-fold over this angle


class Ankle(NamedTuple):
    """Constants of a batch of ankles, tensors or numbers that broadcast together."""

    arm_mm: Tensor | float = ARM_MM  # moment arm at 0 deg
    arm_peak_deg: Tensor | float = ARM_PEAK_DEG
    passive_df_deg: Tensor | float = PASSIVE_DF_DEG  # where joint tissue resists with 1 N m
    passive_pf_deg: Tensor | float = PASSIVE_PF_DEG


def moment_arm_mm(ankle: Ankle, angle_deg: Tensor) -> Tensor:
    """r(q) = r(0) cos(q - peak) / cos(peak)."""
    peak = _rad(ankle.arm_peak_deg, angle_deg)
    return ankle.arm_mm * torch.cos(_rad(angle_deg, angle_deg) - peak) / torch.cos(peak)


def path_mm(ankle: Ankle, angle_deg: Tensor, neutral_mm: Tensor | float) -> Tensor:
    """Muscle-tendon length; ``neutral_mm`` is that at 0 deg.  Its slope per rad is -r(q)."""
    peak = _rad(ankle.arm_peak_deg, angle_deg)
    turned = torch.sin(_rad(angle_deg, angle_deg) - peak) + torch.sin(peak)
    return neutral_mm - ankle.arm_mm * turned / torch.cos(peak)


def neutral_path_mm(ankle: Ankle, muscle: Muscle, optimum_deg: Tensor) -> Tensor:
    """Muscle-tendon length at 0 deg of somebody whose relaxed fascicles are at optimal length at
    ``optimum_deg``: fascicles, plus the tendon under their passive force."""
    cosine = torch.cos(muscle.pennation_opt_rad)
    f = passive_force_length(torch.ones_like(cosine)) * cosine
    tendon_mm = muscle.l_slack_mm * inverse_tendon_force(f, muscle.tendon_strain)
    return muscle.l_opt_mm * cosine + tendon_mm - path_mm(ankle, optimum_deg, 0.0)


def passive_moment_nm(ankle: Ankle, angle_deg: Tensor) -> Tensor:
    """What capsule, ligaments and skin add to the muscles' own passive force: two exponentials,
    the form of Riener and Edrich 1999 (their numbers include the muscles, ours do not)."""
    into_df = torch.exp((ankle.passive_df_deg - angle_deg) / PASSIVE_FOLD_DEG)
    into_pf = torch.exp((angle_deg - ankle.passive_pf_deg) / PASSIVE_FOLD_DEG)
    return into_df - into_pf


def ankle_moment_nm(ankle: Ankle, angle_deg: Tensor, force_n: Tensor) -> Tensor:
    """Moment ``(n,)`` at angles ``(n,)`` of muscles that pull with ``force_n (n, muscles)``."""
    active = force_n.sum(-1) * moment_arm_mm(ankle, angle_deg) / 1000
    return active + passive_moment_nm(ankle, angle_deg)


def _rad(angle_deg: Tensor | float, like: Tensor) -> Tensor:
    """Radians in the dtype of ``like``."""
    return torch.as_tensor(angle_deg, dtype=like.dtype) * (math.pi / 180)
