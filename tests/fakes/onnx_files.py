"""ONNX files written by hand, and those that PyTorch writes."""

import io
import warnings

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def node(op, inputs, outputs, name="it", **attributes):
    """Names separated by blanks; ``-`` is an input that is not given."""
    names = ["" if n == "-" else n for n in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name, **attributes)


def tensor(name, shape, kind=FLOAT):
    """An input or output; ``shape`` None: nothing is known of it."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, weights=None, opset=17, ir=8, domains=(), **parts):
    """``inputs`` and ``outputs`` map names to shapes, or are lists of ``tensor``.

    Where an output's shape is None, it is inferred.
    """
    sides = [
        side if isinstance(side, list) else [tensor(n, s) for n, s in side.items()]
        for side in (inputs, outputs)
    ]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", *sides, stored)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    outputs_open = isinstance(outputs, dict) and None in outputs.values()
    made = helper.make_model(graph, opset_imports=imports, ir_version=ir, **parts)
    return onnx.shape_inference.infer_shapes(made) if outputs_open else made


def traced(net, args, opset=17, **names):
    """What PyTorch's tracing exporter writes."""
    return _exported(net, args, dynamo=False, opset_version=opset, **names)


def of_dynamo(net, args, opset=18, **names):
    """What PyTorch's exporter of today writes; opset 18 is its oldest."""
    return _exported(net, args, dynamo=True, opset_version=opset, verbose=False, **names)


def _exported(net, args, **settings):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporters themselves
        torch.onnx.export(net.eval(), args, file, **settings)
    return onnx.load_from_string(file.getvalue())


def ops(model):
    """Kinds of nodes, in order."""
    return [n.op_type for n in model.graph.node]
