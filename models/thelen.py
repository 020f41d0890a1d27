"""Thelen's 2003 muscle curves (doi 10.1115/1.1531112), as OpenSim builds them: for cross-checks.

Same units as ``models/muscle.py``.  ``flen`` is the greatest force when lengthened, ``af`` the
shape of the force-velocity curve; arm26 sets them to 1.8 and 0.3.
"""

import math

import torch
from torch import Tensor

GAMMA, K_PE, E0 = 0.45, 5.0, 0.6
AF, FLEN = 0.25, 1.4
STRAIN = 0.04
_F_TOE, _K_TOE = 0.33, 3.0


def active_force_length(n: Tensor, gamma: float = GAMMA) -> Tensor:
    """f_L: one bell curve, 1 at n = 1."""
    return torch.exp(-((n - 1) ** 2) / gamma)


def passive_force_length(n: Tensor, k_pe: float = K_PE, e0: float = E0) -> Tensor:
    """f_P: an exponential above n = 1, nothing below."""
    above = (n - 1).clamp(min=0)
    return torch.expm1(k_pe * above / e0) / math.expm1(k_pe)


def tendon_force(length: Tensor, strain: float = STRAIN) -> Tensor:
    """f_T: an exponential toe, then a line through 1 at ``strain``; 0 when slack."""
    e_toe, k_lin = _toe(strain)
    x = (length - 1).clamp(min=0)
    toe = _F_TOE * torch.expm1(_K_TOE * x.clamp(max=e_toe) / e_toe) / math.expm1(_K_TOE)
    return torch.where(x > e_toe, k_lin * (x - e_toe) + _F_TOE, toe)


def velocity(
    force: Tensor, activation: Tensor, f_l: Tensor, af: float = AF, flen: float = FLEN
) -> Tensor:
    """Normalised velocity at which a fibre gives the active ``force`` (over F_max).

    As the paper has it, for forces inside 0..0.95 of the greatest.
    """
    isometric = activation * f_l
    k = 0.25 + 0.75 * activation
    shortening = isometric + force / af
    lengthening = (2 + 2 / af) * (isometric * flen - force) / (flen - 1)
    return k * (force - isometric) / torch.where(force <= isometric, shortening, lengthening)


def active_force(
    v: Tensor, activation: Tensor, f_l: Tensor, af: float = AF, flen: float = FLEN
) -> Tensor:
    """Active force over F_max at normalised velocity ``v``: ``velocity`` solved for force.

    Shortening below -k, where the paper's curve has no force left, gives 0.
    """
    isometric = activation * f_l
    k = 0.25 + 0.75 * activation
    closing, opening = v.clamp(max=0), v.clamp(min=0)
    slope = (2 + 2 / af) / (flen - 1)
    shortening = isometric * (k + closing).clamp(min=0) / (k - closing / af)
    lengthening = isometric * (k + opening * slope * flen) / (k + opening * slope)
    return torch.where(v <= 0, shortening, lengthening)


def _toe(strain: float) -> tuple[float, float]:
    """Strain where the toe ends, and the stiffness beyond."""
    e3 = math.exp(_K_TOE)
    e_toe = 0.99 * strain * e3 / (1.66 * e3 - 0.67)
    return e_toe, 0.67 / (strain - e_toe)
