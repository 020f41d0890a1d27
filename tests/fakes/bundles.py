"""A small real bundle whose network is there in three precisions."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import Bundle
from edge.bundle_index import Network
from export.bundle import write_bundle
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec, State

SHAPE = (1, 1, 8, 8)
SPEC = ModelSpec(
    "calf",
    (Input("image", SHAPE, "us", kind="bmode"), Input("load", (1, 1), "load", min=0.0, max=5.0)),
    (Output("angle", "deg"), Output("torque", "N m")),
    10.0,
    states=(State("h", "h_next", (1, 2)),),
)
FP16 = Network("model.fp16.onnx", "fp16", ("trt",), ())
INT8 = Network("model.int8-trt.onnx", "int8", ("trt",), ("trt",))


def calf(folder, networks=(), reference=None) -> Bundle:
    """A convolution of a picture, averaged, plus a load and half of what it said before."""
    folder.mkdir(parents=True)
    onnx.save(network(), folder / "model.onnx")
    for n in networks:
        onnx.save(network(n.precision), folder / n.file)
    extra = {} if reference is None else {"reference.npz": reference}
    return write_bundle(folder, SPEC, "card", extra, networks)


def network(precision="fp32", opset=17):
    """The ONNX model."""
    rng = np.random.default_rng(1)
    w = rng.normal(size=(2, 1, 3, 3)).astype(np.float32)
    constants = {"w": w, "half": np.array([0.5], np.float32)}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["c"], ["m"], "mean", axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["h", "half"], ["kept"], "keep"),
        helper.make_node("Add", ["m", "kept"], ["moved"], "move"),
        helper.make_node("Add", ["moved", "load"], ["values"], "lift"),
        helper.make_node("Identity", ["moved"], ["h_next"], "next"),
    ]
    if precision == "fp16":
        constants["w"] = w.astype(np.float16)
        nodes[0] = helper.make_node("Conv", ["image16", "w"], ["c16"], "conv", pads=[1, 1, 1, 1])
        nodes[0:0] = [
            helper.make_node("Cast", ["image"], ["image16"], "in", to=TensorProto.FLOAT16)
        ]
        nodes[2:2] = [helper.make_node("Cast", ["c16"], ["c"], "out", to=TensorProto.FLOAT)]
    if precision == "int8":
        scale = np.abs(w).max(axis=(1, 2, 3)) / 127
        constants |= {"w_scale": scale.astype(np.float32), "w_zero": np.zeros(2, np.int8),
                      "x_scale": np.float32(3 / 127), "x_zero": np.int8(0)}  # fmt: skip
        nodes[0] = helper.make_node("Conv", ["x", "w32"], ["c"], "conv", pads=[1, 1, 1, 1])
        x, w = ["x_scale", "x_zero"], ["w_scale", "w_zero"]
        nodes[0:0] = [
            helper.make_node("QuantizeLinear", ["image", *x], ["xq"], "q"),
            helper.make_node("DequantizeLinear", ["xq", *x], ["x"], "dq"),
            helper.make_node("QuantizeLinear", ["w", *w], ["wq"], "qw", axis=0),
            helper.make_node("DequantizeLinear", ["wq", *w], ["w32"], "dqw", axis=0),
        ]
    graph = helper.make_graph(
        nodes,
        "calf",
        [_float("image", SHAPE), _float("load", (1, 1)), _float("h", (1, 2))],
        [_float("values", (1, 2)), _float("h_next", (1, 2))],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    if opset == 17:
        onnx.checker.check_model(made, full_check=True)
    return made


def change_index(folder, **changes):
    """Rewrite fields of ``bundle.json``."""
    index = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(index | changes))


def _float(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
