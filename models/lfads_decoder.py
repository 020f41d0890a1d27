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

from models.gru import CLIP, Loop, over_time, pieces, step


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
    p: Tensor, c: Tensor, g: Tensor, f: Tensor, noise: Noise | None, w: Weights, clip: float = CLIP
) -> Decoded:
    """As ``decode``, one step after the other: for export, and to compare with.

    Without ``noise``, means stand for what would be drawn.
    """
    said: list[tuple[Tensor, ...]] = []
    for t in range(p.shape[0]):
        f = f * noise.keep_f[t] if noise else f
        c = step(p[t] + f @ w.con_f, c, w.con_u, clip)
        m, v = (c @ w.co + w.co_b).chunk(2, -1)
        u = m + torch.exp(0.5 * v) * noise.eps[t] if noise else m
        g = step(u @ w.gen_w + w.gen_b, g, w.gen_u, clip)
        f = (g * noise.keep_g[t] if noise else g) @ w.fac
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
        con = Loop(p, c, w.con_u, clip)
        gen = Loop(w.gen_b.expand(len(p), len(c), -1), g, w.gen_u, clip)
        from_f, from_u = pieces(w.con_f, c.shape[-1]), pieces(w.gen_w, g.shape[-1])
        fs = f.new_empty(1 + len(p), *f.shape)
        fs[0] = f
        co, us = w.co_b.expand(len(p), len(c), -1).clone(), torch.empty_like(noise.eps)
        m, v = (x.unbind() for x in co.chunk(2, -1))
        lists = (fs[:-1], fs[1:], us, co, *noise)
        each = zip(*(x.unbind() for x in lists), strict=True)
        for t, (f, after, u, said, eps, keep_f, keep_g) in enumerate(each):
            shown = f * keep_f
            con.to_zr[t].addmm_(shown, from_f[0])
            con.to_n[t].addmm_(shown, from_f[1])
            said.addmm_(con.step(t), w.co)
            torch.addcmul(m[t], torch.exp(0.5 * v[t]), eps, out=u)
            gen.to_zr[t].addmm_(u, from_u[0])
            gen.to_n[t].addmm_(u, from_u[1])
            torch.mm(gen.step(t) * keep_g, w.fac, out=after)
        ctx.con, ctx.gen, ctx.fs, ctx.co, ctx.us = con, gen, fs, co, us
        ctx.save_for_backward(*noise, *w)
        mean, logvar = co.chunk(2, -1)
        return fs[1:].clone(), mean.clone(), logvar.clone(), us.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        noise, w = Noise(*ctx.saved_tensors[:3]), Weights(*ctx.saved_tensors[3:])
        con, gen, fs, us = ctx.con, ctx.gen, ctx.fs, ctx.us
        con.turn()
        gen.turn()
        d_f, d_m, d_v, d_u = grads
        d_fac, d_us, d_co = d_f.clone(), d_u.clone(), torch.cat([d_m, d_v], -1)
        half = 0.5 * torch.exp(0.5 * ctx.co.chunk(2, -1)[1]) * noise.eps  # du/dlogvar
        fac_t, co_t = w.fac.mT.contiguous(), w.co.mT.contiguous()
        to_f, to_u = (
            [x.mT.contiguous() for x in pieces(kernel, len(kernel_u))]
            for kernel, kernel_u in ((w.con_f, w.con_u), (w.gen_w, w.gen_u))
        )
        carry_c, carry_g, carry_f = (torch.zeros_like(s[0]) for s in (con.states, gen.states, fs))
        mean, logvar = d_co.chunk(2, -1)
        lists = (d_fac, d_us, d_co, mean, logvar, half, noise.keep_f, noise.keep_g)
        each = list(enumerate(zip(*(x.unbind() for x in lists), strict=True)))
        for t, (to_fac, du, to_co, to_mean, to_logvar, slope, keep_f, keep_g) in reversed(each):
            to_fac += carry_f
            carry_g = gen.back(t, torch.addcmul(carry_g, to_fac @ fac_t, keep_g))
            du.addmm_(gen.d_zr[t], to_u[0]).addmm_(gen.d_n[t], to_u[1])
            to_mean += du
            to_logvar.addcmul_(du, slope)
            carry_c = con.back(t, torch.addmm(carry_c, to_co, co_t))
            carry_f = (con.d_zr[t] @ to_f[0]).addmm_(con.d_n[t], to_f[1]).mul_(keep_f)
        # Noise has no gradient; every kernel's is one product over all bins and windows.
        (dp, d_con_u), (dg, d_gen_u) = con.gradients(), gen.gradients()
        kernels = (
            over_time(fs[:-1] * noise.keep_f, dp),
            d_con_u,
            over_time(con.states[1:], d_co),
            d_co.sum((0, 1)),
            over_time(us, dg),
            dg.sum((0, 1)),
            d_gen_u,
            over_time(gen.states[1:] * noise.keep_g, d_fac),
        )
        return (dp, carry_c, carry_g, carry_f, None, None, None, *kernels, None)
