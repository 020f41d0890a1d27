"""What an ONNX file is made of, beside what the ``onnx`` package says of it."""

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge.bundle import list_bundles, load_bundle
from edge.runtime.onnx_contents import contents_of
from tests.fakes.bundles import network


@pytest.mark.parametrize("name", list_bundles())
def test_operators_and_opset_of_shipped_networks(name):
    data = load_bundle(name).files["model.onnx"]
    model = onnx.load_from_string(data)
    found = contents_of(data)
    assert found.opset == model.opset_import[0].version
    ops = [n.op_type for n in model.graph.node]
    assert found.ops == {op: ops.count(op) for op in ops}
    assert {i.data_type for i in model.graph.initializer} <= found.types
    assert not found.has_int8
    assert not found.has_fp16


@pytest.mark.parametrize(
    ("precision", "int8", "fp16"),
    [("fp32", False, False), ("fp16", False, True), ("int8", True, False)],
)
def test_precision_is_seen_in_the_file(precision, int8, fp16):
    found = contents_of(network(precision).SerializeToString())
    assert (found.has_int8, found.has_fp16) == (int8, fp16)


def test_16_bit_that_only_a_cast_brings_in_is_seen():
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["y"], to=TensorProto.FLOAT),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy")
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]))
    assert contents_of(model.SerializeToString()).has_fp16


def test_operators_of_others_do_not_make_the_opset():
    model = network()
    model.opset_import.append(helper.make_opsetid("com.example", 99))
    assert contents_of(model.SerializeToString()).opset == 17


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_being_refused(data):
    try:
        contents_of(data)
    except ValueError:
        return


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_file_does_no_more_than_being_refused(at, byte):
    data = bytearray(network("int8").SerializeToString())
    data[at % len(data)] = byte
    try:
        contents_of(bytes(data))
    except ValueError:
        return
