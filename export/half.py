"""FP16 inside an ONNX graph: weights and most arithmetic halved, float32 at its edges.

A pass of our own: ONNX Runtime's converter (``onnxruntime.transformers.float16``, 1.31) writes
files that no checker accepts where a state is read inside the graph, or where two nodes that stay
whole read the same tensor: that is every network here.
"""

from collections.abc import Collection
from typing import Any

import numpy as np

from export.quantize import LAYERS

# Stay in float32: where 11 bits of mantissa or 65504 are too few for what they add up or raise, or
# where the operator takes nothing else.
WHOLE = frozenset(
    ("Exp", "Pow", "Log", "Reciprocal", "ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2",
     "Softplus", "Sqrt", "Div", "Softmax", "LayerNormalization", "InstanceNormalization", "Resize",
     "Erf", "Acos", "Asinh", "Sin", "Cos", "CumSum", "Mod", "Cast", "ConstantOfShape", "Range",
     "QuantizeLinear", "DequantizeLinear", "TopK")
)  # fmt: skip
LARGEST = 65504.0


def halved(model: Any, keep: Collection[str] = (), states: Collection[str] = ()) -> Any:
    """A copy of ``model`` in FP16 but for nodes of ``WHOLE`` and those named in ``keep``.

    Inputs and outputs stay float32: the contract of the bundle.  So does everything between the
    layers and ``states``, outputs that are carried on to the next step: a small change would be
    lost in halves.  Raises ValueError for a graph inside the graph (If, Loop, Scan).
    """
    import onnx

    keep = {*keep, *carried(model, states)}

    copy = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    graph = copy.graph
    _constants_first(graph)
    halver = _Halver(graph, keep)
    for node in list(graph.node):
        halver.take(node)
    halver.finish()
    del graph.value_info[:]  # of types that were
    return copy


def carried(model: Any, states: Collection[str]) -> set[str]:
    """Nodes between the layers and the states, which may have to be named first."""
    made_by = {o: n for n in model.graph.node for o in n.output}
    found, todo = set(), list(states)
    while todo:
        node = made_by.get(todo.pop())
        if node is None or node.op_type in LAYERS or node.name in found:
            continue
        found.add(node.name)
        todo += list(node.input)
    return found


class _Halver:
    """Walks a graph in its order and writes it again, casts where halves and wholes meet."""

    def __init__(self, graph: Any, keep: Collection[str]):
        import onnx

        self.graph, self.keep = graph, keep
        self.half, self.whole = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
        self.weights = {i.name: i for i in graph.initializer if i.data_type == self.whole}
        known = (*graph.value_info, *graph.input, *graph.output)
        floats = {v.name for v in known if v.type.tensor_type.elem_type == self.whole}
        self.floats = floats | set(self.weights)
        self.outputs = {o.name for o in graph.output}
        self.type = dict.fromkeys(self.floats, self.whole)
        self.cast: dict[tuple[str, int], str] = {}
        self.nodes: list[Any] = []
        self.halves: list[Any] = []

    def take(self, node: Any) -> None:
        """One node, its inputs in the type that it will have."""
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise ValueError(f"{node.name} ({node.op_type}) has a graph inside: unroll it first")
        reads = [n for n in node.input if n in self.floats]
        whole = node.op_type in WHOLE or node.name in self.keep or self._too_large(reads)
        wanted = self.whole if whole else self.half
        for k, name in enumerate(node.input):
            if name in self.floats:
                node.input[k] = self._as(name, wanted)
        self.nodes.append(node)
        for k, name in enumerate(node.output):
            if name not in self.floats:
                continue
            self.type[name] = wanted
            if name in self.outputs and wanted == self.half:
                node.output[k] = inner = f"{name}_half"
                self.cast[name, self.half] = inner
                self.type[name] = self.whole
                self._add_cast(inner, name, self.whole)

    def finish(self) -> None:
        """The graph, of what was taken."""
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        read = self.outputs | {i for n in self.nodes for i in n.input}
        kept = [i for i in (*self.graph.initializer, *self.halves) if i.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def _too_large(self, reads: Collection[str]) -> bool:
        weights = (_array(self.weights[n]) for n in reads if n in self.weights)
        return any(w.size > 0 and float(np.abs(w).max()) > LARGEST for w in weights)

    def _as(self, name: str, wanted: int) -> str:
        """The tensor in another type; made where it is not there yet."""
        import onnx

        if self.type[name] == wanted:
            return name
        if (name, wanted) in self.cast:
            return self.cast[name, wanted]
        made = self.cast[name, wanted] = f"{name}_{'half' if wanted == self.half else 'whole'}"
        if name in self.weights:
            weight = _array(self.weights[name]).astype(np.float16)
            self.halves.append(onnx.numpy_helper.from_array(weight, made))
        else:
            self._add_cast(name, made, wanted)
        return made

    def _add_cast(self, before: str, after: str, wanted: int) -> None:
        import onnx

        self.nodes.append(
            onnx.helper.make_node("Cast", [before], [after], name=f"{after}_cast", to=wanted)
        )


def _constants_first(graph: Any) -> None:
    """Constants as initializers."""
    for node in [n for n in graph.node if n.op_type == "Constant"]:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if value is not None:
            value.name = node.output[0]
            graph.initializer.append(value)
            graph.node.remove(node)


def _array(tensor: Any) -> Any:
    import onnx

    return onnx.numpy_helper.to_array(tensor)
