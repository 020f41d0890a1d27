"""Millard's 2013 muscle curves (doi 10.1115/1.4023390), as OpenSim builds them: for cross-checks.

Each curve is a chain of quintic Bezier segments whose slopes and curvatures meet, continued by
straight lines.  A segment is given by its two ends, their slopes and its curviness.
"""

from functools import cache

import torch
from torch import Tensor

Knot = tuple[float, float, float]  # x, y, slope
_ROUNDS = 60  # of the bisection: the last bit of float64


def active_force_length(n: Tensor) -> Tensor:
    """f_L, 1 at n = 1, nothing outside 0.4441..1.8123 (the muscle with damping)."""
    return _chain(n, *_f_l())


def passive_force_length(n: Tensor) -> Tensor:
    """f_P: 0 up to n = 1, 1 at n = 1.7, a line beyond."""
    return _chain(n, *_f_p())


def force_velocity(v: Tensor) -> Tensor:
    """f_V: 0 at v = -1, 1 at rest, 1.4 at v = 1 and beyond."""
    return _chain(v, *_f_v())


def tendon_force(length: Tensor) -> Tensor:
    """f_T: 0 up to slack length, 1 at a strain of 0.049, a line from 2/3 on."""
    return _chain(length, *_f_t())


@cache
def _f_l() -> tuple[tuple[Knot, ...], tuple[float, ...]]:
    x0, x1, x2, x3, shallow = 0.4441, 0.73, 1.0, 1.8123, 0.8616
    plateau = 0.05 * x2
    y1 = 1 - shallow * (x2 - plateau - x1)
    knots = (
        (x0, 0.0, 0.0),
        (0.5 * (x0 + x1), 0.5 * y1, 1.25 * y1 / (x1 - x0)),
        (x1 + 0.5 * (x2 - plateau - x1), 0.5 * (1 + y1), shallow),
        (x2, 1.0, 0.0),
        (0.5 * (x2 + plateau + x3), 0.5, -1 / ((x3 - plateau) - (x2 + plateau))),
        (x3, 0.0, 0.0),
    )
    return knots, (1.0,) * 5


@cache
def _f_v() -> tuple[tuple[Knot, ...], tuple[float, ...]]:
    knots = (
        (-1.0, 0.0, 0.0),
        (-0.9, 0.5 * 0.25 * 0.1, 0.25),
        (0.0, 1.0, 5.0),
        (0.9, 1.4 - 0.5 * 0.15 * 0.1, 0.15),
        (1.0, 1.4, 0.0),
    )
    return knots, (0.6, 0.6, 0.9, 0.9)


@cache
def _f_p() -> tuple[tuple[Knot, ...], tuple[float, ...]]:
    steep, low = 2 / 0.7, 0.2
    d = min(0.1 / steep, 0.1 * 0.7)
    return ((1.0, 0.0, 0.0), (1 + d, 0.5 * low * d, low), (1.7, 1.0, steep)), (0.75, 0.75)


@cache
def _f_t() -> tuple[tuple[Knot, ...], tuple[float, ...]]:
    at_1, steep, toe = 1.049, 1.375 / 0.049, 2 / 3
    x_toe = (toe - 1) / steep + at_1
    x_foot = 1 + 0.1 * (x_toe - 1)
    y_mid = 0.5 * toe
    x_mid = (y_mid - 1) / steep + at_1
    slope = y_mid / (x_mid - x_foot)
    x_c = x_foot + 0.5 * (x_mid - x_foot)
    knots = ((1.0, 0.0, 0.0), (x_c, slope * (x_c - x_foot), slope), (x_toe, toe, steep))
    return knots, (0.5, 0.5)


def _chain(x: Tensor, knots: tuple[Knot, ...], curviness: tuple[float, ...]) -> Tensor:
    first, last = knots[0], knots[-1]
    y = torch.where(x < first[0], first[1] + first[2] * (x - first[0]), torch.zeros_like(x))
    y = torch.where(x >= last[0], last[1] + last[2] * (x - last[0]), y)
    for left, right, c in zip(knots[:-1], knots[1:], curviness, strict=True):
        here = (x >= left[0]) & (x < right[0])
        y = torch.where(here, _bezier(x.clamp(left[0], right[0]), left, right, c), y)
    return y


def _bezier(x: Tensor, left: Knot, right: Knot, curviness: float) -> Tensor:
    """Height at ``x`` of one segment: u from x by bisection, then one Newton step for gradients."""
    xs, ys = _points(left, right, 0.1 + 0.8 * curviness)
    with torch.no_grad():
        low, high = torch.zeros_like(x), torch.ones_like(x)
        for _ in range(_ROUNDS):
            u = 0.5 * (low + high)
            below = _polynomial(xs, u) < x
            low, high = torch.where(below, u, low), torch.where(below, high, u)
        u = 0.5 * (low + high)
        slope = _slope(xs, u).clamp(min=1e-9)
    return _polynomial(ys, u + (x - _polynomial(xs, u)) / slope)


def _points(left: Knot, right: Knot, c: float) -> tuple[list[float], list[float]]:
    """The six control points; the tangents of the two ends meet in the corner."""
    (x0, y0, d0), (x1, y1, d1) = left, right
    x_c = (y1 - y0 - x1 * d1 + x0 * d0) / (d0 - d1)
    y_c = y0 + (x_c - x0) * d0
    xs = [
        x0,
        x0 + c * (x_c - x0),
        x0 + c * (x_c - x0),
        x1 + c * (x_c - x1),
        x1 + c * (x_c - x1),
        x1,
    ]
    ys = [
        y0,
        y0 + c * (y_c - y0),
        y0 + c * (y_c - y0),
        y1 + c * (y_c - y1),
        y1 + c * (y_c - y1),
        y1,
    ]
    return xs, ys


def _polynomial(p: list[float], u: Tensor) -> Tensor:
    w = 1 - u
    return (
        p[0] * w**5 + 5 * p[1] * u * w**4 + 10 * p[2] * u**2 * w**3
        + 10 * p[3] * u**3 * w**2 + 5 * p[4] * u**4 * w + p[5] * u**5
    )  # fmt: skip


def _slope(p: list[float], u: Tensor) -> Tensor:
    d = [5 * (b - a) for a, b in zip(p[:-1], p[1:], strict=True)]
    w = 1 - u
    return (
        d[0] * w**4 + 4 * d[1] * u * w**3 + 6 * d[2] * u**2 * w**2
        + 4 * d[3] * u**3 * w + d[4] * u**4
    )  # fmt: skip
