"""Folding offline: fewer nodes, the same bits, the standard's operators alone."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from edge.bundle import SHIPPED
from export.difference import difference
from export.fold import fold
from export.onnx_graph import ONNX, Runner, dims, opset
from tests.fakes.onnx_files import model, node, ops, traced


def random_feed(file, seed):
    rng = np.random.default_rng(seed)
    return {i.name: np.abs(rng.normal(size=dims(i))).astype(np.float32) for i in file.graph.input}


@pytest.mark.parametrize("name", ["calf-segmenter", "elbow-nmm", "ta-activation", "ta-emg"])
def test_a_shipped_network_gives_the_same_bits_with_no_more_nodes(name):
    before = onnx.load(SHIPPED / name / "model.onnx")
    after = fold(before)
    assert len(after.graph.node) <= len(before.graph.node)
    assert not {"Constant", "Identity", "Shape"} & set(ops(after))
    for plain in (False, True):
        pairs = [tuple(Runner(f, plain)(random_feed(before, k)) for f in (before, after))
                 for k in range(2)]  # fmt: skip
        assert difference(None, pairs).ulps == 0


@pytest.mark.parametrize("version", [11, 17, 20])
def test_shapes_of_static_tensors_are_constants_in_any_opset(version):
    class Net(nn.Module):
        def forward(self, x):
            return x.reshape(x.shape[0], -1)[:, : x.shape[1] * 2] + torch.arange(x.shape[1] * 2)

    before = traced(Net(), (torch.randn(1, 3, 4),), version, do_constant_folding=False)
    after = fold(before)
    assert not {"Shape", "Constant", "Concat", "Gather", "Range"} & set(ops(after))
    assert opset(after) == version
    assert {n.domain for n in after.graph.node} <= set(ONNX)
    assert after.ir_version == before.ir_version


def test_a_batch_norm_goes_into_its_convolution():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    net(torch.randn(16, 1, 8, 8) + 2)
    settings = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    before = traced(net, (torch.randn(1, 1, 8, 8),), **settings)
    assert "BatchNormalization" in ops(before)
    assert ops(fold(before)) == ["Conv", "Relu"]


def test_what_people_read_of_a_file_stays():
    file = model([node("Relu", "x", "y")], {"x": (1, 2)}, {"y": (1, 2)}, producer_name="somebody")
    file.metadata_props.add(key="k", value="v")
    after = fold(file)
    assert (after.producer_name, after.metadata_props[0].value) == ("somebody", "v")
    assert [o.domain for o in after.opset_import] == [""]


def test_the_same_file_gives_the_same_bytes():
    before = onnx.load(SHIPPED / "ta-activation" / "model.onnx")
    assert fold(before).SerializeToString() == fold(before).SerializeToString()


def quantised():
    """Weights behind Q and DQ, as TensorRT 8 wants them."""
    nodes = [node("QuantizeLinear", "w s z", "q", "q"), node("DequantizeLinear", "q s z", "d", "d"),
             node("MatMul", "x d", "y")]  # fmt: skip
    weights = {"w": np.eye(2, dtype=np.float32), "s": np.float32(0.01), "z": np.int8(0)}
    return model(nodes, {"x": (1, 2)}, {"y": (1, 2)}, weights)


def halved():
    nodes = [node("Cast", "x", "h", "in", to=TensorProto.FLOAT16), node("Erf", "h", "e", "erf"),
             node("Cast", "e", "y", "out", to=TensorProto.FLOAT)]  # fmt: skip
    return model(nodes, {"x": (1, 2)}, {"y": (1, 2)})


@pytest.mark.parametrize("file", [quantised(), halved()], ids=["int8", "fp16"])
def test_a_network_whose_precision_was_chosen_is_left_as_it_is(file):
    assert fold(file) is file
