"""Gain and offset behind a network, in its own file."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from edge.bundle import BundleError
from export.onnx_affine import Affine, append_affine


def tensor(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.fixture
def network():
    """y = x + h, where y itself is the next h: something inside reads the output."""
    nodes = [
        helper.make_node("Add", ["x", "h"], ["y"]),
        helper.make_node("Identity", ["y"], ["h_next"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [tensor("x", (1, 2)), tensor("h", (1, 2))],
        [tensor("y", (1, 2)), tensor("h_next", (1, 2))],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def change(old="y", new="y_wearer", gain=(2.0, 0.5), offset=(1.0, -3.0)):
    return Affine(old, new, np.array(gain, np.float32), np.array(offset, np.float32))


def run(path, x, h):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    found = session.run(names, {"x": np.float32([x]), "h": np.float32([h])})
    return dict(zip(names, found, strict=True))


def test_the_output_is_changed_and_the_recurrent_state_is_not(network, tmp_path):
    assert append_affine(network, tmp_path / "new.onnx", [change()]) <= 1e-6
    found = run(tmp_path / "new.onnx", [1, 2], [10, 20])
    assert found.keys() == {"y_wearer", "h_next"}
    np.testing.assert_array_equal(found["y_wearer"], [[23, 8]])
    np.testing.assert_array_equal(found["h_next"], [[11, 22]])


def test_opset_and_format_stay_what_the_device_reads(network, tmp_path):
    append_affine(network, tmp_path / "new.onnx", [change()])
    old, new = onnx.load_from_string(network), onnx.load(str(tmp_path / "new.onnx"))
    assert new.ir_version == old.ir_version
    assert new.opset_import == old.opset_import


@pytest.mark.parametrize("bad", [change(old="z"), change(new="h_next"), change(new="x")])
def test_an_output_that_is_not_there_and_a_name_that_is_are_refused(network, tmp_path, bad):
    with pytest.raises(BundleError, match="start from the bundle that is not personalised"):
        append_affine(network, tmp_path / "new.onnx", [bad])


def test_a_change_that_gives_no_numbers_is_found(network, tmp_path):
    with pytest.raises(BundleError, match="differs from what it should give"):
        append_affine(network, tmp_path / "new.onnx", [change(gain=(np.nan, 1.0))])
