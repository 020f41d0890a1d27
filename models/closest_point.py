"""The point of an ellipsoid closest to another: batched, differentiable."""

import torch
from torch import Tensor

_FLOOR = 1e-6  # of a half axis: a point in a plane of symmetry has two answers, take one
_ROUNDS = 10


def closest_point(point: Tensor, half: Tensor, used: Tensor) -> Tensor:
    """Point of the ellipsoid with half axes ``half`` next to ``point``, each ``(..., 3)``.

    ``used`` (1 or 0) leaves an axis out: the closest point of the ellipse in the others, the
    coordinate left out being 0.  The closest point is x_i = a_i^2 s_i/(a_i^2 + t), t the largest
    root of sum (a_i s_i/(a_i^2 + t))^2 = 1 (Eberly, "Distance from a point to an ellipsoid").
    Newton's method on 1/sqrt of the sum, nearly a line in t; two more steps carry first and second
    derivatives.
    """
    floor = _FLOOR * half
    s = torch.where(point.abs() < floor, torch.where(point < 0, -floor, floor), point) * used
    square = half * half
    least = torch.where(used > 0, square, torch.inf).amin(-1, keepdim=True)
    excess = square - least  # t is counted from -least, where the sum has its pole
    weight = (half * s) ** 2

    def steps(t: Tensor, weight: Tensor) -> Tensor:
        denominator = torch.where(used > 0, excess + t, 1.0)
        total = (weight / denominator**2).sum(-1, keepdim=True)
        slope = (weight / denominator**3).sum(-1, keepdim=True)  # -1/2 of the derivative
        return t - (1 - total.sqrt()) * total / slope

    with torch.no_grad():
        pole = (weight * (excess == 0)).sum(-1, keepdim=True)
        t = low = pole.sqrt()  # left of the root, whence the steps never pass it
        for _ in range(_ROUNDS):
            t = torch.maximum(steps(t, weight), low)
    t = steps(steps(t, weight), weight)
    return square * s / torch.where(used > 0, excess + t, 1.0)
