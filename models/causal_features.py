"""What the neural musculoskeletal model reads, from nothing but the newest joint angles.

A quadratic through them by least squares gives angle, speed and acceleration at its end (Savitzky
and Golay).  Its acceleration is that of 70 ms ago, about: a network that remembers makes up for it.
"""

import torch
from torch import Tensor

from models.elbow import Segment, inverse_dynamics_nm

FILTER = 15  # samples: 150 ms at 100 Hz


def end_of_quadratic(n: int, rate_hz: float) -> Tensor:
    """Weights ``(n, 3)`` of n samples, oldest first, for value, slope and second derivative at the
    newest of the quadratic through them by least squares.
    """
    at_s = torch.arange(1 - n, 1, dtype=torch.float64) / rate_hz
    fit: Tensor = torch.linalg.pinv(torch.stack([at_s**0, at_s, 0.5 * at_s**2], 1))
    return fit.T


def features(angles_rad: Tensor, load_kg: Tensor, weights: Tensor, segment: Segment) -> Tensor:
    """``(batch, 5)`` of the newest of angles ``(batch, FILTER)``, oldest first, and of loads
    ``(batch,)``: rad, rad/s, rad/s^2, kg, and the N m that inverse dynamics ask of the muscles.
    """
    newest = angles_rad[:, -1:]
    fitted = (angles_rad - newest) @ weights  # small numbers, so that float32 will do
    q, v, a = (fitted + newest * weights.new_tensor((1.0, 0.0, 0.0))).unbind(1)
    return torch.stack([q, v, a, load_kg, inverse_dynamics_nm(q, v, a, load_kg, segment)], 1)
