"""Several nodes in the place of one."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto

from export.onnx_graph import add_constant, constants, free_name


class Builder:
    """Collects ``nodes`` of ``opset`` that together do what ``node`` did; named after it."""

    def __init__(self, graph: GraphProto, node: NodeProto, opset: int):
        self.graph, self.node, self.nodes, self.opset = graph, node, list[NodeProto](), opset
        self.known = constants(graph)
        self._stem = node.name or node.output[0]

    def add(self, op: str, *inputs: str, out: str = "", **given: Any) -> str:
        """Append a node; the name of what it gives."""
        name = f"{self._stem}/{op}_{len(self.nodes)}"
        out = out or free_name(self.graph, name)
        self.nodes.append(onnx.helper.make_node(op, inputs, [out], name, **given))
        return out

    def mean(self, x: str, axes: list[int]) -> str:
        """Over ``axes``, which stay, of length 1."""
        if self.opset < 18:
            return self.add("ReduceMean", x, axes=axes, keepdims=1)
        return self.add("ReduceMean", x, self.integers("axes", axes), keepdims=1)

    def split(self, x: str, parts: int, size: int) -> list[str]:
        """Columns of ``x (rows, parts * size)``."""
        name = f"{self._stem}/Split_{len(self.nodes)}"
        outs = [free_name(self.graph, f"{name}_{k}") for k in range(parts)]
        sizes = self.integers("sizes", [size] * parts)
        self.nodes.append(onnx.helper.make_node("Split", [x, sizes], outs, name, axis=1))
        return outs

    def numbers(self, what: str, values: Any) -> str:
        """A float32 constant; its name."""
        return add_constant(self.graph, f"{self._stem}/{what}", np.asarray(values, np.float32))

    def integers(self, what: str, values: Any) -> str:
        """An int64 constant; its name."""
        return add_constant(self.graph, f"{self._stem}/{what}", np.asarray(values, np.int64))

    def constant(self, index: int) -> NDArray[Any] | None:
        """The value of an input of the node; None where it is not given or computed."""
        name = self.node.input[index] if index < len(self.node.input) else ""
        return self.known.get(name)
