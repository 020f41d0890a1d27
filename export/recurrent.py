"""A recurrent operator over a single step, as the products and gates it consists of.

GRU, LSTM and RNN are loops to TensorRT, without INT8 and with an overhead at every step.  A stream
feeds one step at a time: then they are two products and a few gates, like any other layer.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto

from export.onnx_build import Builder
from export.onnx_graph import ONNX, attributes, shapes
from export.opset import OPSET

F32 = NDArray[np.float32]

STATES = {"GRU": (5,), "LSTM": (5, 6), "RNN": (5,)}  # inputs with their first states
ACTIVATIONS = {
    "GRU": [b"Sigmoid", b"Tanh"],
    "LSTM": [b"Sigmoid", b"Tanh", b"Tanh"],
    "RNN": [b"Tanh"],
}
PLAIN = {"direction": b"forward", "layout": 0, "input_forget": 0}
FREE = {"hidden_size", "linear_before_reset"}


def as_gates(model: ModelProto) -> ModelProto:
    """The same network; what is over more than one step, or of an unusual kind, stays a loop."""
    if not any(n.op_type in STATES for n in model.graph.node):
        return model
    done = onnx.shape_inference.infer_shapes(model)
    graph, known = done.graph, shapes(done.graph)
    nodes: list[NodeProto] = []
    for node in list(graph.node):
        shape = known.get(node.input[0], ()) if node.op_type in STATES else ()
        one_step = len(shape) == 3 and shape[0] == 1 and isinstance(shape[1], int)
        gates = _gates(graph, node, int(shape[1] or 0)) if one_step and _plain(node) else None
        nodes += gates or [node]
    del graph.node[:]
    graph.node.extend(nodes)
    return done


def _plain(node: NodeProto) -> bool:
    """Whether it says nothing unusual of itself."""
    usual = {**PLAIN, "activations": ACTIVATIONS[node.op_type]}
    given = attributes(node)
    peepholes = any(node.input[7:])
    same = all(usual.get(name) == value for name, value in given.items() if name not in FREE)
    return node.domain in ONNX and same and not peepholes


def _gates(graph: GraphProto, node: NodeProto, batch: int) -> list[NodeProto] | None:
    """None where the weights are computed."""
    build = Builder(graph, node, OPSET)
    w, r, b = (build.constant(k) for k in (1, 2, 3))
    has_bias = len(node.input) > 3 and bool(node.input[3])
    if w is None or r is None or (b is None and has_bias):
        return None
    hidden = r.shape[2]
    x = build.add("Reshape", node.input[0], build.integers("row", [batch, w.shape[2]]))
    slots = STATES[node.op_type]
    h, *more = (_state(build, k, batch, hidden) for k in slots)
    both = np.zeros(2 * r.shape[1], np.float32) if b is None else b[0]
    cell = _Cell(build, x, h, w[0], r[0], both)
    if node.op_type == "GRU":
        ends = [_gru(cell, bool(attributes(node).get("linear_before_reset", 0)))]
    elif node.op_type == "LSTM":
        ends = _lstm(cell, more[0])
    else:
        ends = [build.add("Tanh", build.add("Add", cell.of_x(), cell.of_h()))]
    shaped = zip(node.output, (ends[0], *ends), ([1, 1], [1], [1]), strict=False)
    for name, value, ones in shaped:
        if name:
            shape = build.integers(f"shape_{len(build.nodes)}", [*ones, batch, hidden])
            build.add("Reshape", value, shape, out=name)
    return build.nodes


def _state(build: Builder, index: int, batch: int, hidden: int) -> str:
    """``(batch, hidden)``; zeros where it is not given."""
    name = build.node.input[index] if index < len(build.node.input) else ""
    if not name:
        return build.numbers("zeros", np.zeros((batch, hidden)))
    return build.add("Reshape", name, build.integers("column", [batch, hidden]))


@dataclass
class _Cell:
    """Input and state ``(batch, ...)``, and the rows of weights that they meet."""

    build: Builder
    x: str
    h: str
    w: F32
    r: F32
    b: F32  # of the input's product, then of the state's

    @property
    def hidden(self) -> int:
        return int(self.r.shape[1])

    def of_x(self) -> str:
        """What the input adds to every gate."""
        return self._product(self.x, self.w, self.b[: len(self.w)])

    def of_h(self, first: int = 0, last: int | None = None, state: str = "") -> str:
        """What the state, or another in its place, adds to blocks of gates."""
        end = None if last is None else last * self.hidden
        rows = slice(first * self.hidden, end)
        return self._product(state or self.h, self.r[rows], self.b[len(self.r) :][rows])

    def _product(self, x: str, w: F32, b: F32) -> str:
        numbers = self.build.numbers
        return self.build.add("Gemm", x, numbers("weights", w), numbers("bias", b), transB=1)


def _gru(cell: _Cell, reset_after: bool) -> str:
    """Gates z, r, n; the state's share of n is reset after or before its product."""
    add = cell.build.add
    xz, xr, xn = cell.build.split(cell.of_x(), 3, cell.hidden)
    hz, hr, *rest = cell.build.split(
        cell.of_h(0, None if reset_after else 2), 3 if reset_after else 2, cell.hidden
    )
    z, r = add("Sigmoid", add("Add", xz, hz)), add("Sigmoid", add("Add", xr, hr))
    of_h = add("Mul", r, rest[0]) if reset_after else cell.of_h(2, 3, add("Mul", r, cell.h))
    n = add("Tanh", add("Add", xn, of_h))
    return add("Add", n, add("Mul", z, add("Sub", cell.h, n)))


def _lstm(cell: _Cell, before: str) -> list[str]:
    """Gates i, o, f, c; the state and the cell after the step."""
    add = cell.build.add
    gates = cell.build.split(add("Add", cell.of_x(), cell.of_h()), 4, cell.hidden)
    i, o, f = (add("Sigmoid", gate) for gate in gates[:3])
    c = add("Add", add("Mul", f, before), add("Mul", i, add("Tanh", gates[3])))
    return [add("Mul", o, add("Tanh", c)), c]
