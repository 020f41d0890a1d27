"""From EMG to joint moment: delay, activation, Hill muscles with rigid tendons, moment arms.

Time is the first axis: envelopes are ``(n, ..., muscles)`` at one rate.  Nothing loops over muscles
or trials, only activation over time.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from models.muscle import A_MIN, V_MAX, Muscle, rigid_tendon_force
from models.physiology import BOUNDS, FALL_PER_RISE, Values

FIBRE_DAMPING = 0.1  # of F_max at greatest velocity (Millard et al. 2013)


class Geometry(NamedTuple):
    """Where a joint's muscles are, ``(..., muscles)``: from ``paths`` of a joint."""

    length_mm: Tensor
    arm_mm: Tensor  # r > 0 pulls towards positive angles
    speed_mm_s: Tensor  # of the path, lengthening > 0


def excitation(envelope: Tensor, values: Values, rate_hz: float) -> Tensor:
    """Neural excitation of envelopes ``(n, ..., muscles)``: less gain, after the delay.

    The delay is a straight line between samples, so that it has a slope to learn by; before the
    first sample the envelope is held.
    """
    taps = delay_taps(values.delay_s, rate_hz)
    n = envelope.shape[0]
    held = torch.cat([envelope[:1].expand(len(taps) - 1, *envelope.shape[1:]), envelope])
    pieces = [held[len(taps) - 1 - k : len(taps) - 1 - k + n] for k in range(len(taps))]
    return torch.einsum("k,k...->...", taps, torch.stack(pieces)) / values.gain


def delay_taps(delay_s: Tensor, rate_hz: float) -> Tensor:
    """Weights of the newest sample and those before it that make a delay."""
    longest = math.ceil(BOUNDS["delay_s"].high * rate_hz) + 1
    at = torch.arange(longest + 1, dtype=delay_s.dtype, device=delay_s.device)
    return (1 - (at - delay_s * rate_hz).abs()).clamp(min=0)


def activation(e: Tensor, values: Values, rate_hz: float, start: Tensor | None = None) -> Tensor:
    """Activation ``(n, ..., muscles)`` of excitations held for a sample each.

    First order, faster to rise than to fall: what a sample's excitation does is seen from the next
    one on.  ``start`` is the first activation; without it that of the first excitation, held long
    enough.
    """
    a = e[0] if start is None else start
    steps = []
    for now in e.unbind():
        steps.append(a)
        a = step_activation(a, now, values.rise_s, 1 / rate_hz)
    return torch.stack(steps)


def step_activation(a: Tensor, e: Tensor, rise_s: Tensor, dt_s: float) -> Tensor:
    """One step of Thelen's activation dynamics: the exponential of a rate frozen at its middle."""
    z = 0.5 + 1.5 * a
    k = torch.where(e > a, 1 / z, z / FALL_PER_RISE) / rise_s
    half = e + (a - e) * torch.exp(-0.5 * dt_s * k)
    z = 0.5 + 1.5 * half
    k = torch.where(e > a, 1 / z, z / FALL_PER_RISE) / rise_s
    return (e + (a - e) * torch.exp(-dt_s * k)).clamp(min=A_MIN)


def bent(a: Tensor, shape: Tensor) -> Tensor:
    """Activation as force follows it: (exp(A a) - 1)/(exp(A) - 1) (Lloyd and Besier 2003)."""
    return torch.expm1(shape * a) / torch.expm1(shape)


def scaled(muscle: Muscle, values: Values) -> Muscle:
    """A generic model's muscles as this person's."""
    return muscle._replace(
        l_opt_mm=muscle.l_opt_mm * values.l_opt,
        l_slack_mm=muscle.l_slack_mm * values.l_slack,
        f_max_n=muscle.f_max_n * values.f_max,
    )


def forces_n(muscle: Muscle, values: Values, a: Tensor, g: Geometry) -> Tensor:
    """Tendon forces ``(..., muscles)`` at activations ``a``."""
    person = scaled(muscle, values)
    a = bent(a, values.shape)
    speed_mm_s = g.speed_mm_s * (V_MAX / values.v_max)  # slower muscles feel a speed more
    return rigid_tendon_force(person, a, g.length_mm, speed_mm_s, FIBRE_DAMPING)


def moment_nm(force_n: Tensor, g: Geometry) -> Tensor:
    """Moment ``(...)`` of all muscles about the joint."""
    return (force_n * g.arm_mm).sum(-1) / 1000
