"""How far an estimate may be off: what held-out trials showed, more where training never was.

    sd = sqrt(base^2 + (per_kg d)^2) (1 + BEYOND z)

``base`` is of the load, between those that were trained on a line: what works harder errs more.
``d`` is how far the load is from the nearest trained one, in kg, and how much it has changed in the
window: training saw no change.  ``z`` is how far angle, speed and acceleration are outside of where
training was, in its SDs, the three as one distance.  Of both, the worst in the window counts: what
the network has seen it still thinks of.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

# Of doubt per SD outside.  With the fastest tempo left out of training, errors were 1 to 3 times
# base where z was 3 to 5; this covers the largest of them, those with the heaviest load.
BEYOND = 0.75
INSIDE = (0.005, 0.995)  # quantiles of the training samples between which is inside
MOTION, LOAD = slice(0, 3), 3  # columns of the features


class Seen(NamedTuple):
    """Where training was: loads ``(n,)`` kg; of angle, speed, acceleration ``(3,)`` each."""

    loads_kg: Tensor
    low: Tensor
    high: Tensor
    sd: Tensor


def seen(features: Tensor, loads_kg: Sequence[float]) -> Seen:
    """Of training's features ``(n, 5)``."""
    motion = features[:, MOTION].double()
    low, high = torch.quantile(motion, motion.new_tensor(INSIDE), dim=0)
    parts = (torch.tensor(loads_kg), low, high, motion.std(0))
    return Seen(*(p.float() for p in parts))


class Doubt(nn.Module):
    """SD of each output: ``base (loads, outputs)`` at what was trained, ``per_kg (outputs,)``
    farther away.  Raises ValueError where ``base`` is not of ``where``'s loads, which ascend.
    """

    def __init__(self, base: Tensor, per_kg: Tensor, where: Seen):
        super().__init__()
        if len(base) != len(where.loads_kg) or bool((where.loads_kg.diff() <= 0).any()):
            raise ValueError(f"{len(base)} rows of doubt for the loads {where.loads_kg.tolist()}")
        self.base, self.per_kg = base, per_kg
        self.loads_kg, self.low = nn.Buffer(where.loads_kg), nn.Buffer(where.low)
        self.high, self.sd = nn.Buffer(where.high), nn.Buffer(where.sd)

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, window, 5)`` in their own units to SD ``(batch, outputs)``."""
        load_kg = features[..., LOAD]
        far = self.kg_away(load_kg) * self.per_kg
        sd = (self.base_at(load_kg).amax(1) ** 2 + far**2).sqrt()
        return sd * (1 + BEYOND * self.outside(features[..., MOTION]))

    def base_at(self, load_kg: Tensor) -> Tensor:
        """``(...)`` kg to ``(..., outputs)``; beyond the ends, those of the ends."""
        at = load_kg[..., None]
        low, high = self.loads_kg[:-1], self.loads_kg[1:]
        part = ((at - low) / (high - low)).clamp(0, 1)
        return self.base[0] + part @ self.base.diff(dim=0)

    def kg_away(self, load_kg: Tensor) -> Tensor:
        """``(batch, window)`` kg to distances ``(batch, 1)`` kg."""
        nearest = (load_kg[..., None] - self.loads_kg).abs().amin(-1)
        changed = load_kg.amax(1, keepdim=True) - load_kg.amin(1, keepdim=True)
        return nearest.amax(1, keepdim=True) + changed

    def outside(self, motion: Tensor) -> Tensor:
        """``(batch, window, 3)`` to how many SDs outside ``(batch, 1)``."""
        off = (self.low - motion).clamp(min=0) + (motion - self.high).clamp(min=0)
        return ((off / self.sd) ** 2).sum(-1).amax(1, keepdim=True).sqrt()
