"""What an OpenSim file may write of a coordinate's function, between its knots and beyond them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.coordinate_function import compile_function
from models.osim import Constant, PiecewiseLinear, Polynomial, Scaled, Spline


def evaluate(function, x):
    return compile_function(function, "a test")(torch.as_tensor(x, dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(
    coefficients=st.lists(st.floats(-3, 3), min_size=4, max_size=4),
    steps=st.lists(st.floats(0.2, 2), min_size=4, max_size=8),
)
def test_a_spline_through_a_cubic_is_the_cubic(coefficients, steps):
    knots = np.cumsum(steps) - 3
    spline = Spline(tuple(knots), tuple(np.polyval(coefficients, knots)))
    x = np.linspace(knots[0], knots[-1], 50)
    expected = np.polyval(coefficients, x)
    np.testing.assert_allclose(evaluate(spline, x), expected, atol=1e-9 * (1 + abs(expected).max()))


def test_functions_beyond_their_knots():
    line = Spline((0.0, 1.0, 2.0), (0.0, 1.0, 0.0))
    slope = (evaluate(line, 2.0) - evaluate(line, 2.0 - 1e-7)) / 1e-7
    assert evaluate(line, 4.0).item() == pytest.approx(2 * slope.item(), abs=1e-5)
    pieces = PiecewiseLinear((0.0, 1.0, 3.0), (0.0, 1.0, 2.0))
    assert evaluate(pieces, [-1.0, 0.5, 2.0, 5.0]).tolist() == [-1, 0.5, 1.5, 3]
    scaled = Scaled(Polynomial((1.0, 2.0, 3.0)), 2.0)
    assert evaluate(scaled, 2.0).item() == 22
    assert evaluate(Constant(4.0), [1.0, 2.0]).tolist() == [4, 4]
