"""Memory that a network keeps inside a recurrent operator, made input and output of a step."""

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto

from export.onnx_graph import ExportError, add_constant, free_name, label
from export.onnx_view import View, view_of
from export.recurrent import STATES
from models.spec import State


def open_states(model: ModelProto, states: Sequence[State]) -> ModelProto:
    """The same step with ``states`` for its memory, in the order of the nodes; LSTM: h, then c.

    For a network over one step whose recurrent operators begin from zeros.  Those that begin from
    an input already are left alone.  Raises ExportError where the states are not as many, or not of
    these sizes, with what the spec must say.
    """
    done = onnx.ModelProto()
    done.CopyFrom(model)
    view = view_of(done)
    wanted = [(n, k) for n in view.nodes for k in _hidden(view, n)]
    sizes = [_size(view, n) for n, _ in wanted]
    if [math.prod(s.shape) for s in states] != sizes:
        told = ", ".join(f'{{ input = "h{i}", output = "h{i}_next", shape = [1, {size}] }}'
                         for i, size in enumerate(sizes))  # fmt: skip
        given = [(s.input, s.shape) for s in states]
        raise ExportError(
            f"the network keeps its memory inside: {', '.join(label(n) for n, _ in wanted)}, and "
            f"would forget at every step. For these the spec has the states {given}; it must say "
            f"states = [{told}]"
        )
    ends = [_open(view, *place, state) for place, state in zip(wanted, states, strict=True)]
    nodes = [*(first for first, _ in ends), *done.graph.node, *(last for _, last in ends)]
    del done.graph.node[:]
    done.graph.node.extend(nodes)
    return done


def hidden_states(model: ModelProto) -> bool:
    """Whether a recurrent operator over one step begins from a constant."""
    view = view_of(model)
    return any(True for n in view.nodes for _ in _hidden(view, n))


def _hidden(view: View, node: NodeProto) -> list[int]:
    """Slots of first states that are constants, of a node over a single step."""
    shape = view.shapes.get(node.input[0], ()) if node.op_type in STATES else ()
    if len(shape) != 3 or shape[0] != 1:
        return []
    slots = STATES[node.op_type]
    return [k for k in slots if not view.input(node, k) or view.input(node, k) in view.fixed]


def _size(view: View, node: NodeProto) -> int:
    directions, _, hidden = view.shapes.get(node.input[2], (0, 0, 0))
    if directions != 1:
        raise ExportError(
            f"{label(node)} reads in both directions, so it needs what comes later: give it a "
            "window instead of single steps"
        )
    return int(hidden or 0)


def _open(view: View, node: NodeProto, slot: int, state: State) -> tuple[NodeProto, NodeProto]:
    """Connects the node; what turns an input into its state, and its state into an output."""
    graph, given = view.model.graph, view.input(node, slot)
    first = view.constants.get(given)
    if given and (first is None or first.any()):
        raise ExportError(
            f"{label(node)} begins from {given!r}, which is not known to be zeros; a device begins "
            "from zeros: subtract it in the network, or export the state as an input"
        )
    for side, name in ((graph.input, state.input), (graph.output, state.output)):
        kind = onnx.TensorProto.FLOAT
        side.append(onnx.helper.make_tensor_value_info(name, kind, state.shape))
    inside, outside = (free_name(graph, f"{n}/inside") for n in (state.input, state.output))
    node.input.extend([""] * (slot + 1 - len(node.input)))
    node.input[slot] = inside
    end = slot - 4  # Y is first, then Y_h and Y_c
    node.output.extend([""] * (end + 1 - len(node.output)))
    node.output[end] = outside = node.output[end] or outside
    return (
        _reshape(graph, state.input, inside, (1, 1, _size(view, node))),
        _reshape(graph, outside, state.output, state.shape),
    )


def _reshape(graph: GraphProto, source: str, target: str, shape: tuple[int, ...]) -> NodeProto:
    sizes = add_constant(graph, f"{target}/shape", np.array(shape, np.int64))
    return onnx.helper.make_node("Reshape", [source, sizes], [target], f"{target}/Reshape")
