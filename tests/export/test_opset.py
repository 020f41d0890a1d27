"""Any opset to 17: the same numbers, or a refusal that names the node."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from torch import nn

from export.difference import difference
from export.onnx_graph import ExportError, Runner, dims, fed
from export.opset import IR_VERSION, OPSET, to_opset_17
from tests.fakes.onnx_files import model, node, of_dynamo, ops, traced

RNG = np.random.default_rng(3)
X = {"x": RNG.normal(size=(2, 3, 4)).astype(np.float32)}
I64 = np.int64
# Python 3.10 gets ONNX Runtime 1.23, which ends at opset 23.
KNOWS_24 = pytest.mark.skipif(ort.__version__ < "1.24", reason="needs ONNX Runtime 1.24")


def same(before, feed=None):
    """Convert, and compare both node by node on real inputs: the bits must agree."""
    feed = feed or {i.name: RNG.normal(size=dims(i)).astype(np.float32) for i in fed(before.graph)}
    after = to_opset_17(before)
    assert (after.ir_version, after.opset_import[0].version) == (IR_VERSION, OPSET)
    pair = Runner(before, plain=True)(feed), Runner(after, plain=True)(feed)
    assert difference(None, [pair]).ulps == 0
    return after


def one(op, inputs, weights=None, opset=18, x=(2, 3, 4), y=None, **attributes):
    """A file with one node that reads ``x``."""
    return model([node(op, inputs, "y", "the_node", **attributes)], {"x": x}, {"y": y}, weights,
                 opset, ir=8 if opset < 21 else 10)  # fmt: skip


class Net(nn.Module):
    """What decoders are made of: convolution, norm, attention-like means, a gate, a split."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3)
        self.norm = nn.LayerNorm(8)
        self.out = nn.Linear(8, 9)

    def forward(self, x):
        f = self.norm(torch.relu(self.conv(x)).mean(2, keepdim=True).transpose(1, 2))
        a, b, c = self.out(f * f.amax(2, keepdim=True)).split(3, 2)
        return nn.functional.gelu(a) + b.var(2, keepdim=True) + c.sum(2, keepdim=True)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


def test_a_file_of_todays_exporter_keeps_its_bits(net):
    before = of_dynamo(net, (torch.randn(1, 3, 20),), 20)
    assert before.opset_import[0].version == 20
    assert "Gelu" in ops(before)
    after = same(before)
    for n in after.graph.node:
        assert not (n.op_type.startswith("Reduce") and n.op_type != "ReduceSum" and n.input[1:])


def test_nothing_of_the_machine_that_exported_stays_in_the_file(net):
    before = of_dynamo(net, (torch.randn(1, 3, 20),))
    assert b"stack_trace" in before.SerializeToString()  # with the paths of somebody's sources
    assert b"stack_trace" not in to_opset_17(before).SerializeToString()


@pytest.mark.parametrize("opset", [9, 11, 13, 16])
def test_older_files_keep_their_bits_as_well(opset):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(3, 4, 3), nn.Softmax(1), nn.Flatten(), nn.Dropout(),
                        nn.Linear(4 * 18, 2))  # fmt: skip
    same(traced(net, (torch.randn(1, 3, 20),), opset, do_constant_folding=False))


@pytest.mark.parametrize(
    "op", ["ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
           "ReduceProd", "ReduceSumSquare"],
)  # fmt: skip
def test_axes_become_an_attribute(op):
    after = same(one(op, "x axes", {"axes": I64([1])}))
    (reduce,) = after.graph.node
    assert list(reduce.input) == ["x"]
    assert [(a.name, list(a.ints)) for a in reduce.attribute if a.name == "axes"] == [("axes", [1])]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_axes_of_any_reduction(data):
    op = data.draw(st.sampled_from(["ReduceMean", "ReduceMax", "ReduceProd"]))
    axes = data.draw(st.lists(st.integers(-3, 2), max_size=3, unique_by=lambda a: a % 3))
    keep = data.draw(st.integers(0, 1))
    same(one(op, "x axes", {"axes": I64(axes)}, keepdims=keep, noop_with_empty_axes=0), X)


def old_parser(file):
    """TensorRT 8.5's reading of it: axes are an attribute, or else all."""
    found = onnx.ModelProto()
    found.CopyFrom(file)
    for n in found.graph.node:
        if n.op_type == "ReduceMean":
            del n.input[1:]
    return found


def test_what_the_old_parser_makes_of_a_new_file_and_of_ours():
    """A norm over the last axis: the wrong mean still broadcasts, nothing fails, numbers differ."""
    nodes = [node("ReduceMean", "x axes", "m", keepdims=1), node("Sub", "x m", "y", "sub")]
    new = model(nodes, {"x": (2, 3, 4)}, {"y": (2, 3, 4)}, {"axes": I64([-1])}, 18)
    wanted = Runner(new)(X)["y"]
    silently_wrong = Runner(old_parser(new))(X)["y"]
    assert silently_wrong.shape == wanted.shape
    assert np.abs(silently_wrong - wanted).max() > 0.1
    ours = to_opset_17(new)
    np.testing.assert_array_equal(Runner(old_parser(ours))(X)["y"], wanted)


def test_a_split_into_parts_of_different_size_gets_its_sizes():
    parts = [node("Split", "x", "a b", "the_node", axis=2, num_outputs=2)]
    uneven = model(parts, {"x": (2, 3, 5)}, {"a": (2, 3, 3), "b": (2, 3, 2)}, opset=18)
    same(uneven, {"x": RNG.normal(size=(2, 3, 5)).astype(np.float32)})
    even = model(parts, {"x": (2, 3, 4)}, {"a": (2, 3, 2), "b": (2, 3, 2)}, opset=18)
    assert len(same(even, X).graph.node[0].input) == 1


@pytest.mark.parametrize(
    "file",
    [
        one("Pad", "x pads - axes", {"pads": I64([1, 2]), "axes": I64([1])}),
        one("Pad", "x pads value axes", {"pads": I64([1, 0, 2, 1]), "value": np.float32(7),
                                         "axes": I64([2, 0])}, 21),
        one("Resize", "x - s", {"s": np.float32([1, 1, 2])}, 19, antialias=0, axes=[0, 1, 2],
            mode="linear"),
        one("AveragePool", "x", opset=19, kernel_shape=[2], dilations=[1]),
        one("MaxPool", "x", opset=22, kernel_shape=[2]),
        one("ScatterND", "x i u", {"i": I64([[0]]), "u": np.ones((1, 3, 4), np.float32)}, 18),
        one("GridSample", "x g", {"g": RNG.uniform(-1, 1, (2, 5, 5, 2)).astype(np.float32)}, 20,
            (2, 3, 4, 4), mode="linear"),
        one("HardSwish", "x", opset=22),
        one("Sin", "x", opset=22),
        one("Transpose", "x", opset=23, perm=[2, 0, 1]),
    ],
    ids=lambda f: f.graph.node[0].op_type,
)  # fmt: skip
def test_an_operator_that_changed_means_what_it_meant(file):
    same(file)


@pytest.mark.parametrize(
    "file",
    [
        one("Gelu", "x", opset=20),
        one("Gelu", "x", opset=20, approximate="tanh"),
        one("Mish", "x", opset=22),
        one("RMSNormalization", "x s", {"s": np.ones(4, np.float32)}, 23, axis=-1),
        pytest.param(one("Swish", "x", opset=24), marks=KNOWS_24),
    ],
    ids=["Gelu", "Gelu by tanh", "Mish", "RMSNormalization", "Swish"],
)
def test_an_operator_that_is_new_is_written_out(file):
    """Not to the bit: one kernel became several."""
    after = to_opset_17(file)
    pair = Runner(file)(X), Runner(after)(X)
    assert difference(None, [pair]).relative < 2e-7
    assert file.graph.node[0].op_type not in ops(after)


@pytest.mark.parametrize(("opset", "scales"), [(18, 2), (21, 6)])
def test_a_group_norm_is_written_out_for_signals_far_from_zero(opset, scales):
    """ONNX's own definition takes a difference of squares, which such signals drown."""
    x = (1000 + RNG.normal(size=(1, 6, 50))).astype(np.float32)
    weights = {"s": RNG.uniform(1, 2, scales).astype(np.float32),
               "b": RNG.normal(size=scales).astype(np.float32)}  # fmt: skip
    file = one("GroupNormalization", "x s b", weights, opset, x.shape, num_groups=2)
    found = Runner(to_opset_17(file))({"x": x})["y"]
    each = [torch.from_numpy(np.repeat(w, 6 // scales)) for w in weights.values()]
    wanted = nn.functional.group_norm(torch.from_numpy(x).double(), 2, *[w.double() for w in each])
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_quantised_files_say_their_type_by_the_zero_point():
    nodes = [node("QuantizeLinear", "x s", "q", output_dtype=TensorProto.INT8),
             node("DequantizeLinear", "q s", "y", "dq")]  # fmt: skip
    file = model(nodes, {"x": (2, 3, 4)}, {"y": (2, 3, 4)}, {"s": np.float32(0.02)}, 21, ir=10)
    after = same(file, X)
    assert len(after.graph.node[0].input) == 3


def test_a_function_of_the_files_own_is_written_out():
    twice = onnx.helper.make_function(
        "mine", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [onnx.helper.make_opsetid("", 18)]
    )
    call = onnx.helper.make_node("Twice", ["x"], ["y"], "call", domain="mine")
    file = model([call], {"x": (2, 3, 4)}, {"y": (2, 3, 4)}, opset=18, domains=["mine"])
    file.functions.append(twice)
    assert ops(same(file, X)) == ["Add"]


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (one("BitwiseNot", "x"), "opset 17 has no such operator"),
        (one("Col2Im", "x s s", {"s": I64([2])}), "opset 17 has no such operator"),
        (one("ReduceMean", "x axes", {"axes": I64([])}, noop_with_empty_axes=1), "reduces nothing"),
        (one("Pad", "x pads", {"pads": I64([1] * 6)}, 19, mode="wrap"), "cannot wrap around"),
        (one("Resize", "x - s", {"s": np.float32([1, 1, 2])}, antialias=1, mode="linear"),
         "has no antialias"),
        (one("Resize", "x - s", {"s": np.float32([2])}, axes=[2]), "give a scale for each"),
        (one("AveragePool", "x", opset=19, kernel_shape=[2], dilations=[2]), r"dilations = \[2\]"),
        (one("ScatterND", "x i u", {"i": I64([[0]]), "u": np.ones((1, 3, 4), np.float32)}, 18,
             reduction="max"), "has no reduction 'max'"),
        (one("DequantizeLinear", "q s", {"q": np.ones((4, 4), np.int8),
             "s": np.ones((4, 2), np.float32)}, 21, block_size=2, axis=1), "block_size = 2"),
    ],
)  # fmt: skip
def test_what_opset_17_has_no_word_for_is_refused_with_the_nodes_name(file, why):
    with pytest.raises(ExportError, match=f"'the_node'.*{why}|'the_node'.*{why}"):
        to_opset_17(file)


def test_axes_that_depend_on_data_are_refused():
    nodes = [node("Cast", "x", "axes", to=TensorProto.INT64), node("ReduceMean", "x axes", "y")]
    with pytest.raises(ExportError, match="'axes' must be a constant in opset 17"):
        to_opset_17(model(nodes, {"x": (1,)}, {"y": None}, opset=18))


def test_types_that_opset_17_does_not_have_are_refused():
    nodes = [node("Cast", "x", "h", to=TensorProto.FLOAT8E4M3FN),
             node("Cast", "h", "y", "back", to=TensorProto.FLOAT)]  # fmt: skip
    with pytest.raises(ExportError, match="not valid in 17"):
        to_opset_17(model(nodes, {"x": (1,)}, {"y": (1,)}, opset=19))


@pytest.mark.parametrize("opset", [1, 6, onnx.defs.onnx_opset_version() + 1])
def test_a_file_too_old_or_too_new_is_refused(opset):
    with pytest.raises(ExportError, match=f"opset {opset}: 7 to"):
        to_opset_17(one("Relu", "x", opset=opset))


def test_the_file_that_was_given_stays_as_it_was():
    file = one("ReduceMean", "x axes", {"axes": I64([1])})
    before = file.SerializeToString()
    to_opset_17(file)
    assert file.SerializeToString() == before
