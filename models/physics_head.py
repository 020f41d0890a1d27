"""A head that knows what an ankle moment is made of: a passive part and an active one.

``moment = passive(angle) + activity * strength``, activity and strength never negative.  The
passive part is one curve of the angle for everybody, so a relaxed muscle at an angle where training
only showed active ones still gets a passive moment.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KNEES = 8  # of the passive curve, piecewise linear


class PhysicsHead(nn.Module):
    """Features ``(n, hidden)`` to standardised angle, [activity,] moment: ``(n, 2 or 3)``."""

    def __init__(self, hidden: int, outputs: int):
        super().__init__()
        self.read = nn.Linear(hidden, 3)  # angle, and before the softplus: activity, strength
        self.passive = nn.Sequential(nn.Linear(1, KNEES), nn.ReLU(), nn.Linear(KNEES, 1))
        self.activity = nn.Linear(1, 1) if outputs == 3 else None

    def forward(self, features: Tensor) -> Tensor:
        """The passive curve learns from moments, and leaves the angle to the angles."""
        angle, activity, strength = self.read(features).split(1, dim=1)
        active = F.softplus(activity)
        moment = self.passive(angle.detach()) + active * F.softplus(strength)
        middle = [self.activity(active)] if self.activity is not None else []
        return torch.cat([angle, *middle, moment], 1)
