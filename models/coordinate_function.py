"""Functions of a joint coordinate in torch, as OpenSim evaluates them: batched, differentiable."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.osim import (
    Constant,
    Function,
    OsimError,
    PiecewiseLinear,
    Polynomial,
    Scaled,
    Spline,
    Unknown,
)


def compile_function(function: Function, where: str) -> Callable[[Tensor], Tensor]:
    """What maps values ``(...)`` of a coordinate to values ``(...)`` of the same dtype.

    ``where`` says in an error who needs it.  Raises OsimError for functions of an unknown kind.
    """
    match function:
        case Constant(value):
            return lambda q: torch.full_like(q, value)
        case Polynomial(coefficients):
            return lambda q: _horner(coefficients, q)
        case Scaled(inner, scale):
            unscaled = compile_function(inner, where)
            return lambda q: scale * unscaled(q)
        case PiecewiseLinear(x, y):
            knots = torch.tensor(x, dtype=torch.float64)
            values = torch.tensor(y, dtype=torch.float64)
            slopes = values.diff() / knots.diff()
            flat = torch.zeros_like(slopes)
            return _pieces(knots, torch.stack([values[:-1], slopes, flat, flat], -1))
        case Spline(x, y):
            return _pieces(*_spline(x, y))
        case Unknown(kind):
            raise OsimError(f"{where} needs {kind}, which is not supported; replace it in the file")


def _horner(coefficients: Sequence[float], q: Tensor) -> Tensor:
    value = torch.zeros_like(q)
    for c in coefficients:
        value = value * q + c
    return value


def _pieces(knots: Tensor, table: Tensor) -> Callable[[Tensor], Tensor]:
    """Cubics ``(pieces, 4)`` from the lowest power, each from its left knot ``(pieces,)``; the
    first and last reach to infinity."""
    inner = knots[1 : len(table)]

    def evaluate(q: Tensor) -> Tensor:
        piece = torch.bucketize(q.detach().contiguous(), inner.to(q), right=True)
        rows = torch.cat([table, knots[: len(table), None]], -1).to(q)
        a, b, c, d, x = rows.index_select(0, piece.flatten()).reshape(*q.shape, 5).unbind(-1)
        h = q - x
        return a + h * (b + h * (c + h * d))

    return evaluate


def _spline(x: Sequence[float], y: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Knots ``(n + 1,)`` and cubics ``(n + 1, 4)`` of an interpolating spline, straight beyond the
    ends (Forsythe, Malcolm, Moler 1977, section 4.4)."""
    knots, values = torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    n, h = len(x), knots.diff()
    slope = values.diff() / h
    m = torch.zeros(n, dtype=torch.float64)  # second derivatives over 6
    if n > 2:
        system, right = torch.zeros(n, n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        for i in range(1, n - 1):
            system[i, i - 1 : i + 2] = torch.stack([h[i - 1], 2 * (h[i - 1] + h[i]), h[i]])
            right[i] = slope[i] - slope[i - 1]
        system[0, :2] = torch.tensor([-1.0, 1.0])
        system[-1, -2:] = torch.tensor([-1.0, 1.0])
        if n > 3:
            right[0] = h[0] * _third_difference(knots[:4], values[:4])
            right[-1] = h[-1] * _third_difference(knots[-4:], values[-4:])
        m = torch.linalg.solve(system, right)
    b = slope - h * (m[1:] + 2 * m[:-1])
    b_end = slope[-1] + h[-1] * (m[-2] + 2 * m[-1])
    cubics = torch.stack([values[:-1], b, 3 * m[:-1], m.diff() / h], -1)
    zero = torch.zeros((), dtype=torch.float64)
    before = torch.stack([values[0], b[0], zero, zero])
    after = torch.stack([values[-1], b_end, zero, zero])
    # The first piece hangs on the first knot too.
    return torch.cat([knots[:1], knots]), torch.cat([before[None], cubics, after[None]])


def _third_difference(x: Tensor, y: Tensor) -> Tensor:
    """Divided difference of four points: a sixth of the third derivative of their cubic."""
    for order in (1, 2, 3):
        y = y.diff() / (x[order:] - x[:-order])
    return y[0]
