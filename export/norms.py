"""Layer, instance and group norm in elementary operators, for parsers that do not have them.

The spread is the mean of squared distances from the mean, as PyTorch computes it; ONNX's own
definitions take a difference of large numbers.  ONNX Runtime recognises most layer norms by their
pattern and fuses them again (6 of elbow-nmm's 7), so little is lost on a CPU.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from export.fold import fold
from export.onnx_graph import (
    ONNX,
    ExportError,
    add_constant,
    attributes,
    constants,
    element_types,
    free_name,
    graphs,
    label,
    shapes,
)

LAYER, INSTANCE, GROUP = "LayerNormalization", "InstanceNormalization", "GroupNormalization"


def decompose(model: ModelProto, ops: Iterable[str]) -> ModelProto:
    """The same network without the ``ops``, any of LAYER, INSTANCE and GROUP.

    Of float32, whose ranks are known; others raise ExportError.
    """
    wanted = set(ops)
    if not any(n.op_type in wanted for g in graphs(model.graph) for n in g.node):
        return model
    # Folding finds ranks; a group norm it would itself replace, by ONNX's definition.
    done = onnx.shape_inference.infer_shapes(model if GROUP in wanted else fold(model))
    for graph in graphs(done.graph):
        known, kinds = shapes(graph), element_types(graph)
        nodes: list[NodeProto] = []
        for node in list(graph.node):
            here = node.op_type in wanted and node.domain in ONNX
            nodes += _parts(graph, node, known, kinds) if here else [node]
        del graph.node[:]
        graph.node.extend(nodes)
    return done


def _parts(
    graph: GraphProto,
    node: NodeProto,
    known: dict[str, tuple[int | str | None, ...]],
    kinds: dict[str, int],
) -> list[NodeProto]:
    x, given = node.input[0], attributes(node)
    shape = known.get(x)
    if not shape or kinds.get(x) != TensorProto.FLOAT or any(node.output[1:]):
        raise ExportError(
            f"{label(node)} cannot be written in elementary operators: it must be of float32 and of"
            " known rank, and nobody may read its mean and deviation"
        )
    rank, epsilon = len(shape), float(given.get("epsilon", 1e-5))
    build = _Builder(graph, node)
    if node.op_type == LAYER:
        axes = list(range(given.get("axis", -1) % rank, rank))
        build.normalise(x, axes, epsilon, list(node.input[1:]))
    elif node.op_type == INSTANCE:
        sides = build.columns(node.input[1:], rank)
        build.normalise(x, list(range(2, rank)), epsilon, sides)
    else:
        _group(build, node, shape, epsilon)
    return build.nodes


def _group(
    build: "_Builder", node: NodeProto, shape: tuple[int | str | None, ...], epsilon: float
) -> None:
    """Normalised as ``(batch, groups, rest)``, then scaled by channel."""
    groups = attributes(node)["num_groups"]
    if not all(isinstance(n, int) for n in shape):
        raise ExportError(f"{label(node)}: its shape {shape} must be static")
    sizes = np.array([n for n in shape if isinstance(n, int)], np.int64)
    flat = build.add("Reshape", node.input[0], build.constant("groups", [sizes[0], groups, -1]))
    normal = build.centred(flat, [2], epsilon)
    back = build.add("Reshape", normal, build.constant("shape", sizes))
    repeat = int(sizes[1]) // groups  # opset 18 has a scale for each group, 21 for each channel
    scale, bias = build.columns(node.input[1:], len(sizes), groups, repeat)
    build.add("Add", build.add("Mul", back, scale), bias, out=node.output[0])


class _Builder:
    """Nodes in the place of one."""

    def __init__(self, graph: GraphProto, node: NodeProto):
        self.graph, self.node, self.nodes = graph, node, list[NodeProto]()
        self.known = constants(graph)

    def add(self, op: str, *inputs: str, out: str = "", **given: Any) -> str:
        """Append a node; the name of what it gives."""
        stem = self.node.name or self.node.output[0]
        out = out or free_name(self.graph, f"{stem}/{op}_{len(self.nodes)}")
        name = f"{stem}/{op}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(op, inputs, [out], name, **given))
        return out

    def constant(self, what: str, value: object) -> str:
        kind = np.float32 if isinstance(value, float) else np.int64
        stem = self.node.name or self.node.output[0]
        return add_constant(self.graph, f"{stem}/{what}", np.asarray(value, kind))

    def centred(self, x: str, axes: list[int], epsilon: float) -> str:
        """``x`` less its mean, over its standard deviation."""
        off = self.add("Sub", x, self.add("ReduceMean", x, axes=axes, keepdims=1))
        squared = self.add("Pow", off, self.constant("two", 2.0))
        spread = self.add("ReduceMean", squared, axes=axes, keepdims=1)
        root = self.add("Sqrt", self.add("Add", spread, self.constant("epsilon", epsilon)))
        return self.add("Div", off, root)

    def normalise(self, x: str, axes: list[int], epsilon: float, scaling: list[str]) -> None:
        """The same, times the first of ``scaling``, plus the second if there is one."""
        after = [("Mul", scaling[0]), *(("Add", b) for b in scaling[1:] if b)]
        y = self.centred(x, axes, epsilon)
        for k, (op, by) in enumerate(after, 1):
            y = self.add(op, y, by, out=self.node.output[0] if k == len(after) else "")

    def columns(
        self, names: Iterable[str], rank: int, fewer: int = 0, repeat: int = 1
    ) -> list[str]:
        """Constants ``(channels,)`` so that they spread over ``(batch, channels, ...)``."""
        found = []
        for name in names:
            value = self.known.get(name)
            if value is None:
                raise ExportError(f"{label(self.node)}: scale and bias must be constants")
            if len(value) == fewer:
                value = np.repeat(value, repeat)
            column = value.reshape(-1, *(1,) * (rank - 2))
            found.append(add_constant(self.graph, f"{name}/column", column))
        return found
