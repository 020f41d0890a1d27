"""Fascicles, tendons and ankle moment of a simulated person at given angles and activations.

Quasi-static: muscle and tendon balance at every instant (fascicle velocity 0), which holds for the
slow movements of ``protocol``; fast ones would need ``models.muscle``'s force-velocity curve.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.calf import Ankle, ankle_moment_nm, neutral_path_mm, path_mm
from models.muscle import Muscle, activate, equilibrium
from training.cohort.participant import Participant

F64 = NDArray[np.float64]

ANGLES_DEG = (-40.0, 25.0)  # further, short relaxed muscles would hang slack: no balance
SEEN = [0, 2]  # MG and SOL of participant.MUSCLES are in the picture


class CalfState(NamedTuple):
    """Float64 arrays; columns are MG and SOL."""

    angle_deg: F64  # (n,)
    activation: F64  # (n,) of the calf as a whole; ``Participant.recruit`` gives each muscle's
    fascicle_mm: F64  # (n, 2)
    pennation_deg: F64  # (n, 2)
    thickness_mm: F64  # (n, 2)
    force_n: F64  # (n, 2) along the tendon
    moment_nm: F64  # (n,) of MG, LG, SOL and the passive ankle


def activation(excitation: F64, rate_hz: float) -> F64:
    """Activation ``(n,)`` from excitation ``(n,)`` sampled at ``rate_hz``, at rest before.

    Smooth first-order dynamics, 15 ms up and 60 ms down (De Groote 2016, OpenSim's sharpness).
    """
    with torch.inference_mode():
        a: F64 = activate(torch.as_tensor(excitation, dtype=torch.float64), 1 / rate_hz).numpy()
    return a


def solve(p: Participant, angle_deg: F64, activation: F64) -> CalfState:
    """State of the calf at ankle angles ``(n,)`` and activations ``(n,)``, 0..1.

    Mechanics keep each muscle's width; the thickness that is *seen* grows by ``p.bulge`` of it at
    F_max, in proportion to force, and the pennation that is seen fits it: thickness = fascicle
    sin(pennation).  Raises ValueError outside 0..1 or ``ANGLES_DEG``, or for shapes that differ.
    """
    angle_deg = np.asarray(angle_deg, np.float64)
    activation = np.asarray(activation, np.float64)
    _check(angle_deg, activation)
    muscle, ankle, optimum_deg = _constants(p)
    q = torch.as_tensor(angle_deg)[:, None]  # (n, 1) against (3,) muscles
    path = path_mm(ankle, q, neutral_path_mm(ankle, muscle, optimum_deg))
    eq = equilibrium(muscle, torch.as_tensor(p.recruit(activation)), path)
    if not float(eq.residual.abs().max() if len(q) else 0.0) < 1e-9:
        raise ArithmeticError(f"participant {p.number}: muscle and tendon found no balance")
    fascicle_mm = eq.fascicle_mm[:, SEEN].numpy()
    share = (eq.force_n / muscle.f_max_n)[:, SEEN].numpy()
    thickness_mm = muscle.width_mm[SEEN].numpy() * (1 + np.array(p.bulge) * share)
    return CalfState(
        angle_deg=angle_deg,
        activation=activation,
        fascicle_mm=fascicle_mm,
        pennation_deg=np.rad2deg(np.arcsin(thickness_mm / fascicle_mm)),
        thickness_mm=thickness_mm,
        force_n=eq.force_n[:, SEEN].numpy(),
        moment_nm=ankle_moment_nm(ankle, q[:, 0], eq.force_n).numpy(),
    )


def _check(angle_deg: F64, activation: F64) -> None:
    if angle_deg.ndim != 1 or angle_deg.shape != activation.shape:
        raise ValueError(f"angle {angle_deg.shape}, activation {activation.shape}: give (n,) twice")
    low, high = ANGLES_DEG
    if not ((angle_deg >= low) & (angle_deg <= high)).all():  # false for nan too
        raise ValueError(f"ankle angles from {low:g} to {high:g} deg, please")
    if not ((activation >= 0) & (activation <= 1)).all():
        raise ValueError("activation is a share, 0..1")


def _constants(p: Participant) -> tuple[Muscle, Ankle, torch.Tensor]:
    """The participant's numbers as float64 tensors ``(3,)``, order MUSCLES."""

    def column(name: str) -> torch.Tensor:
        return torch.tensor([getattr(m, name) for m in p.muscles], dtype=torch.float64)

    muscle = Muscle(
        l_opt_mm=column("l_opt_mm"),
        pennation_opt_rad=torch.deg2rad(column("pennation_opt_deg")),
        l_slack_mm=column("l_slack_mm"),
        f_max_n=column("f_max_n"),
        tendon_strain=column("tendon_strain"),
    )
    a = p.ankle
    ankle = Ankle(a.arm_mm, a.arm_peak_deg, a.passive_df_deg, a.passive_pf_deg)
    return muscle, ankle, column("optimum_deg")
