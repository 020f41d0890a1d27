"""The "reset before" gated recurrent unit (Cho et al. 2014), whole sequences at once.

::

    z = sigmoid(x W_z + h U_z + b_z)        r = sigmoid(x W_r + h U_r + b_r)
    n = tanh(x W_n + (r h) U_n + b_n)       h' = clamp(z h + (1 - z) n, -clip, clip)

``torch.nn.GRU`` applies r after U_n and so is another network; ONNX's GRU with
``linear_before_reset = 0`` is this one.  Gates are stored side by side in the order z, r, n.
"""

import math
from typing import Any, cast

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
    """Several cells side by side over time: all states ``(t, cells, b, hidden)``.

    ``p (t, cells, b, 3 hidden)``, ``h (cells, b, hidden)``, ``u (cells, hidden, 3 hidden)``.
    Backwards through time by hand: no graph of single steps, and one product for the gradient of
    ``u`` instead of one per step.
    """
    out: Tensor = _Sequence.apply(p, h, u, clip)
    return out


class Loop:
    """Cells on their way through time and back, in memory that is laid out before the first step.

    ``p (t, ..., b, 3 hidden)`` projected input, ``h (..., b, hidden)``, ``u (..., hidden,
    3 hidden)``.  Every step of it is a handful of operations in place, on views that exist already:
    on one thread the calls, not the arithmetic, are what a small step costs.
    """

    def __init__(self, p: Tensor, h: Tensor, u: Tensor, clip: float):
        k = h.shape[-1]
        self.clip = clip
        self.states = h.new_empty(1 + len(p), *h.shape)
        self.states[0] = h
        # Two pieces each, contiguous: the gates z and r, and what they make of the new state n.
        self._zr, self._n = pieces(p, k)
        self._u = pieces(u, k)
        self._multiply = Tensor.addmm_ if h.dim() == 2 else Tensor.baddbmm_
        z, r = self._zr.chunk(2, -1)
        self._h, self.to_zr, self.to_n = (x.unbind() for x in (self.states, self._zr, self._n))
        self._z, self._r = z.unbind(), r.unbind()

    def step(self, t: int) -> Tensor:
        """The state after bin ``t``; before, more may be added to its ``to_zr`` and ``to_n``."""
        h, zr, n, after = self._h[t], self.to_zr[t], self.to_n[t], self._h[t + 1]
        self._multiply(zr, h, self._u[0]).sigmoid_()
        self._multiply(n, self._r[t] * h, self._u[1]).tanh_()
        torch.lerp(n, h, self._z[t], out=after)
        # A state lies between the last one and a tanh: only what was given can be beyond 1.
        if t == 0 or self.clip < 1:
            after.clamp_(-self.clip, self.clip)
        return after

    def turn(self) -> None:
        """Before the way back: what its steps take and no later step decides, for all at once."""
        h, n = self.states[:-1], self._n
        z, r = self._zr.chunk(2, -1)
        left = 1 - z
        slopes = [z, (h - n).mul_(z).mul_(left), h * r * (1 - r), left * (1 - n * n)]
        if self.clip < 1 or (self.states[1].abs() >= self.clip).any():
            inside = (self.states[1:].abs() < self.clip).to(h)
            slopes = [x if k == 2 else x * inside for k, x in enumerate(slopes)]
        self._keep, self._by_z, self._by_r, self._new = (x.unbind() for x in slopes)
        self._back = tuple(x.mT.contiguous() for x in self._u)
        self._da = torch.empty_like(self._zr), torch.empty_like(n)
        self.d_zr, self.d_n = (x.unbind() for x in self._da)
        self._d_z, self._d_r = (x.unbind() for x in self._da[0].chunk(2, -1))

    def back(self, t: int, grad: Tensor) -> Tensor:
        """From the gradient of the state after bin ``t`` to that of the one before.

        Leaves those of the projections in ``d_zr`` and ``d_n``.
        """
        d_rh = torch.mul(grad, self._new[t], out=self.d_n[t]) @ self._back[1]
        torch.mul(grad, self._by_z[t], out=self._d_z[t])
        torch.mul(d_rh, self._by_r[t], out=self._d_r[t])
        before = torch.mul(grad, self._keep[t]).addcmul_(d_rh, self._r[t])
        return self._multiply(before, self.d_zr[t], self._back[0])

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Of the projections ``p`` and of ``u``, after the whole way back."""
        h = self.states[:-1]
        rh = self._zr[..., h.shape[-1] :] * h
        u = [over_time(x, da) for x, da in zip((h, rh), self._da, strict=True)]
        return torch.cat(self._da, -1), torch.cat(u, -1)


def pieces(x: Tensor, hidden: int) -> tuple[Tensor, Tensor]:
    """Copies of ``x (..., 3 hidden)``: what belongs to z and r, and what belongs to n."""
    return x[..., : 2 * hidden].clone(), x[..., 2 * hidden :].clone()


def over_time(x: Tensor, y: Tensor) -> Tensor:
    """Outer products summed over time and batch, ``(t, ..., b, k)`` with ``m`` to ``(..., k, m)``.

    A kernel's gradient, as one product for all steps.
    """
    x, y = (v.movedim(0, -3).flatten(-3, -2) for v in (x, y))
    return x.mT @ y


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, h: Tensor, u: Tensor, clip: float) -> Tensor:
        ctx.loop = Loop(p, h, u, clip)
        for t in range(len(p)):
            ctx.loop.step(t)
        return cast(Tensor, ctx.loop.states[1:].clone())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        loop: Loop = ctx.loop
        loop.turn()
        carry = torch.zeros_like(loop.states[0])
        for t, grad in reversed(list(enumerate(grads[0].unbind()))):
            carry = loop.back(t, carry + grad)
        p, u = loop.gradients()
        return p, carry, u, None


class OnnxGru(torch.autograd.Function):
    """Two cells, forwards and backwards, as ONNX's own GRU: one operator instead of many steps.

    ``x (t, b, inputs)``, ``w (2, 3 hidden, inputs)``, ``r (2, 3 hidden, hidden)``, ``b (2, 6
    hidden)``, ``h (2, b, hidden)`` to states ``(t, 2, b, hidden)`` at their bins.  It does not
    clamp, and need not where ``h`` is within the clip.  Only for the exporter: it asks for shapes.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, r: Tensor, b: Tensor, h: Tensor) -> Tensor:
        return x.new_zeros(x.shape[0], *h.shape)

    @staticmethod
    def symbolic(g: Any, x: Any, w: Any, r: Any, b: Any, h: Any) -> Any:
        """What the exporter writes."""
        lengths = g.op("prim::Constant")
        lengths.setType(torch._C.OptionalType.ofTensor())  # not given
        size = r.type().sizes()[-1]
        return g.op(
            "GRU", x, w, r, b, lengths, h,
            hidden_size_i=size, direction_s="bidirectional", linear_before_reset_i=0,
        )  # fmt: skip


def onnx_kernels(ahead: GruWeights, back: GruWeights) -> tuple[Tensor, Tensor, Tensor]:
    """``w``, ``r`` and ``b`` of ``OnnxGru``."""
    cells = (ahead, back)
    none = torch.zeros_like(ahead.b)
    return (
        torch.stack([c.w.t() for c in cells]),
        torch.stack([c.u.t() for c in cells]),
        torch.stack([torch.cat([c.b, none]) for c in cells]),
    )
