"""Q/DQ pairs as TensorRT and ONNX Runtime read them, and states that are never rounded."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from calibration.ranges import ranges_of
from export.budget import measure
from export.quantize import integer_layers, layers, named, quantised
from export.streams import OrtNetwork, play, steps_of
from tests.fakes.nets import exported, pictures, step


def prepared(made):
    model, spec, stream = made
    model = named(model)
    rows = steps_of(OrtNetwork(model), spec, [stream])
    return model, spec, stream, ranges_of(model, rows)


@pytest.fixture(scope="module")
def cnn():
    return prepared(pictures())


@pytest.fixture(scope="module")
def gru():
    return prepared(step())


def lowered(prepared_net, target, least=0):
    model, _, _, ranges = prepared_net
    return quantised(model, ranges, target, layers(model, least), ["h_next"])


def makers(model):
    return {o: n for n in model.graph.node for o in n.output}


def values(model, name):
    return numpy_helper.to_array(next(i for i in model.graph.initializer if i.name == name))


@pytest.mark.parametrize("target", ["cpu", "trt"])
@pytest.mark.parametrize("which", ["cnn", "gru"])
def test_every_chosen_layer_reads_integers_and_the_file_is_opset_17(request, which, target):
    net = request.getfixturevalue(which)
    made = lowered(net, target)
    onnx.checker.check_model(made, full_check=True)
    names = layers(net[0], 0)
    assert sorted(integer_layers(made, names)) == sorted(names)
    assert [(o.domain, o.version) for o in made.opset_import] == [("", 17)]
    assert made.ir_version == 8


@pytest.mark.parametrize("which", ["cnn", "gru"])
def test_for_tensorrt_all_is_signed_symmetric_and_weights_stay_float(request, which):
    made = lowered(request.getfixturevalue(which), "trt")
    constants = {i.name for i in made.graph.initializer}
    for node in made.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = values(made, node.input[2])
            assert zero.dtype == np.int8
            assert not zero.any()
            scale = values(made, node.input[1])
            assert scale.dtype == np.float32
            assert (scale > 0).all()
        if node.op_type == "DequantizeLinear":
            assert node.input[0] not in constants  # 8.x reads no INT8 constant
        if node.op_type in ("Conv", "Gemm"):
            bias = next(i for i in made.graph.initializer if i.name == node.input[2])
            assert bias.data_type == TensorProto.FLOAT


def test_for_tensorrt_nothing_stands_between_a_layer_and_its_activation(cnn):
    made = lowered(cnn, "trt")
    made_by = makers(made)
    relus = [n for n in made.graph.node if n.op_type == "Relu"]
    assert {made_by[n.input[0]].op_type for n in relus} <= {"Conv", "Add"}


def test_for_tensorrt_one_branch_of_a_sum_is_quantised_the_other_comes_from_its_layer(cnn):
    made = lowered(cnn, "trt")
    made_by = makers(made)
    (add,) = [n for n in made.graph.node if n.op_type == "Add" and n.input[0] in made_by]
    assert sorted(made_by[i].op_type for i in add.input) in (
        ["DequantizeLinear", "Relu"],
        ["Conv", "DequantizeLinear"],
    )


def test_weights_have_a_scale_for_each_output_channel(cnn):
    made = lowered(cnn, "trt")
    made_by = makers(made)
    for node in made.graph.node:
        if node.op_type == "Conv":
            quantise = made_by[made_by[node.input[1]].input[0]]
            weight = values(made, quantise.input[0])
            assert len(values(made, quantise.input[1])) == weight.shape[0]


def test_on_the_cpu_weights_have_seven_bits_and_activations_are_unsigned(cnn):
    made = lowered(cnn, "cpu")
    weights = [numpy_helper.to_array(i) for i in made.graph.initializer if len(i.dims) == 4]
    assert len(weights) == 3
    for w in weights:
        assert w.dtype == np.int8
        assert np.abs(w).max() <= 64
    zeros = [values(made, n.input[2]) for n in made.graph.node if n.op_type == "QuantizeLinear"]
    assert {z.dtype for z in zeros} == {np.dtype(np.uint8)}


def test_on_the_cpu_onnx_runtime_makes_integer_kernels_of_it(cnn, tmp_path):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(lowered(cnn, "cpu").SerializeToString(), options,
                         providers=["CPUExecutionProvider"])  # fmt: skip
    ops = [n.op_type for n in onnx.load(tmp_path / "run.onnx").graph.node]
    assert ops.count("QLinearConv") == 3
    assert "Conv" not in ops


@pytest.mark.parametrize("target", ["cpu", "trt"])
def test_a_state_goes_from_step_to_step_unrounded(gru, target):
    made = lowered(gru, target)
    made_by = makers(made)
    assert made_by["h_next"].op_type == "Add"
    # Nothing that leads to it but the layers has been through a pair.
    seen, todo = set(), ["h_next"]
    while todo:
        node = made_by.get(todo.pop())
        if node is None or node.name in seen or node.op_type in ("Gemm", "MatMul"):
            continue
        seen.add(node.name or node.output[0])
        assert node.op_type not in ("QuantizeLinear", "DequantizeLinear")
        todo += list(node.input)
    readers = {n.op_type for n in made.graph.node if "h" in n.input}
    assert {"QuantizeLinear", "Mul"} <= readers  # as integers to the layer, as it is to the sum


class Leak(nn.Module):
    """A state that a sum carries on and a layer reads; ``rectified``: made by an activation."""

    def __init__(self, rectified):
        super().__init__()
        self.rectified, self.of_x = rectified, nn.Linear(24, 64)
        self.of_h, self.said = nn.Linear(64, 64), nn.Linear(64, 1)

    def forward(self, x, h):
        if self.rectified:
            h = torch.relu(self.of_x(x) + self.of_h(h) * 0.1)
        else:
            h = 0.999 * h + self.of_x(x)
        return self.said(h), h


@pytest.mark.parametrize("target", ["cpu", "trt"])
@pytest.mark.parametrize("rectified", [False, True])
def test_nothing_between_the_layers_and_a_state_is_rounded(rectified, target):
    torch.manual_seed(0)
    _, spec, stream = step()
    model = named(exported(Leak(rectified), (torch.zeros(1, 24), torch.zeros(1, 64)), ["x", "h"],
                           ["values", "h_next"]))  # fmt: skip
    ranges = ranges_of(model, steps_of(OrtNetwork(model), spec, [stream]))
    made = quantised(model, ranges, target, layers(model, 0), ["h_next"])
    onnx.checker.check_model(made, full_check=True)
    assert len(integer_layers(made, layers(model, 0))) == len(layers(model, 0))
    made_by = makers(made)
    todo = ["h_next"]
    while todo:
        node = made_by.get(todo.pop())
        if node is not None and node.op_type not in ("Gemm", "MatMul"):
            assert "Quantize" not in node.op_type
            todo += list(node.input)


class Outward(nn.Module):
    """A convolution whose result leaves the graph, reshaped."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 16, 3, 4, 1), nn.Conv2d(16, 16, 8)

    def forward(self, x):
        return self.last(torch.relu(self.first(x))).flatten(1)


@pytest.mark.parametrize("target", ["cpu", "trt"])
def test_what_leaves_the_graph_is_not_rounded_whatever_carries_it_there(target):
    torch.manual_seed(0)
    model = named(exported(Outward(), (torch.zeros(1, 1, 32, 32),), ["image"], ["values"]))
    rows = [{"image": x} for x in pictures()[2].inputs["image"]]
    made = quantised(model, ranges_of(model, rows), target, layers(model, 0))
    network = OrtNetwork(made)
    found = np.concatenate([network(r)["values"].ravel() for r in rows])
    assert len(np.unique(found)) > 500  # of 640; of 8 bits there are 256


@pytest.mark.parametrize("target", ["cpu", "trt"])
def test_ten_minutes_of_steps_do_not_drift(gru, target):
    model, spec, _, ranges = gru
    long = step(60_000, seed=3)[2]
    full, less = (
        play(OrtNetwork(m), spec, long).values[:, 0]
        for m in (model, quantised(model, ranges, target, layers(model)))
    )
    off = np.abs(less - full)
    assert np.sqrt((off**2).mean()) < 0.05 * full.std()
    assert off[-6000:].mean() < 1.2 * off[:6000].mean()


@pytest.mark.parametrize("target", ["cpu", "trt"])
def test_it_says_nearly_what_full_precision_says(cnn, target):
    model, spec, stream, _ = cnn
    full = [play(OrtNetwork(model), spec, stream)]
    found = measure(OrtNetwork(lowered(cnn, target)), spec, [stream], full)
    assert [o.output for o in found] == ["angle", "torque", "angle_sd", "torque_sd"]
    for o, k in zip(found[:2], range(2), strict=True):
        assert 0 < o.rms < 0.1 * full[0].values[:, k].std()


def test_small_layers_and_layers_that_are_not_chosen_stay(cnn):
    model, _, _, ranges = cnn
    small = next(n.name for n in model.graph.node if n.op_type == "Gemm")
    assert small in layers(model, 0)
    assert small not in layers(model)
    one = layers(model)[1]
    assert integer_layers(quantised(model, ranges, "trt", [one]), layers(model, 0)) == [one]
    assert layers(model, 0, "cpu") == [n for n in layers(model, 0) if n != layers(model, 0)[0]]
    same = quantised(model, ranges, "cpu", [])
    assert not any("Quantize" in n.op_type for n in same.graph.node)


def test_nodes_without_a_name_get_one_and_twins_get_two(cnn):
    model = onnx.ModelProto()
    model.CopyFrom(cnn[0])
    for n in model.graph.node:
        n.name = "same" if n.op_type == "Relu" else ""
    names = [n.name for n in named(model).graph.node]
    assert "" not in names
    assert len(set(names)) == len(names)
    assert all(n.name in ("", "same") for n in model.graph.node)  # the original stays
