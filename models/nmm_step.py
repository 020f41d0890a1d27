"""The neural musculoskeletal model on the device: one angle and one load in, one state out, a tick.

At each tick the newest angle makes the newest features, the network reads the last window of them
again, and the joint runs through its end: what is said is the last sample of what ``Nmm`` says of
that window.  Reading it again matters: what drives the muscles now was in the EMG some samples
ago, and is known better since.

All of it exports: static shapes, elementary operators.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.causal_features import FILTER, end_of_quadratic, features
from models.elbow import MUSCLES, RANGE_RAD, Segment, paths
from models.hill_joint import Geometry, activation, delay_taps, forces_n, moment_nm
from models.muscle import A_MIN
from models.nmm import Nmm
from models.nmm_doubt import Doubt

SPOKEN = ("BRA", "TRImed", "BIClong", "BICshort", "TRIlong", "TRIlat")  # the deep ones first
RUN = 30  # samples that the joint is run through: after these, activation has forgotten its start


class States(NamedTuple):
    """What one step leaves to the next; of each series the newest is last."""

    begun: Tensor  # (batch, 1), 1 after the first step
    angles: Tensor  # (batch, FILTER - 1) rad
    features: Tensor  # (batch, window - 1, 5)


class NmmStep(nn.Module):
    """A trained ``model`` of one person's elbow, with its forearm as weighed.

    ``mean`` and ``sd (5,)`` standardise features.
    """

    mean: Tensor
    sd: Tensor
    weights: Tensor  # (FILTER, 3)
    taps: Tensor  # of the delay, the one for the newest sample last

    def __init__(self, model: Nmm, mean: Tensor, sd: Tensor, segment: Segment, doubt: Doubt):
        super().__init__()
        self.network, self.doubt, self.segment = model.network, doubt, segment
        self.rate_hz = model.rate_hz
        with torch.no_grad():
            self.values, self.muscle = model.values(), model.muscle
            taps = delay_taps(self.values.delay_s, self.rate_hz).flip(0)
        self.register_buffer("mean", mean)
        self.register_buffer("sd", sd)
        self.register_buffer("weights", end_of_quadratic(FILTER, self.rate_hz).float())
        self.register_buffer("taps", taps)
        self.tail = RUN + len(taps) - 1
        self.spoken = [MUSCLES.index(name) for name in SPOKEN]

    def forward(
        self, angle_deg: Tensor, load_kg: Tensor, begun: Tensor, angles: Tensor, past: Tensor
    ) -> tuple[Tensor, ...]:
        """Of ``(batch, 1)``: activation of ``SPOKEN`` in %, moment in N m, and the SD of each,
        ``(batch, 7)``; then the ``States``, as they came in.

        From states that are 0, the joint has been where it is for ever.
        """
        angles = _followed(begun, angles, angle_deg * (math.pi / 180))
        now = features(angles, load_kg[:, 0], self.weights, self.segment)
        past = _followed(begun, past, now[:, None])
        a = self.activation(self.network((past - self.mean) / self.sd))
        torque = self.torque_nm(a, now[:, 0], now[:, 1])
        values = torch.cat([100 * a[:, self.spoken], torque[:, None]], 1)
        return values, self.doubt(past), *States(torch.ones_like(begun), angles[:, 1:], past[:, 1:])

    def activation(self, envelope: Tensor) -> Tensor:
        """Of the newest of envelopes ``(batch, window, muscles)``: ``(batch, muscles)``."""
        tail = envelope[:, -self.tail :].transpose(1, 2)
        e = nn.functional.conv1d(tail.reshape(-1, 1, tail.shape[2]), self.taps[None, None])
        e = e.reshape(*tail.shape[:2], RUN) / self.values.gain[:, None]
        return activation(e.permute(2, 0, 1), self.values, self.rate_hz)[-1]

    def torque_nm(self, a: Tensor, angle_rad: Tensor, speed_rad_s: Tensor) -> Tensor:
        """Moment ``(batch,)`` of muscles at activations ``(batch, muscles)``, net of damping."""
        length_mm, arm_mm = paths(angle_rad)
        g = Geometry(length_mm, arm_mm, -arm_mm * speed_rad_s[:, None])
        force_n = forces_n(self.muscle, self.values, a, g)
        net: Tensor = moment_nm(force_n, g) - self.values.damping_nm_s * speed_rad_s
        return net

    def start(self, batch: int = 1) -> States:
        """Before the first step."""
        c = self.network.config
        shapes = ((1,), (FILTER - 1,), (c.window - 1, c.inputs))
        return States(*(self.mean.new_zeros(batch, *shape) for shape in shapes))

    @property
    def settle_steps(self) -> int:
        """Steps until nothing of a start is left in the window."""
        return FILTER - 1 + self.network.config.window - 1

    @torch.no_grad()
    def strength_nm(self) -> tuple[float, float]:
        """Greatest extension (< 0) and flexion moment that these muscles hold, wherever it is."""
        q = torch.linspace(*RANGE_RAD, 27)
        _, arm = paths(q)
        full, rest = torch.ones_like(arm), torch.full_like(arm, A_MIN)
        flex, extend = (
            self.torque_nm(torch.where(mine, full, rest), q, torch.zeros_like(q))
            for mine in (arm > 0, arm < 0)
        )
        return float(extend.min()), float(flex.max())


def _followed(begun: Tensor, past: Tensor, now: Tensor) -> Tensor:
    """``past`` followed by ``now`` along axis 1; before the first step, now was always so."""
    known = begun.unflatten(-1, (1,) * (past.dim() - 1)) > 0
    return torch.cat([torch.where(known, past, now), now], 1)
