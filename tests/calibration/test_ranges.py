"""What a network is calibrated with: the rare inputs that decide the ends of its numbers."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from calibration.ranges import METHODS, RangeError, choose, ranges_of


def rows(x):
    return [{"x": row} for row in np.asarray(x, np.float32)]


def test_one_rare_input_among_a_thousand_is_chosen():
    x = np.random.default_rng(0).normal(0, 0.1, (1000, 1, 64))
    x[617] += 5
    assert 617 in choose(rows(x), 4)


def test_repeated_inputs_are_chosen_once():
    x = np.repeat(np.eye(3), 100, axis=0).reshape(300, 1, 3)
    found = choose(rows(x), 50)
    assert len(found) == 3
    assert len({tuple(x[k, 0]) for k in found}) == 3


@given(st.integers(1, 40), st.integers(1, 60))
def test_never_more_than_asked_for_and_in_order(n, count):
    x = np.random.default_rng(n).normal(size=(n, 2, 5))
    found = choose(rows(x), count)
    assert found == sorted(set(found))
    assert len(found) == min(n, count)
    assert found == choose(rows(x), count)


def test_inputs_that_are_not_finite_are_refused():
    x = np.zeros((3, 1, 4))
    x[1, 0, 2] = np.nan
    with pytest.raises(RangeError, match="input 1 is not finite"):
        choose(rows(x), 2)
    with pytest.raises(RangeError, match="give a recording"):
        choose([], 2)


def doubled():
    """y = 2 x."""
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    node = helper.make_node("Mul", ["x", "two"], ["y"], name="double")
    shape = [1, 256]
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)], [two],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_range_of_every_tensor(method, capsys):
    x = np.random.default_rng(1).uniform(-1, 3, (20, 1, 256)).astype(np.float32)
    found = ranges_of(doubled(), rows(x), method)
    low, high = (float(np.squeeze(v)) for v in found["y"].range_value)
    assert high == pytest.approx(6, abs=0.1)
    # Percentile and entropy know one size for both sides.
    assert low == pytest.approx(-2, abs=0.1) or (method != "minmax" and low == -high)
    assert capsys.readouterr().out == ""
