"""A network as the rules look at it: who makes a tensor, who reads it, what is known of it."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from export.onnx_graph import ONNX, constants, element_types, shapes
from export.onnx_spec import spec_of
from models.spec import ModelSpec

Shape = tuple[int | str | None, ...]


@dataclass
class View:
    """Of the main graph; bodies of control flow are not looked into."""

    model: ModelProto
    nodes: list[NodeProto]  # the standard's own
    constants: dict[str, NDArray[Any]]
    types: dict[str, int]  # TensorProto's element types, by tensor
    shapes: dict[str, Shape]  # of tensors whose rank is known
    spec: ModelSpec | None
    makers: dict[str, NodeProto] = field(default_factory=dict)
    readers: dict[str, list[NodeProto]] = field(default_factory=lambda: defaultdict(list))
    # Tensors whose values are known before anything is fed, those of static inputs' shapes among
    # them: sizes that depend on data are found where they arise (DATA_SIZED, SHAPES).
    fixed: set[str] = field(default_factory=set)

    def input(self, node: NodeProto, index: int) -> str:
        """The name of an input; "" if it is not given."""
        return node.input[index] if index < len(node.input) else ""

    def through(self, name: str, op: str) -> NodeProto | None:
        """The node of kind ``op`` that makes a tensor, if it is one."""
        maker = self.makers.get(name)
        return maker if maker is not None and maker.op_type == op else None


def view_of(model: ModelProto) -> View:
    """Types and shapes are inferred; what cannot be is left out."""
    known = onnx.shape_inference.infer_shapes(model, data_prop=True)
    graph = known.graph
    view = View(
        model,
        [n for n in model.graph.node if n.domain in ONNX],
        constants(graph),
        element_types(graph),
        shapes(graph) | {i.name: tuple(i.dims) for i in graph.initializer},
        spec_of(model),
    )
    view.fixed |= set(view.constants)
    for node in model.graph.node:
        for name in filter(None, node.output):
            view.makers[name] = node
        for name in filter(None, node.input):
            view.readers[name].append(node)
        if _is_fixed(view.fixed, node):
            view.fixed |= set(node.output)
    return view


def finite(values: NDArray[Any]) -> bool:
    """Whether no number in it is NaN or infinite; what is no number is."""
    return values.dtype.kind not in "fc" or bool(np.isfinite(values).all())


def _is_fixed(fixed: set[str], node: NodeProto) -> bool:
    if node.op_type in ("Shape", "Size"):
        return True
    drawn = node.op_type.startswith("Random")
    return not drawn and all(n in fixed for n in node.input if n)
