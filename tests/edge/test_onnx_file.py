"""What is found in an ONNX file without the ``onnx`` package, which writes these files."""

import contextlib
import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import SHIPPED
from edge.onnx_file import check_onnx

BAD = [math.nan, math.inf, -math.inf]
SHIPPED_NETWORKS = sorted(SHIPPED.glob("*/model.onnx"))


def model(*weights, nodes=(), **graph_parts):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))]
    graph = helper.make_graph(list(nodes), "g", inputs, [], list(weights), **graph_parts)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def refusal(m):
    """What ``check_onnx`` says against a model; "" if nothing."""
    try:
        check_onnx(m if isinstance(m, bytes) else m.SerializeToString())
    except ValueError as e:
        return str(e)
    return ""


def constant(tensor):
    return helper.make_node("Constant", [], ["c"], value=tensor)


@pytest.mark.parametrize("path", SHIPPED_NETWORKS, ids=lambda p: p.parent.name)
def test_shipped_networks_are_clean_and_with_one_nan_they_are_not(path):
    assert refusal(path.read_bytes()) == ""
    loaded = onnx.load(path)
    last = [i for i in loaded.graph.initializer if i.data_type == TensorProto.FLOAT and i.dims][-1]
    weights = numpy_helper.to_array(last).copy()
    weights.flat[-1] = math.nan
    last.CopyFrom(numpy_helper.from_array(weights, last.name))
    assert refusal(loaded) == f"weights {last.name!r}: NaN or infinite"


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"])
@pytest.mark.parametrize("bad", BAD)
def test_weights_that_are_no_numbers_are_found_in_every_float_and_both_spellings(kind, raw, bad):
    def tensor(values):
        """Two weights, spelt as bytes or as numbers."""
        t = helper.make_tensor("w", getattr(TensorProto, kind), [2], values)
        if raw:
            array = numpy_helper.to_array(t)
            t = TensorProto(dims=[2], data_type=t.data_type, name="w", raw_data=array.tobytes())
        return t

    most = 65504.0 if kind == "FLOAT16" else 3e38
    assert refusal(model(tensor([-most, most]))) == ""
    assert refusal(model(tensor([1.0, bad]))) == "weights 'w': NaN or infinite"
    assert refusal(model(nodes=[constant(tensor([1.0, bad]))])) == "weights 'w': NaN or infinite"


@pytest.mark.parametrize("kind", ["INT8", "UINT8", "INT32", "INT64", "BOOL"])
def test_whole_numbers_are_taken_as_they_are(kind):
    assert refusal(model(helper.make_tensor("w", getattr(TensorProto, kind), [2], [1, 1]))) == ""
    ones = TensorProto(data_type=getattr(TensorProto, kind), raw_data=b"\xff" * 8)
    assert refusal(model(ones)) == ""


def test_empty_weights_are_no_trouble():
    assert refusal(model(numpy_helper.from_array(np.zeros((0, 3), np.float32), "w"))) == ""


@pytest.mark.parametrize("value", [[0.5, math.nan], math.inf])
def test_attributes_are_numbers(value):
    node = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=value)
    assert refusal(model(nodes=[node])) == "an attribute: NaN or infinite"


def external(**parts):
    return TensorProto(name="w", data_type=1, **parts)


@pytest.mark.parametrize(
    "tensor",
    [
        external(data_location=TensorProto.EXTERNAL),
        external(external_data=[onnx.StringStringEntryProto(key="location", value="/etc/passwd")]),
    ],
)
def test_weights_in_another_file_are_refused(tensor):
    assert "in another file" in refusal(model(tensor))
    assert "in another file" in refusal(model(nodes=[constant(tensor)]))


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.ml", "a\0", "x" * 1000])
def test_operators_beyond_the_standard_are_refused(domain):
    said = refusal(model(nodes=[helper.make_node("EPContext", ["x"], ["y"], domain=domain)]))
    assert said.startswith("an operator of")
    assert len(said) < 200
    node = helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx")
    assert refusal(model(nodes=[node])) == ""


def test_control_flow_functions_training_and_sparse_weights_are_refused():
    branch = model().graph
    both = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    assert "control flow" in refusal(model(nodes=[both]))
    m = model()
    m.functions.add(name="f", domain="")
    assert "functions" in refusal(m)
    m = model()
    m.training_info.add()
    assert "training" in refusal(m)
    sparse = onnx.SparseTensorProto(dims=[2])
    assert "sparse" in refusal(model(sparse_initializer=[sparse]))
    node = helper.make_node("Constant", [], ["c"], sparse_value=sparse)
    assert "sparse" in refusal(model(nodes=[node]))


@pytest.mark.parametrize("kind", ["STRING", "COMPLEX64", "FLOAT8E4M3FN", "UNDEFINED"])
def test_types_that_are_not_looked_into_are_refused(kind):
    tensor = TensorProto(name="w", data_type=getattr(TensorProto, kind))
    assert "which is not allowed" in refusal(model(tensor))


def test_what_protobuf_would_merge_into_another_meaning_is_refused():
    """A parser joins messages that are there twice: whole numbers become floats."""
    innocent = TensorProto(data_type=TensorProto.INT32, raw_data=np.float32(math.nan).tobytes())
    floats = TensorProto(data_type=TensorProto.FLOAT)
    assert refusal(model(nodes=[constant(innocent)])) == ""
    twice = b"".join(b"\x2a" + bytes([t.ByteSize()]) + t.SerializeToString()
                     for t in (innocent, floats))  # fmt: skip
    node = b"\x2a" + bytes([len(twice)]) + twice
    graph = b"\x0a" + bytes([len(node)]) + node
    data = b"\x3a" + bytes([len(graph)]) + graph
    merged = onnx.load_from_string(data).graph.node[0].attribute[0].t
    assert np.isnan(numpy_helper.to_array(merged))
    assert "two tensors" in refusal(data)
    assert "no graph, or several" in refusal(model().SerializeToString() * 2)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x3a", b"\x3a\xff\xff\xff\xff\x0f", b"\x00" * 9, b"\x80" * 20, b"not a network",
        b"\x12\x10\x00\x00ORTM" + bytes(12), b"\x3b\x3c", b"\x38\x01", b"\x3a\x02\x08\x01",
        b"\xba\x80\x80\x80\x80\x01\x00",
    ],
)  # fmt: skip
def test_what_is_no_onnx_is_refused(data):
    assert refusal(data)


@given(st.data())
@settings(max_examples=500)
def test_whatever_is_changed_it_is_a_network_or_a_value_error(data):
    mutated = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        piece = data.draw(st.binary(max_size=3))
        mutated[at : at + data.draw(st.integers(0, 3))] = piece
        if not mutated:
            return
    with contextlib.suppress(ValueError):
        check_onnx(bytes(mutated))
        weights = onnx_weights(bytes(mutated))
        assert all(np.isfinite(w).all() for w in weights)


def onnx_weights(data):
    """Weights as the ``onnx`` package sees them; none where it cannot read them."""
    try:
        found = [numpy_helper.to_array(i) for i in onnx.load_from_string(data).graph.initializer]
    except Exception:  # its own many kinds
        return []
    return [w for w in found if w.dtype.kind == "f"]


SMALL = model(
    helper.make_tensor("a", TensorProto.FLOAT, [2], [1.0, 2.0]),
    helper.make_tensor("b", TensorProto.FLOAT16, [2], [1.0, 2.0]),
    numpy_helper.from_array(np.ones((2, 2), np.float32), "c"),
    nodes=[
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Elu", ["y"], ["z"], alpha=2.0),
    ],
).SerializeToString()
