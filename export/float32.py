"""A network of float64, as Keras and NumPy people bring them, in float32."""

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from export.onnx_graph import ExportError, attributes, graphs, set_attribute

TYPED = {"Cast": "to", "EyeLike": "dtype", "RandomNormal": "dtype", "RandomNormalLike": "dtype",
         "RandomUniform": "dtype", "RandomUniformLike": "dtype"}  # fmt: skip


def to_float32(model: ModelProto) -> ModelProto:
    """The same network with float32 in the place of float64.

    Raises ExportError for weights too large for it.
    """
    done = onnx.ModelProto()
    done.CopyFrom(model)
    for graph in graphs(done.graph):
        for weights in graph.initializer:
            weights.CopyFrom(_single(weights))
        for tensor in (*graph.input, *graph.output, *graph.value_info):
            kind = tensor.type.tensor_type
            if kind.elem_type == TensorProto.DOUBLE:
                kind.elem_type = TensorProto.FLOAT
        for node in graph.node:
            _attributes(node)
    return done


def _attributes(node: NodeProto) -> None:
    for name, value in attributes(node).items():
        if isinstance(value, TensorProto):
            set_attribute(node, name, _single(value))
        elif TYPED.get(node.op_type) == name and value == TensorProto.DOUBLE:
            set_attribute(node, name, TensorProto.FLOAT)


def _single(weights: TensorProto) -> TensorProto:
    if weights.data_type != TensorProto.DOUBLE:
        return weights
    values: Any = numpy_helper.to_array(weights)
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if (np.isinf(single) & np.isfinite(values)).any():
        raise ExportError(f"{weights.name!r} has numbers too large for float32: scale the network")
    return numpy_helper.from_array(single, weights.name)
