"""Layer, instance and group norm in elementary operators, for parsers that do not have them.

The spread is the mean of squared distances from the mean, as PyTorch computes it; ONNX's own
definitions take a difference of large numbers.  ONNX Runtime recognises most layer norms by their
pattern and fuses them again (6 of elbow-nmm's 7), so little is lost on a CPU.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from export.fold import fold
from export.onnx_build import Builder
from export.onnx_graph import (
    ONNX,
    ExportError,
    attributes,
    element_types,
    graphs,
    label,
    opset,
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
            parts = _parts(graph, node, opset(done), known, kinds) if here else [node]
            nodes += parts
        del graph.node[:]
        graph.node.extend(nodes)
    return done


def _parts(
    graph: GraphProto,
    node: NodeProto,
    version: int,
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
    build = Builder(graph, node, version)
    if node.op_type == LAYER:
        axes = list(range(given.get("axis", -1) % rank, rank))
        _normalise(build, x, axes, epsilon, list(node.input[1:]))
    elif node.op_type == INSTANCE:
        _normalise(build, x, list(range(2, rank)), epsilon, _columns(build, rank))
    else:
        _group(build, node, shape, epsilon)
    return build.nodes


def _group(
    build: Builder, node: NodeProto, shape: tuple[int | str | None, ...], epsilon: float
) -> None:
    """Normalised as ``(batch, groups, rest)``, then scaled by channel."""
    groups = attributes(node)["num_groups"]
    if not all(isinstance(n, int) for n in shape):
        raise ExportError(f"{label(node)}: its shape {shape} must be static")
    sizes = np.array([n for n in shape if isinstance(n, int)], np.int64)
    flat = build.add("Reshape", node.input[0], build.integers("groups", [sizes[0], groups, -1]))
    normal = _centred(build, flat, [2], epsilon)
    back = build.add("Reshape", normal, build.integers("shape", sizes))
    repeat = int(sizes[1]) // groups  # opset 18 has a scale for each group, 21 for each channel
    scale, bias = _columns(build, len(sizes), groups, repeat)
    build.add("Add", build.add("Mul", back, scale), bias, out=node.output[0])


def _centred(build: Builder, x: str, axes: list[int], epsilon: float) -> str:
    """``x`` less its mean, over its standard deviation."""
    off = build.add("Sub", x, build.mean(x, axes))
    squared = build.add("Pow", off, build.numbers("two", 2.0))
    spread = build.mean(squared, axes)
    root = build.add("Sqrt", build.add("Add", spread, build.numbers("epsilon", epsilon)))
    return build.add("Div", off, root)


def _normalise(build: Builder, x: str, axes: list[int], epsilon: float, sides: list[str]) -> None:
    """The same, times the first of ``sides``, plus the second if there is one."""
    after = [("Mul", sides[0]), *(("Add", b) for b in sides[1:] if b)]
    y = _centred(build, x, axes, epsilon)
    for k, (op, by) in enumerate(after, 1):
        y = build.add(op, y, by, out=build.node.output[0] if k == len(after) else "")


def _columns(build: Builder, rank: int, fewer: int = 0, repeat: int = 1) -> list[str]:
    """Scale and bias ``(channels,)`` so that they spread over ``(batch, channels, ...)``."""
    found = []
    for k in (1, 2):
        value = build.constant(k)
        if value is None:
            raise ExportError(f"{label(build.node)}: scale and bias must be constants")
        if len(value) == fewer:
            value = np.repeat(value, repeat)
        found.append(build.numbers(f"side_{k}", value.reshape(-1, *(1,) * (rank - 2))))
    return found
