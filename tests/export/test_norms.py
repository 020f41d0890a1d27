"""Norms in elementary operators are the norms that PyTorch computes."""

import numpy as np
import pytest
import torch
from torch import nn

from export.fold import fold
from export.norms import GROUP, INSTANCE, LAYER, decompose
from export.onnx_graph import ExportError, Runner
from tests.fakes.onnx_files import model, node, ops, traced

FAR = 1000.0  # from zero, where a difference of squares would drown


def compared(net, x, op):
    torch.manual_seed(0)
    for p in net.parameters():
        nn.init.normal_(p)
    before = traced(net, (x,), training=torch.onnx.TrainingMode.EVAL)
    assert op in ops(before)
    after = fold(decompose(before, [op]))
    assert op not in ops(after)
    (found,) = Runner(after)({before.graph.input[0].name: x.numpy()}).values()
    with torch.inference_mode():
        np.testing.assert_allclose(found, net.double()(x.double()), atol=3e-3)
    return after


@pytest.mark.parametrize("shape", [(16,), (5, 16)], ids=["last axis", "last two"])
@pytest.mark.parametrize("affine", [True, False], ids=["scaled", "bare"])
def test_a_layer_norm(shape, affine):
    net = nn.Sequential(nn.LayerNorm(shape, elementwise_affine=affine)).eval()
    after = compared(net, FAR + torch.randn(1, 5, 16), LAYER)
    assert ops(after)[:7] == ["ReduceMean", "Sub", "Pow", "ReduceMean", "Add", "Sqrt", "Div"]


def test_an_instance_norm():
    net = nn.InstanceNorm1d(6, affine=True).eval()
    compared(net, FAR + torch.randn(1, 6, 40), INSTANCE)


def test_a_group_norm_which_the_tracing_exporter_writes_as_one_of_instances():
    compared(nn.GroupNorm(2, 6).eval(), FAR + torch.randn(1, 6, 40), INSTANCE)


@pytest.mark.parametrize(("opset", "scales"), [(18, 2), (21, 6)])
def test_a_group_norm_in_the_words_of_the_files_own_opset(opset, scales):
    x = (FAR + np.random.default_rng(0).normal(size=(1, 6, 50))).astype(np.float32)
    weights = {"s": np.full(scales, 2, np.float32), "b": np.ones(scales, np.float32)}
    nodes = [node("GroupNormalization", "x s b", "y", num_groups=2)]
    file = model(nodes, {"x": x.shape}, {"y": x.shape}, weights, opset, ir=10)
    wanted = 2 * nn.functional.group_norm(torch.from_numpy(x).double(), 2) + 1
    np.testing.assert_allclose(Runner(decompose(file, [GROUP]))({"x": x})["y"], wanted, atol=3e-3)


def test_nothing_else_is_touched():
    file = model([node("Relu", "x", "y")], {"x": (1, 2)}, {"y": (1, 2)})
    assert decompose(file, [LAYER, INSTANCE]) == file


def test_a_mean_that_is_read_is_refused():
    nodes = [node("LayerNormalization", "x s", "y mean", "the_norm")]
    file = model(nodes, {"x": (1, 2)}, {"y": (1, 2), "mean": (1, 1)}, {"s": np.ones(2, np.float32)})
    with pytest.raises(ExportError, match="'the_norm' cannot be written in elementary operators"):
        decompose(file, [LAYER])


def test_a_scale_that_is_computed_is_refused():
    nodes = [node("InstanceNormalization", "x s b", "y", "the_norm")]
    file = model(nodes, {"x": (1, 2, 4), "s": (2,), "b": (2,)}, {"y": (1, 2, 4)})
    with pytest.raises(ExportError, match="'the_norm': scale and bias must be constants"):
        decompose(file, [INSTANCE])
