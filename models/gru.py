"""The "reset before" gated recurrent unit (Cho et al. 2014), whole sequences at once.

::

    z = sigmoid(x W_z + h U_z + b_z)        r = sigmoid(x W_r + h U_r + b_r)
    n = tanh(x W_n + (r h) U_n + b_n)       h' = clamp(z h + (1 - z) n, -clip, clip)

``torch.nn.GRU`` applies r after U_n and so is another network; ONNX's GRU with
``linear_before_reset = 0`` is this one.  Gates are stored side by side in the order z, r, n.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

CLIP = 5.0


class GruWeights(nn.Module):
    """``w (inputs, 3 hidden)``, ``u (hidden, 3 hidden)``, ``b (3 hidden)``: one cell's parameters.

    Kernels are drawn from N(0, 1/fan); ``fans`` are those of ``w`` and ``u``.  The biases of z and
    r begin at 1, so that a new cell remembers.
    """

    def __init__(self, inputs: int, hidden: int, fans: tuple[int, int]):
        super().__init__()
        self.hidden = hidden
        self.w = nn.Parameter(torch.randn(inputs, 3 * hidden) / math.sqrt(fans[0]))
        self.u = nn.Parameter(torch.randn(hidden, 3 * hidden) / math.sqrt(fans[1]))
        self.b = nn.Parameter(torch.cat([torch.ones(2 * hidden), torch.zeros(hidden)]))

    def project(self, x: Tensor) -> Tensor:
        """What the input adds to the gates: ``(..., inputs)`` to ``(..., 3 hidden)``."""
        return x @ self.w + self.b


def step(p: Tensor, h: Tensor, u: Tensor, clip: float = CLIP) -> Tensor:
    """One step as the equations have it: ``p (..., b, 3 hidden)`` projected input, ``h`` to h'."""
    k = h.shape[-1]
    z, r = torch.sigmoid(p[..., : 2 * k] + h @ u[..., : 2 * k]).chunk(2, -1)
    n = torch.tanh(p[..., 2 * k :] + (r * h) @ u[..., 2 * k :])
    return (z * h + (1 - z) * n).clamp(-clip, clip)


def sequence(p: Tensor, h: Tensor, u: Tensor, clip: float = CLIP) -> Tensor:
    """Several cells side by side over time: all states ``(cells, t, b, hidden)``.

    ``p (cells, t, b, 3 hidden)``, ``h (cells, b, hidden)``, ``u (cells, hidden, 3 hidden)``.
    Backwards through time by hand: no graph of single steps, and one product for the gradient of
    ``u`` instead of one per step.
    """
    out: Tensor = _Sequence.apply(p, h, u, clip)
    return out


def forward_step(p: Tensor, h: Tensor, u: Tensor, gates: Tensor, out: Tensor, clip: float) -> None:
    """``step`` into ``out``; ``gates (..., b, 3 hidden)`` keeps z, r, n for the way back."""
    k = h.shape[-1]
    zr, n = gates[..., : 2 * k], gates[..., 2 * k :]
    torch.add(p[..., : 2 * k], h @ u[..., : 2 * k], out=zr).sigmoid_()
    z, r = zr[..., :k], zr[..., k:]
    torch.add(p[..., 2 * k :], (r * h) @ u[..., 2 * k :], out=n).tanh_()
    torch.lerp(n, h, z, out=out)
    out.clamp_(-clip, clip)


def backward_step(
    grad: Tensor, h: Tensor, after: Tensor, gates: Tensor, u_t: Tensor, da: Tensor, clip: float
) -> Tensor:
    """From ``grad`` of the state ``after`` to that of ``h`` before, and ``da`` of the projections.

    ``u_t (..., 3 hidden, hidden)`` is ``u`` transposed.
    """
    k = h.shape[-1]
    z, r, n = gates[..., :k], gates[..., k : 2 * k], gates[..., 2 * k :]
    grad = torch.where(after.abs() < clip, grad, 0.0)
    torch.mul(grad * (1 - z), 1 - n * n, out=da[..., 2 * k :])
    d_rh = da[..., 2 * k :] @ u_t[..., 2 * k :, :]
    torch.mul(grad * (h - n), z * (1 - z), out=da[..., :k])
    torch.mul(d_rh * h, r * (1 - r), out=da[..., k : 2 * k])
    return grad * z + d_rh * r + da[..., : 2 * k] @ u_t[..., : 2 * k, :]


def gradient_of_u(before: Tensor, gates: Tensor, da: Tensor) -> Tensor:
    """Of recurrent kernels, from all states before each step; ``(..., t, b, *)`` each."""
    k = before.shape[-1]
    h, a = before.flatten(-3, -2).mT, da.flatten(-3, -2)
    rh = (gates[..., k : 2 * k] * before).flatten(-3, -2).mT
    return torch.cat([h @ a[..., : 2 * k], rh @ a[..., 2 * k :]], -1)


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, h: Tensor, u: Tensor, clip: float) -> Tensor:
        steps = p.shape[1]
        states = p.new_empty(p.shape[0], 1 + steps, *h.shape[1:])
        gates = torch.empty_like(p)
        states[:, 0] = h
        for t in range(steps):
            forward_step(p[:, t], states[:, t], u, gates[:, t], states[:, t + 1], clip)
        ctx.save_for_backward(states, gates, u)
        ctx.clip = clip
        return states[:, 1:].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        states, gates, u = ctx.saved_tensors
        da, u_t = torch.empty_like(gates), u.mT.contiguous()
        carry = torch.zeros_like(states[:, 0])
        for t in reversed(range(gates.shape[1])):
            carry = backward_step(
                carry + grads[0][:, t],
                states[:, t],
                states[:, t + 1],
                gates[:, t],
                u_t,
                da[:, t],
                ctx.clip,
            )
        return da, carry, gradient_of_u(states[:, :-1], gates, da), None
