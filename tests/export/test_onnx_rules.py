"""Every rule has a file that breaks it, and one beside it that does not."""

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge.bundle import SHIPPED
from export.onnx_graph import ExportError
from export.onnx_ops import SINCE, TARGETS, without
from export.onnx_rules import RULES, check, refused, report, table
from export.onnx_spec import embed
from export.opset import OPSET
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec, State
from tests.fakes.onnx_files import model, node, tensor

F32, I64, I8 = np.float32, np.int64, np.int8
X, Y = {"x": (1, 3, 8, 8)}, {"y": None}
SPEC = ModelSpec("step", (Input("x", (1, 4), "us"),), (Output("y", "deg"),), 10.0,
                 states=(State("h", "h_next", (1, 4)),))  # fmt: skip


def one(op, inputs="x", weights=None, x=(1, 3, 8, 8), outputs="y", **attributes):
    """A file with one node."""
    nodes = [node(op, inputs, outputs, "the_node", **attributes)]
    return model(nodes, {"x": x}, {"y": None}, weights)


def changed(file, change):
    """The file after ``change(file)``."""
    change(file)
    return file


def kinds(x=TensorProto.FLOAT, y=TensorProto.FLOAT, **node_attributes):
    """A cast from one type to another."""
    nodes = [node("Cast", "x", "y", to=y)]
    return model(nodes, [tensor("x", (1, 2), x)], [tensor("y", (1, 2), y)])


def within(kind, op="Relu"):
    """A network that computes in ``kind`` between two casts."""
    nodes = [node("Cast", "x", "a", "in", to=kind), node(op, "a", "b", "mid"),
             node("Cast", "b", "y", "out", to=TensorProto.FLOAT)]  # fmt: skip
    return model(nodes, {"x": (1, 2)}, {"y": (1, 2)})


def elsewhere():
    """Weights that lie in another file."""
    file = one("Mul", "x w", {"w": F32([2])})
    (w,) = file.graph.initializer
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    w.external_data.add(key="location", value="weights.bin")
    return file


def gru(steps=1, initial="h", **attributes):
    weights = {"w": np.ones((1, 12, 2), F32), "r": np.ones((1, 12, 4), F32),
               "zero": np.zeros((1, 1, 4), F32)}  # fmt: skip
    nodes = [node("GRU", f"x w r - - {initial}", "- y", "the_gru", hidden_size=4, **attributes)]
    nodes[0].output[0] = ""
    given = {"x": (steps, 1, 2)} | ({"h": (1, 1, 4)} if initial == "h" else {})
    return model(nodes, given, {"y": (1, 1, 4)}, weights)


def bidirectional(activations):
    weights = {"w": np.ones((2, 12, 2), F32), "r": np.ones((2, 12, 4), F32)}
    nodes = [node("GRU", "x w r - - h", "y", hidden_size=4, direction="bidirectional",
                  activations=activations)]  # fmt: skip
    return model(nodes, {"x": (5, 1, 2), "h": (2, 1, 4)}, Y, weights)


def branch():
    bodies = [helper.make_graph([node("Relu", "x", f"{k}")], k, [], [tensor(k, (1, 2))])
              for k in ("yes", "no")]  # fmt: skip
    nodes = [node("ReduceSum", "x", "s", "sum", keepdims=0), node("Cast", "s", "c", to=9)]
    nodes.append(node("If", "c", "y", then_branch=bodies[0], else_branch=bodies[1]))
    return model(nodes, {"x": (1, 2)}, {"y": (1, 2)})


def q(name, zero="z", scale="s", **attributes):
    """A pair of Q and DQ behind a tensor: ``name`` becomes ``name_d``."""
    ends = [f"{scale} {zero}".strip()] * 2
    return [node("QuantizeLinear", f"{name} {ends[0]}", f"{name}_q", f"q_{name}", **attributes),
            node("DequantizeLinear", f"{name}_q {ends[1]}", f"{name}_d", f"dq_{name}",
                 **attributes)]  # fmt: skip


CONSTANTS = {"s": F32(0.1), "z": I8(0), "z1": I8(1), "u": np.uint8(0), "zero": F32(0),
             "s4": np.full(4, 0.1, F32), "z4": np.zeros(4, I8), "w": np.ones((4, 4), F32),
             "wq": np.ones((4, 4), I8), "b": np.ones(4, F32)}  # fmt: skip


def quantised(nodes, op="MatMul", inputs="x_d w_d", **attributes):
    """``nodes``, and a product of what they give; ``x (1, 4)`` and ``w (4, 4)``."""
    made = {o for n in nodes for o in n.output} | {"x"}
    nodes = [*nodes, node(op, inputs, "y", "the_product", **attributes)]
    used = {i for n in nodes for i in n.input} - made
    return model(nodes, {"x": (1, 4)}, {"y": None}, {k: CONSTANTS[k] for k in used if k})


def after_sum(*sides):
    nodes = [*q("x"), node("Relu", "x", "r", "relu"), *q("r"), node("Add", " ".join(sides), "y")]
    return model(nodes, {"x": (1, 4)}, {"y": (1, 4)}, {k: CONSTANTS[k] for k in "sz"})


def carried(output):
    """A step whose state is the quantised one, or the one before quantisation."""
    nodes = [node("Add", "x h", "sum", "sum"), *q("sum"), node("Identity", "sum_d", "y", "y"),
             node("Identity", "sum", "kept", "kept")]  # fmt: skip
    nodes[{"sum_d": 2, "kept": 4}[output]].output[0] = "h_next"
    if output == "sum_d":
        nodes[3].input[0] = "h_next"
    file = model(nodes, {"x": (1, 4), "h": (1, 4)}, {"y": (1, 4), "h_next": (1, 4)},
                 {k: CONSTANTS[k] for k in "sz"})  # fmt: skip
    return changed(file, lambda f: embed(f, SPEC))


def convolution(*kernel):
    weights = {**{k: CONSTANTS[k] for k in "sz"}, "w": np.ones((2, 3, *kernel), F32)}
    nodes = [*q("x"), *q("w"), node("Conv", "x_d w_d", "y")]
    return model(nodes, {"x": (1, 3, *[8] * len(kernel))}, Y, weights)


FINE = one("Relu")
BOTH = quantised(q("x") + q("w"))
AXES = {"a": I64([1])}
CASES = {  # rule: a file that breaks it, and one that does not
    "opset": (changed(one("Relu"), lambda f: setattr(f.opset_import[0], "version", 18)), FINE),
    "ir-version": (changed(one("Relu"), lambda f: setattr(f, "ir_version", 10)), FINE),
    "external-data": (elsewhere(), one("Mul", "x w", {"w": F32([2])})),
    "dense-numbers": (
        model([node("Constant", "", "c", "text", value_string=b"a"), node("Relu", "x", "y")], X, Y),
        one("Add", "x c", {"c": F32(1)}),
    ),
    "functions": (
        changed(one("Relu"), lambda f: f.functions.append(
            helper.make_function("mine", "F", ["a"], ["b"], [node("Relu", "a", "b")],
                                 [helper.make_opsetid("", 17)]))),
        FINE,
    ),
    "domain": (
        model([helper.make_node("Gelu", ["x"], ["y"], "g", domain="com.microsoft")], X, Y,
              domains=["com.microsoft"]),
        FINE,
    ),
    "io-types": (kinds(x=TensorProto.INT64), kinds()),
    "static-shapes": (
        model([node("Relu", "x", "y")], {"x": ("batch", 2)}, {"y": ("batch", 2)}),
        one("Reshape", "x s", {"s": I64([-1])}),
    ),
    "types": (within(TensorProto.BFLOAT16), within(TensorProto.FLOAT16)),
    "float64": (within(TensorProto.DOUBLE), within(TensorProto.FLOAT)),
    "float32-in-mixed": (
        changed(within(TensorProto.FLOAT16), lambda f: f.graph.node.extend(
            [node("Relu", "x", "also", "float32")])),
        within(TensorProto.FLOAT16),
    ),
    "int64": (
        model([node("ArgMax", "x", "i", keepdims=0, axis=1), node("Add", "i one", "j", "add"),
               node("Cast", "j", "y", to=1)], {"x": (1, 4)}, {"y": (1,)}, {"one": I64([1])}),
        one("Slice", "x a b", {"a": I64([0]), "b": I64([2**62])}),
    ),
    "finite-weights": (one("Add", "x c", {"c": F32([1, np.nan])}, (1, 2)),
                       one("Add", "x c", {"c": F32([1, 1e30])}, (1, 2))),
    "unknown-operator": (one("Upsample", "x s", {"s": F32([1, 1, 2, 2])}), FINE),
    "operator": (one("DynamicQuantizeLinear", outputs="y s z"), FINE),
    "layer-norm": (one("LayerNormalization", "x s", {"s": np.ones(8, F32)}), FINE),
    "control-flow": (branch(), FINE),
    "reduce-axes": (one("ReduceMean", "x a", AXES), one("ReduceMean", axes=[1])),
    "recurrent-loop": (gru(steps=5), FINE),
    "recurrent-kind": (bidirectional(["Sigmoid", "Tanh", "Sigmoid", "Relu"]),
                       bidirectional(["Sigmoid", "Tanh", "Sigmoid", "Tanh"])),
    "forgets": (gru(initial="zero"), gru(initial="h")),
    "instance-norm": (one("InstanceNormalization", "x s s", {"s": np.ones(3, F32)}), FINE),
    "further-outputs": (
        model([node("MaxPool", "x", "p where", kernel_shape=[2, 2]),
               node("Cast", "where", "y", to=1)], X, Y),
        one("MaxPool", kernel_shape=[2, 2]),
    ),
    "dilated-pooling": (one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
                        one("MaxPool", kernel_shape=[2, 2], dilations=[1, 1])),
    "pooling-over-one-axis": (one("MaxPool", x=(1, 3, 8), kernel_shape=[2]),
                              one("MaxPool", kernel_shape=[1, 2])),
    "resize": (one("Resize", "x - s", {"s": F32([1, 1, 2, 2])}, mode="cubic"),
               one("Resize", "x - s", {"s": F32([1, 1, 2, 2])}, mode="linear")),
    "random": (one("RandomNormalLike"), one("Dropout")),
    "einsum": (one("Einsum", equation="...ii->...i"), one("Einsum", equation="bchw->bhwc")),
    "trilu": (one("Trilu"), one("Trilu", x=(8, 8))),
    "scatter": (
        one("ScatterND", "x i u", {"i": I64([[0]]), "u": np.ones((1, 3, 8, 8), F32)},
            reduction="add"),
        one("ScatterND", "x i u", {"i": I64([[0]]), "u": np.ones((1, 3, 8, 8), F32)}),
    ),
    "top-k": (one("TopK", "x k", {"k": I64([4000])}, (1, 5000), "y i"),
              one("TopK", "x k", {"k": I64([4])}, (1, 5000), "y i")),
    "integer-pow": (one("Pow", "x two", {"two": I64(2)}), one("Pow", "x two", {"two": F32(2)})),
    "zero-point": (quantised(q("x", "z1") + q("w")), BOTH),
    "int8-only": (quantised(q("x", "u") + q("w", "u")), BOTH),
    "scale": (quantised(q("x") + q("w", scale="zero")), BOTH),
    "integer-weights": (
        quantised([*q("x"), node("DequantizeLinear", "wq s z", "w_d", "dq")]), BOTH),
    "channel-axis": (quantised(q("x") + q("w", "z4", "s4", axis=0)),
                     quantised(q("x") + q("w", "z4", "s4", axis=1))),
    "both-sides": (quantised(q("x"), inputs="x_d w"), BOTH),
    "bias": (quantised(q("x") + q("w") + q("b"), "Gemm", "x_d w_d b_d"),
             quantised(q("x") + q("w"), "Gemm", "x_d w_d b")),
    "q-without-dq": (quantised(q("x") + q("w"), "MatMulInteger", "x_q w_q"), BOTH),
    "residual": (after_sum("x_d", "r"), after_sum("x_d", "r_d")),
    "around-activations": (quantised(q("x"), "Tanh", "x_d"), quantised([], "Tanh", "x")),
    "carried-state": (carried("sum_d"), carried("kept")),
    "conv-over-one-axis": (convolution(3), convolution(1, 3)),
}  # fmt: skip


def broken(file, **asked):
    return {f.rule for f in check(file, **asked)}


def test_every_rule_has_its_case():
    assert [r.name for r in RULES] == list(CASES)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_a_rule_finds_what_breaks_it_and_only_that(rule):
    bad, good = CASES[rule.name]
    assert rule.name in broken(bad)
    assert rule.name not in broken(good)
    found = [f for f in check(bad) if f.rule == rule.name]
    assert all(f.severity == rule.severity and set(f.targets) <= set(TARGETS) for f in found)
    others = tuple(t for t in TARGETS if t not in {t for f in found for t in f.targets})
    assert rule.name not in broken(bad, targets=others)


def test_the_same_rules_hold_where_a_file_is_right():
    for name, (_, good) in CASES.items():
        others = {f.rule for f in refused(check(good))}
        assert not others, f"{name}: {others}"


@pytest.mark.parametrize("name", sorted(p.parent.name for p in SHIPPED.glob("*/model.onnx")))
def test_shipped_networks_run_on_every_version_but_one_network_on_the_oldest(name):
    file = onnx.load(SHIPPED / name / "model.onnx")
    assert check(file, TARGETS[1:]) == []
    # Exported before there were rules: its layer norms would be decomposed today.
    assert broken(file) <= ({"layer-norm"} if name == "elbow-nmm" else set())


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.STRING, TensorProto.FLOAT8E4M3FN])
def test_types_nobody_computes_with(kind):
    file = one("Relu")
    file.graph.value_info.append(tensor("t", (1,), kind))
    assert "types" in broken(file)


def test_bfloat16_is_for_the_newer_ones():
    assert "types" not in broken(within(TensorProto.BFLOAT16), targets=["10.3", "11.4"])


def test_numbers_beyond_int32_that_say_no_end():
    assert "int64" in broken(one("Tile", "x r", {"r": I64([1, 1, 1, 2**40])}))


def test_shapes_that_depend_on_data():
    nodes = [node("Cast", "n", "s", to=TensorProto.INT64), node("Reshape", "x s", "y", "by_data")]
    file = model(nodes, {"x": (1, 4), "n": (2,)}, {"y": (2, 2)})
    assert "'s' depends on data" in report(check(file))
    assert "static-shapes" in broken(one("NonZero"))


def test_a_shape_that_is_computed_from_a_static_one_is_static():
    nodes = [node("Relu", "x", "r", "relu"), node("Shape", "r", "s", "shape"),
             node("Reshape", "x s", "y")]  # fmt: skip
    assert broken(model(nodes, {"x": (1, 4)}, {"y": (1, 4)})) == set()


def test_a_weight_quantised_per_input_channel_of_a_transposed_product():
    def gemm(axis):
        return quantised(q("x") + q("w", "z4", "s4", axis=axis), "Gemm", "x_d w_d", transB=1)

    assert "channel-axis" in broken(gemm(1))
    assert "channel-axis" not in broken(gemm(0))


def test_an_activation_with_a_scale_for_each_channel():
    assert "channel-axis" in broken(quantised(q("x", "z4", "s4", axis=1) + q("w")))


def test_q_and_dq_without_a_zero_point_are_unsigned():
    assert "zero-point" in broken(quantised(q("x", "") + q("w", "")))


def test_an_unknown_operator_can_be_allowed_by_its_name():
    bad, _ = CASES["unknown-operator"]
    assert broken(bad, allow=["Upsample"]) == set()
    assert broken(bad, allow=["Gelu"]) == {"unknown-operator"}


def test_a_version_nothing_is_known_of_is_refused():
    with pytest.raises(ExportError, match=r"\['7.2'\]: the rules know 8.5, 8.6"):
        check(FINE, ["7.2"])


def test_the_table_of_operators_names_only_what_opset_17_has():
    for op in SINCE:
        onnx.defs.get_schema(op, OPSET, "")
    assert without("Relu") == ()
    assert without("LayerNormalization") == ("8.5",)
    assert without("QLinearConv") == TARGETS
    assert without("Gelu") is None  # of opset 20


def test_a_report_says_each_rule_once_with_its_remedy():
    weights = {"a": I64([1])}
    nodes = [
        node("ReduceMean", f"{a} a", b, f"mean_{b}") for a, b in zip("xbcde", "bcdey", strict=True)
    ]
    text = report(check(model(nodes, {"x": (1, 2)}, {"y": None}, weights)))
    assert text.count("refuse reduce-axes (TensorRT 8.5, 8.6): ReduceMean 'mean_") == 3
    assert "and 2 more" in text
    assert text.count("remedy: ") == 1
    assert report([]) == ""


def test_the_table_has_a_row_for_every_rule():
    assert len(table().splitlines()) == 2 + len(RULES)


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200))
def test_no_file_that_is_well_formed_upsets_the_check(junk, at):
    """Of torn and altered files, those that ONNX's own checker lets through."""
    data = bytearray(quantised(q("x") + q("w")).SerializeToString())
    data[at : at + len(junk)] = junk
    try:
        file = onnx.load_from_string(bytes(data))
        onnx.checker.check_model(file)
    except Exception:  # not well-formed: protobuf and the checker raise what they like
        return
    with contextlib.suppress(ExportError):
        check(file)
