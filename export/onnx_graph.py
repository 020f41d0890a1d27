"""What the passes over ONNX files share: constants, attributes, names, and running a file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    numpy_helper,
)

ONNX = ("", "ai.onnx")  # the two names of the standard's own domain


class ExportError(RuntimeError):
    """A network that cannot be exported as it is; the message names the node and the remedy."""


def opset(model: ModelProto) -> int:
    """Version of the standard's own operators; 0 if the file names none."""
    return next((o.version for o in model.opset_import if o.domain in ONNX), 0)


def label(node: NodeProto) -> str:
    """How messages call a node: by its name, else by what it gives."""
    return f"{node.op_type} {node.name or (node.output[0] if node.output else '')!r}"


def attributes(node: NodeProto) -> dict[str, Any]:
    """Values of the attributes that the node sets, by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def set_attribute(node: NodeProto, name: str, value: Any) -> None:
    """Set or replace."""
    drop_attribute(node, name)
    node.attribute.append(onnx.helper.make_attribute(name, value))


def drop_attribute(node: NodeProto, name: str) -> None:
    """Remove, if it is there."""
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """This graph, and the bodies of its control flow."""
    yield graph
    for node in graph.node:
        for a in node.attribute:
            for inner in [a.g] if a.type == AttributeProto.GRAPH else a.graphs:
                yield from graphs(inner)


def constants(graph: GraphProto) -> dict[str, NDArray[Any]]:
    """Initialisers in this file and dense numeric ``Constant`` nodes, by their tensor's name."""
    here = (i for i in graph.initializer if i.data_location != TensorProto.EXTERNAL)
    found = {i.name: numpy_helper.to_array(i) for i in here}
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in ONNX:
            for name, value in attributes(node).items():
                if name == "value":
                    found[node.output[0]] = numpy_helper.to_array(value)
                elif name.startswith("value_int"):
                    found[node.output[0]] = np.array(value, np.int64)
                elif name.startswith("value_float"):
                    found[node.output[0]] = np.array(value, np.float32)
    return found


def add_constant(graph: GraphProto, name: str, value: NDArray[Any]) -> str:
    """An initialiser under ``name`` or, where that is taken, one like it; its name."""
    name = free_name(graph, name)
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def free_name(graph: GraphProto, like: str) -> str:
    """A name of no tensor yet."""
    taken = {n for g in graphs(graph) for node in g.node for n in (*node.input, *node.output)}
    taken |= {t.name for t in (*graph.input, *graph.output, *graph.initializer)}
    return next(
        n for n in (like, *(f"{like}_{k}" for k in range(len(taken) + 1))) if n not in taken
    )


def prune(graph: GraphProto) -> None:
    """Drop nodes and weights that no output needs."""
    needed, kept = {o.name for o in graph.output}, list[NodeProto]()
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
            inner = (
                g for a in node.attribute if a.type == AttributeProto.GRAPH for g in graphs(a.g)
            )
            needed |= {n for g in inner for part in g.node for n in part.input}
    weights = [i for i in graph.initializer if i.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)


def fed(graph: GraphProto) -> list[ValueInfoProto]:
    """The inputs that somebody must feed: old files list their initialisers among them."""
    given = {i.name for i in graph.initializer}
    return [i for i in graph.input if i.name not in given]


def dims(tensor: ValueInfoProto) -> tuple[int | str | None, ...]:
    """Sizes, names of open sizes, None where nothing is known of one."""
    return tuple(
        d.dim_value if d.HasField("dim_value") else d.dim_param or None
        for d in tensor.type.tensor_type.shape.dim
    )


def shapes(graph: GraphProto) -> dict[str, tuple[int | str | None, ...]]:
    """``dims`` of every tensor whose rank is known."""
    tensors = (*graph.value_info, *graph.input, *graph.output)
    return {v.name: dims(v) for v in tensors if v.type.tensor_type.HasField("shape")}


def element_types(graph: GraphProto) -> dict[str, int]:
    """TensorProto's types of every tensor whose type is known."""
    tensors = (*graph.value_info, *graph.input, *graph.output)
    found = {v.name: v.type.tensor_type.elem_type for v in tensors}
    return found | {i.name: i.data_type for i in graph.initializer}


def set_dims(tensor: ValueInfoProto, shape: tuple[int, ...]) -> None:
    """Fix them."""
    del tensor.type.tensor_type.shape.dim[:]
    for n in shape:
        tensor.type.tensor_type.shape.dim.add().dim_value = n


class Runner:
    """A file as ONNX Runtime computes it, on one thread.  Raises ExportError if it cannot.

    ``plain`` runs node by node as they stand in the file, without the fusions of a real session:
    two spellings of the same network then give the same bits.
    """

    def __init__(self, model: ModelProto | Path, plain: bool = False):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if plain:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        given = model.SerializeToString() if isinstance(model, ModelProto) else str(model)
        try:
            self._session = ort.InferenceSession(given, options, ["CPUExecutionProvider"])
        except Exception as e:  # onnxruntime raises its own family of undocumented types
            raise ExportError(f"ONNX Runtime {ort.__version__} cannot load the network: {e}") from e
        self.outputs = [o.name for o in self._session.get_outputs()]

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs by name."""
        try:
            found = self._session.run(self.outputs, dict(feed))
        except Exception as e:
            raise ExportError(f"ONNX Runtime cannot run the network: {e}") from e
        return dict(zip(self.outputs, found, strict=True))
