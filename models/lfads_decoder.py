"""LFADS's decoder over time: controller, inferred inputs, generator, factors.

Per bin t, from encoder states e_t, the last factors f and noise eps (Pandarinath et al. 2018)::

    c_t = GRU([e_t, f_{t-1}] * keep, c_{t-1})       mean_t, logvar_t = c_t O + o
    u_t = mean_t + exp(logvar_t / 2) eps_t          g_t = GRU(u_t, g_{t-1})
    f_t = (g_t * keep) F

``decode_naive`` is these lines and nothing else.  ``decode`` gives the same numbers and gradients
with the loop backwards written by hand: the products that do not depend on the last step are one
for all bins.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.gru import CLIP, backward_step, forward_step, gradient_of_u, step


class Decoded(NamedTuple):
    """Everything that the decoder says; ``(t, b, *)`` each."""

    factors: Tensor
    mean: Tensor  # of the controller's output
    logvar: Tensor
    inputs: Tensor  # u: drawn from that mean and variance


class Weights(NamedTuple):
    """Kernels of the loop."""

    con_f: Tensor  # (factors, 3 con): factors into the controller
    con_u: Tensor  # (con, 3 con)
    co: Tensor  # (con, 2 inputs): mean, then logvar
    co_b: Tensor  # (2 inputs,)
    gen_w: Tensor  # (inputs, 3 gen)
    gen_b: Tensor  # (3 gen,)
    gen_u: Tensor  # (gen, 3 gen)
    fac: Tensor  # (gen, factors), columns of length 1


class Noise(NamedTuple):
    """What is drawn before the loop; ``(t, b, *)`` each.  Factors that keep are 1 / (1 - rate)."""

    eps: Tensor  # (t, b, inputs)
    keep_f: Tensor  # (t, b, factors): factors into the controller
    keep_g: Tensor  # (t, b, gen): generator into the factors


def decode_naive(
    p: Tensor, c: Tensor, g: Tensor, f: Tensor, noise: Noise, w: Weights, clip: float = CLIP
) -> Decoded:
    """As ``decode``, one step after the other: for export, and to compare with."""
    said: list[tuple[Tensor, ...]] = []
    for t in range(p.shape[0]):
        c = step(p[t] + (f * noise.keep_f[t]) @ w.con_f, c, w.con_u, clip)
        m, v = (c @ w.co + w.co_b).chunk(2, -1)
        u = m + torch.exp(0.5 * v) * noise.eps[t]
        g = step(u @ w.gen_w + w.gen_b, g, w.gen_u, clip)
        f = (g * noise.keep_g[t]) @ w.fac
        said.append((f, m, v, u))
    return Decoded(*(torch.stack(part) for part in zip(*said, strict=True)))


def decode(
    p: Tensor, c: Tensor, g: Tensor, f: Tensor, noise: Noise, w: Weights, clip: float = CLIP
) -> Decoded:
    """``p (t, b, 3 con)`` what the encoders add to the controller's gates, bias included.

    ``c (b, con)``, ``g (b, gen)``, ``f (b, factors)`` are the states before the first bin.
    """
    return Decoded(*_Decode.apply(p, c, g, f, *noise, *w, clip))


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, c: Tensor, g: Tensor, f: Tensor, *rest: Any) -> Any:
        noise, w, clip = Noise(*rest[:3]), Weights(*rest[3:11]), rest[11]
        steps = len(p)

        def over_time(first: Tensor) -> Tensor:
            states = first.new_empty(steps + 1, *first.shape)
            states[0] = first
            return states

        cs, gs, fs = over_time(c), over_time(g), over_time(f)
        c_gates, g_gates = torch.empty_like(p), p.new_empty(*p.shape[:2], w.gen_b.shape[0])
        co = p.new_empty(*p.shape[:2], w.co.shape[1])
        u = torch.empty_like(noise.eps)
        for t in range(steps):
            into = torch.addmm(p[t], fs[t] * noise.keep_f[t], w.con_f)
            forward_step(into, cs[t], w.con_u, c_gates[t], cs[t + 1], clip)
            torch.addmm(w.co_b, cs[t + 1], w.co, out=co[t])
            m, v = co[t].chunk(2, -1)
            torch.addcmul(m, torch.exp(0.5 * v), noise.eps[t], out=u[t])
            into = torch.addmm(w.gen_b, u[t], w.gen_w)
            forward_step(into, gs[t], w.gen_u, g_gates[t], gs[t + 1], clip)
            torch.mm(gs[t + 1] * noise.keep_g[t], w.fac, out=fs[t + 1])
        ctx.save_for_backward(cs, gs, fs, c_gates, g_gates, co, u, *noise, *w)
        ctx.clip = clip
        m, v = co.chunk(2, -1)
        return fs[1:].clone(), m.clone(), v.clone(), u.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        cs, gs, fs, c_gates, g_gates, co, u, *rest = ctx.saved_tensors
        noise, w, clip = Noise(*rest[:3]), Weights(*rest[3:]), ctx.clip
        d_f, d_m, d_v, d_u = grads
        con_t, gen_t = w.con_u.mT.contiguous(), w.gen_u.mT.contiguous()
        da_c, da_g = torch.empty_like(c_gates), torch.empty_like(g_gates)
        d_co, d_fac = torch.empty_like(co), torch.empty_like(fs[1:])
        carry_c, carry_g, carry_f = (torch.zeros_like(s[0]) for s in (cs, gs, fs))
        k = u.shape[-1]
        half = 0.5 * torch.exp(0.5 * co[..., k:]) * noise.eps  # du/dlogvar
        for t in reversed(range(len(u))):
            torch.add(d_f[t], carry_f, out=d_fac[t])
            grad = torch.addcmul(carry_g, d_fac[t] @ w.fac.mT, noise.keep_g[t])
            carry_g = backward_step(grad, gs[t], gs[t + 1], g_gates[t], gen_t, da_g[t], clip)
            du = torch.addmm(d_u[t], da_g[t], w.gen_w.mT)
            torch.add(d_m[t], du, out=d_co[t, :, :k])
            torch.addcmul(d_v[t], du, half[t], out=d_co[t, :, k:])
            grad = torch.addmm(carry_c, d_co[t], w.co.mT)
            carry_c = backward_step(grad, cs[t], cs[t + 1], c_gates[t], con_t, da_c[t], clip)
            carry_f = (da_c[t] @ w.con_f.mT) * noise.keep_f[t]
        # Noise has no gradient; every kernel's is one product over all bins and windows.
        kernels = (
            _product(fs[:-1] * noise.keep_f, da_c),
            gradient_of_u(cs[:-1], c_gates, da_c),
            _product(cs[1:], d_co),
            d_co.sum((0, 1)),
            _product(u, da_g),
            da_g.sum((0, 1)),
            gradient_of_u(gs[:-1], g_gates, da_g),
            _product(gs[1:] * noise.keep_g, d_fac),
        )
        return (da_c, carry_c, carry_g, carry_f, None, None, None, *kernels, None)


def _product(x: Tensor, y: Tensor) -> Tensor:
    return x.flatten(0, 1).mT @ y.flatten(0, 1)
