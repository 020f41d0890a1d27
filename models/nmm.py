"""The neural musculoskeletal model: kinematics and load to envelopes of surface and deep muscles.

A Transformer reads a window of joint kinematics and load; a Hill model of the person turns its
envelopes into joint moment and motion, and both learn together, so that the moment teaches what no
electrode measures (Kumar, Tripura, Chakraborty, Roy 2025, arXiv 2503.05201: inputs, outputs and the
idea; sizes and losses are DEFAULTs of this project, the paper gives none).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.hill_joint import Geometry, activation, excitation, forces_n, moment_nm
from models.muscle import Muscle
from models.physiology import Physiology, Values


@dataclass(frozen=True)
class NmmConfig:
    """Sizes.  ``causal``: no look at what comes later, for the device."""

    inputs: int = 5
    muscles: int = 6
    width: int = 64
    heads: int = 4
    blocks: int = 3
    hidden: int = 128
    window: int = 128  # samples
    dropout: float = 0.0
    causal: bool = False


class Block(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, c: NmmConfig):
        super().__init__()
        self.heads, self.causal, self.dropout = c.heads, c.causal, c.dropout
        self.norm1, self.norm2 = nn.LayerNorm(c.width), nn.LayerNorm(c.width)
        self.qkv = nn.Linear(c.width, 3 * c.width)
        self.out = nn.Linear(c.width, c.width)
        self.feed = nn.Sequential(
            nn.Linear(c.width, c.hidden), nn.GELU(), nn.Dropout(c.dropout),
            nn.Linear(c.hidden, c.width), nn.Dropout(c.dropout),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, time, width)`` to the same."""
        b, t, w = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, t, 3, self.heads, w // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        drop = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=drop, is_causal=self.causal)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, w))
        out: Tensor = x + self.feed(self.norm2(x))
        return out


class Transformer(nn.Module):
    """Features ``(batch, time, inputs)``, standardised, to envelopes ``(batch, time, muscles)``,
    each 0..1.  At most ``window`` samples long; shorter ones are the last of a window.
    """

    def __init__(self, c: NmmConfig):
        super().__init__()
        self.config = c
        self.into = nn.Linear(c.inputs, c.width)
        self.blocks = nn.Sequential(*(Block(c) for _ in range(c.blocks)))
        self.norm = nn.LayerNorm(c.width)
        self.head = nn.Linear(c.width, c.muscles)
        nn.init.constant_(self.head.bias, -2.0)  # muscles are mostly quiet
        self.register_buffer("positions", _sinusoids(c.window, c.width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Raises ValueError for a longer window."""
        t, most = x.shape[1], self.config.window
        if not torch.onnx.is_in_onnx_export() and t > most:
            raise ValueError(f"{t} samples at once: this network looks at {most}")
        places: Tensor = self.positions[most - t :]  # type: ignore[index]
        return torch.sigmoid(self.head(self.norm(self.blocks(self.into(x) + places))))


class Read(NamedTuple):
    """What the model says of a batch of windows; time first."""

    envelope: Tensor  # (time, batch, muscles), 0..1
    activation: Tensor  # (time, batch, muscles)
    moment_nm: Tensor  # (time, batch), net of the joint's damping
    force_n: Tensor  # (time, batch, muscles)


class Nmm(nn.Module):
    """Network, person and joint in one.

    ``muscle`` are the generic muscles, ``(muscles,)``; ``measured (muscles,)`` says which have an
    electrode, all without it.
    """

    measured: Tensor

    def __init__(
        self, config: NmmConfig, muscle: Muscle, rate_hz: float, measured: Tensor | None = None
    ):
        super().__init__()
        self.network = Transformer(config)
        self.person = Physiology(config.muscles)
        # Without an electrode an envelope is the excitation: a gain would be a second strength.
        everything = torch.ones(config.muscles, dtype=torch.bool)
        self.register_buffer("measured", everything if measured is None else measured)
        self.rate_hz = rate_hz
        self._generic = nn.ParameterList(nn.Parameter(m, requires_grad=False) for m in muscle)

    @property
    def muscle(self) -> Muscle:
        """The generic muscles."""
        return Muscle(*self._generic)

    def values(self) -> Values:
        """The person, without gains where there is no electrode."""
        values = self.person()
        gain = torch.where(self.measured, values.gain, torch.ones_like(values.gain))
        return Values(*values._replace(gain=gain))

    def forward(self, features: Tensor, geometry: Geometry, speed_rad_s: Tensor) -> Read:
        """``features (batch, time, inputs)``; geometry and speed are time first."""
        envelope = self.network(features).transpose(0, 1)
        return self.drive(envelope, geometry, speed_rad_s, self.values())

    def drive(self, envelope: Tensor, g: Geometry, speed_rad_s: Tensor, values: Values) -> Read:
        """The joint under given envelopes ``(time, ..., muscles)``."""
        e = excitation(envelope, values, self.rate_hz)
        a = activation(e, values, self.rate_hz)
        force = forces_n(self.muscle, values, a, g)
        net = moment_nm(force, g) - values.damping_nm_s * speed_rad_s
        return Read(envelope, a, net, force)


Paths = Callable[[Tensor], tuple[Tensor, Tensor]]  # angle to lengths and moment arms, mm
Accelerate = Callable[[Tensor, Tensor], Tensor]  # angle and moment to acceleration, rad/s^2


def shoot(
    model: Nmm,
    a: Tensor,
    angle_rad: Tensor,
    speed_rad_s: Tensor,
    paths: Paths,
    accelerate: Accelerate,
    segment: int = 20,
) -> Tensor:
    """Angles ``(segment, pieces, batch)`` that activations ``(time, batch, muscles)`` lead to.

    Multiple shooting: the joint is released anew every ``segment`` samples, from the measured
    ``angle_rad (time, batch)`` and speed, and rolls on by Runge and Kutta's fourth-order rule,
    so that errors cannot grow beyond a piece.  ``out[k]`` is one sample after ``k``.
    """
    values = model.values()
    pieces = (a.shape[0] - 1) // segment
    q, v = (x[: pieces * segment : segment] for x in (angle_rad, speed_rad_s))
    by_piece = a[: pieces * segment].reshape(pieces, segment, *a.shape[1:]).transpose(0, 1)
    dt = 1 / model.rate_hz

    def rate(q: Tensor, v: Tensor, act: Tensor) -> tuple[Tensor, Tensor]:
        length, arm = paths(q)
        g = Geometry(length, arm, -arm * v[..., None])
        net = moment_nm(forces_n(model.muscle, values, act, g), g) - values.damping_nm_s * v
        return v, accelerate(q, net)

    out = []
    for act in by_piece:
        q1, v1 = rate(q, v, act)
        q2, v2 = rate(q + 0.5 * dt * q1, v + 0.5 * dt * v1, act)
        q3, v3 = rate(q + 0.5 * dt * q2, v + 0.5 * dt * v2, act)
        q4, v4 = rate(q + dt * q3, v + dt * v3, act)
        q = q + dt / 6 * (q1 + 2 * q2 + 2 * q3 + q4)
        v = v + dt / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        out.append(q)
    return torch.stack(out)


def _sinusoids(n: int, width: int) -> Tensor:
    at = torch.arange(n)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10_000.0) / width)
    )
    return torch.stack([torch.sin(at), torch.cos(at)], -1).reshape(n, width)
