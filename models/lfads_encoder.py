"""LFADS's encoders: what the whole window says of its beginning, and of every bin."""

from typing import cast

import torch
from torch import Tensor, nn

from models import gru
from models.gru import GruWeights, OnnxGru, onnx_kernels


class Encoder(nn.Module):
    """Two cells, forwards and backwards, whose first states are learned."""

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        fans = (inputs + hidden,) * 2
        self.ahead, self.back = (GruWeights(inputs, hidden, fans) for _ in range(2))
        self.first = nn.Parameter(torch.zeros(2, 1, hidden))


def encode(encoders: list[Encoder], x: Tensor, clip: float, naive: bool) -> list[Tensor]:
    """States ``(t, 2, b, hidden)`` of each encoder, both directions at their bins.

    ``x (t, b, channels)``.  Encoders of one size go through time side by side.
    """
    first = [e.first.expand(-1, x.shape[1], -1) for e in encoders]
    if torch.onnx.is_in_onnx_export():
        return [
            cast(Tensor, OnnxGru.apply(x, *onnx_kernels(e.ahead, e.back), h))
            for e, h in zip(encoders, first, strict=True)
        ]
    if len({e.first.shape[-1] for e in encoders}) > 1:
        return [s for e in encoders for s in encode([e], x, clip, naive)]
    cells = [(c, v) for e in encoders for c, v in ((e.ahead, x), (e.back, x.flip(0)))]
    if naive:
        each = zip(cells, torch.cat(first).unbind(), strict=True)
        states = torch.stack([_one_by_one(c, v, h, clip) for (c, v), h in each], 1)
    else:
        p = torch.stack([c.project(v) for c, v in cells], 1)
        states = gru.sequence(p, torch.cat(first), torch.stack([c.u for c, _ in cells]), clip)
    ahead, back = states[:, ::2], states[:, 1::2].flip(0)
    return [torch.stack([a, b], 1) for a, b in zip(ahead.unbind(1), back.unbind(1), strict=True)]


def _one_by_one(cell: GruWeights, x: Tensor, h: Tensor, clip: float) -> Tensor:
    """One cell's states ``(t, b, hidden)``, a step at a time."""
    states = []
    for p in cell.project(x).unbind():
        h = gru.step(p, h, cell.u, clip)
        states.append(h)
    return torch.stack(states)
