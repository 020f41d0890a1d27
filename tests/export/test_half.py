"""FP16 inside, float32 outside, and whole what halves cannot hold."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import MODEL, list_bundles, load_bundle
from export.half import WHOLE, halved
from export.quantize import named
from export.streams import OrtNetwork, play
from tests.fakes.nets import pictures, step

HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def types(model):
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    known = (*inferred.value_info, *inferred.input, *inferred.output)
    found = {v.name: v.type.tensor_type.elem_type for v in known}
    return found | {i.name: i.data_type for i in inferred.initializer}


@pytest.mark.parametrize("make", [pictures, step])
def test_layers_are_halves_edges_are_not(make):
    made = halved(named(make()[0]))
    onnx.checker.check_model(made, full_check=True)
    t = types(made)
    for n in made.graph.node:
        if n.op_type in ("Conv", "Gemm"):
            assert {t[i] for i in n.input} == {HALF}
    assert {t[v.name] for v in (*made.graph.input, *made.graph.output)} == {FLOAT}
    assert [o.version for o in made.opset_import] == [17]


def test_sums_and_powers_stay_whole():
    made = halved(named(pictures()[0]))
    t = types(made)
    whole = [n for n in made.graph.node if n.op_type in WHOLE - {"Cast"}]
    assert {n.op_type for n in whole} >= {"ReduceMean", "Sqrt", "Softplus"}
    assert all(t[i] == FLOAT for n in whole for i in n.input if t.get(i) in (HALF, FLOAT))


def test_what_is_kept_is_whole():
    model = named(pictures()[0])
    keep = next(n.name for n in model.graph.node if n.op_type == "Conv")
    made = halved(model, [keep])
    t = types(made)
    node = next(n for n in made.graph.node if n.name == keep)
    assert {t[i] for i in node.input} == {FLOAT}


@pytest.mark.parametrize("name", list_bundles())
def test_every_shipped_network_halves_into_a_file_that_runs(name):
    bundle = load_bundle(name)
    made = halved(named(onnx.load_from_string(bundle.files[MODEL])))
    onnx.checker.check_model(made, full_check=True)
    network = OrtNetwork(made)
    rng = np.random.default_rng(0)
    feed = {
        i.name: rng.normal(size=i.shape).astype(np.float32) for i in network.session.get_inputs()
    }
    assert all(np.isfinite(v).all() for v in network(feed).values())


def test_a_thousand_steps_stay_close():
    model, spec, stream = step(1000)
    full, half = (play(OrtNetwork(m), spec, stream).values for m in (model, halved(named(model))))
    assert 0 < np.abs(half - full).max() < 0.01 * full.std()


def big(value):
    weight = numpy_helper.from_array(np.array([value], np.float32), "w")
    node = helper.make_node("Mul", ["x", "w"], ["y"], name="scale")
    ends = [helper.make_tensor_value_info(n, FLOAT, [1]) for n in ("x", "y")]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_everything_between_the_layers_and_a_state_is_whole():
    made = halved(named(step()[0]), states=["h_next"])
    onnx.checker.check_model(made, full_check=True)
    t = types(made)
    made_by = {o: n for n in made.graph.node for o in n.output}
    todo, seen = ["h_next"], set()
    while todo:
        node = made_by.get(todo.pop())
        if node is None or node.op_type in ("Gemm", "Cast"):
            continue
        seen.add(node.op_type)
        assert HALF not in {t.get(i) for i in node.input}
        todo += list(node.input)
    assert {"Add", "Mul", "Tanh"} <= seen
    assert any(t[n.input[0]] == HALF for n in made.graph.node if n.op_type == "Gemm")


def test_a_weight_beyond_the_range_of_halves_keeps_its_node_whole():
    run = {v: OrtNetwork(halved(big(v)))({"x": np.ones(1, np.float32)})["y"] for v in (1e5, 1e3)}
    assert run[1e5] == 1e5
    assert run[1e3] == 1e3
    assert any(n.op_type == "Cast" for n in halved(big(1e3)).graph.node)
    assert not any(n.op_type == "Cast" for n in halved(big(1e5)).graph.node)


def test_a_graph_inside_the_graph_is_refused():
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])], "i", [],
        [helper.make_tensor_value_info("z", FLOAT, [1])],
    )  # fmt: skip
    node = helper.make_node("If", ["c"], ["y"], name="maybe", then_branch=inner, else_branch=inner)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", FLOAT, [1]),
         helper.make_tensor_value_info("c", TensorProto.BOOL, [1])],
        [helper.make_tensor_value_info("y", FLOAT, [1])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ValueError, match="maybe .If. has a graph inside"):
        halved(model)
