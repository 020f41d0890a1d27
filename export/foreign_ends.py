"""The inputs and outputs of a network from elsewhere, as its spec wants them."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from export.foreign_spec import Contract
from export.onnx_graph import ExportError, add_constant, dims, fed, free_name, graphs, prune
from models.spec import State

Shape = tuple[int, ...]
Step = tuple[str, Any]  # an operator, and its attribute or second input
FLOATS: dict[int, type[np.floating[Any]]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
}
INSIDE = "of the file/"  # before the names of the file's own ends, so that the spec's are free


@dataclass(frozen=True)
class Wire:
    """One tensor, in the spec and in the file."""

    name: str
    file: str
    shape: Shape  # in the spec
    axes: tuple[int, ...]  # of the spec's, in the order that the file has them
    there: Shape  # in the file
    kind: int  # in the file, TensorProto's type

    @property
    def turned(self) -> Shape:
        """The spec's shape in the file's order of axes."""
        return tuple(self.shape[a] for a in self.axes)

    @property
    def back(self) -> tuple[int, ...]:
        """The file's axes in the spec's order."""
        return tuple(int(a) for a in np.argsort(self.axes))

    def to_file(self, x: NDArray[Any]) -> NDArray[Any]:
        """As the file takes it."""
        return x.transpose(self.axes).reshape(self.there).astype(FLOATS[self.kind])

    def to_spec(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """What the file gives, as the spec has it."""
        return np.ascontiguousarray(x.reshape(self.turned).transpose(self.back), np.float32)


def inside(contract: Contract, model: ModelProto) -> list[State]:
    """States of the spec that the file keeps to itself.  Raises ExportError for half of one."""
    there = {t.name for t in (*fed(model.graph), *model.graph.output)}
    found = []
    for s in contract.spec.states:
        ends = [contract.in_file(name) in there for name in (s.input, s.output)]
        if any(ends) and not all(ends):
            raise ExportError(
                f"state {s.input!r}: the file has its {'input' if ends[0] else 'output'} but not "
                f"its {'output' if ends[0] else 'input'}: export both, or say their [names]"
            )
        if not any(ends):
            found.append(s)
    return found


def input_wires(contract: Contract, model: ModelProto) -> list[Wire]:
    """One for each input and state of the spec that the file has.  Raises ExportError."""
    there = {i.name: i for i in fed(model.graph)}
    skipped = {s.input for s in inside(contract, model)}
    wires = []
    for name, shape in contract.spec.input_shapes.items():
        if name not in skipped:
            tensor = _found("input", contract.in_file(name), name, there)
            axes = contract.axes.get(name, tuple(range(len(shape))))
            wire = Wire(name, tensor.name, shape, axes, (), tensor.type.tensor_type.elem_type)
            size = aligned(wire.turned, dims(tensor)) if len(axes) == len(shape) else None
            if size is None or wire.kind not in FLOATS:
                raise ExportError(_misfit("input", wire, tensor))
            wires.append(Wire(name, tensor.name, shape, axes, size, wire.kind))
    if left := set(there) - {w.file for w in wires}:
        told = listed(there[n] for n in sorted(left))
        raise ExportError(f"the file also wants {told}: the spec has no input or state for it")
    return wires


def output_wires(contract: Contract, model: ModelProto, shapes: Mapping[str, Shape]) -> list[Wire]:
    """The same of what it gives; ``shapes`` are those that it has when it runs."""
    there = {o.name: o for o in model.graph.output}
    skipped = {s.output for s in inside(contract, model)}
    wires = []
    for name, shape in contract.spec.output_shapes.items():
        if name not in skipped:
            tensor = _found("output", contract.in_file(name), name, there)
            axes = contract.axes.get(name, tuple(range(len(shape))))
            kind, size = tensor.type.tensor_type.elem_type, shapes[tensor.name]
            wire = Wire(name, tensor.name, shape, axes, size, kind)
            fits = len(axes) == len(shape) and aligned(wire.turned, size) == size
            if not fits or kind not in FLOATS:
                raise ExportError(_misfit("output", wire, tensor))
            wires.append(wire)
    return wires


def connect(model: ModelProto, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> None:
    """From now on the file is fed as the spec says, and gives that and nothing else."""
    graph = model.graph
    _rename(model, [*inputs, *outputs])
    del graph.input[:]  # old files list their weights here as well
    del graph.output[:]
    first, last = list[NodeProto](), list[NodeProto]()
    for w in inputs:
        graph.input.append(_end(w))
        steps = [("Transpose", w.axes), ("Reshape", w.there), ("Cast", w.kind)]
        first += _chain(graph, w.name, INSIDE + w.name, _needed(w, steps))
    for w in outputs:
        graph.output.append(_end(w))
        steps = [("Cast", TensorProto.FLOAT), ("Reshape", w.turned), ("Transpose", w.back)]
        last += _chain(graph, INSIDE + w.name, w.name, _needed(w, steps))
    nodes = [*first, *graph.node, *last]
    del graph.node[:]
    graph.node.extend(nodes)
    prune(graph)


def aligned(wanted: Shape, found: Sequence[int | str | None]) -> Shape | None:
    """``found`` with its open sizes filled in, so that both hold the same numbers in one order.

    Axes of length 1 may come and go.  None where it does not fit, or in several ways.
    """
    pairs = zip(wanted, found, strict=False)
    if len(wanted) == len(found) and all(f == w or not isinstance(f, int) for w, f in pairs):
        return wanted
    long = [n for n in wanted if n != 1]
    fits = set()
    for sizes in itertools.product(*([n] if isinstance(n, int) else {1, *long} for n in found)):
        if [n for n in sizes if n != 1] == long:
            fits.add(sizes)
    return fits.pop() if len(fits) == 1 else None


def listed(tensors: Iterable[ValueInfoProto]) -> str:
    """Names, types and shapes, for messages."""
    told = []
    for t in tensors:
        kind = t.type.tensor_type.elem_type
        name = TensorProto.DataType.Name(kind).lower() if kind else "no tensor"
        shape = ", ".join("?" if n is None else str(n) for n in dims(t))
        told.append(f"{t.name!r} {'float32' if name == 'float' else name} ({shape})")
    return "; ".join(told) or "none"


def _found(side: str, file: str, name: str, there: Mapping[str, ValueInfoProto]) -> ValueInfoProto:
    if file not in there:
        raise ExportError(
            f"the file has no {side} {file!r} for the spec's {name!r}; it has "
            f"{listed(there.values())}: say under [names] which of them it is"
        )
    return there[file]


def _misfit(side: str, wire: Wire, tensor: ValueInfoProto) -> str:
    told = f"{side} {wire.name!r}: the spec wants float32 {wire.shape}, the file has "
    told += listed([tensor]) + (f", which is {wire.there} here" if wire.there else "")
    if wire.kind not in FLOATS:
        return f"{told}: cast inside the network"
    sizes = wire.there or tuple(n for n in dims(tensor) if isinstance(n, int))
    if sorted(n for n in sizes if n != 1) == sorted(n for n in wire.shape if n != 1):
        return f"{told}: if its axes only have another order, say so under [axes]"
    return f"{told}: one of the two is wrong"


def _end(wire: Wire) -> ValueInfoProto:
    return onnx.helper.make_tensor_value_info(wire.name, TensorProto.FLOAT, wire.shape)


def _needed(wire: Wire, steps: Sequence[Step]) -> list[Step]:
    """Those that change something."""
    change = {
        "Transpose": wire.axes != tuple(range(len(wire.axes))),
        "Reshape": wire.there != wire.turned,
        "Cast": wire.kind == TensorProto.FLOAT16,  # float64 is none any more
    }
    return [(op, how) for op, how in steps if change[op]] or [("Identity", None)]


def _chain(graph: GraphProto, source: str, target: str, steps: list[Step]) -> list[NodeProto]:
    nodes = []
    for k, (op, how) in enumerate(steps, 1):
        out = target if k == len(steps) else free_name(graph, f"{target}/{op}")
        inputs, given = [source], {}
        if op == "Reshape":
            inputs.append(add_constant(graph, f"{out}/shape", np.array(how, np.int64)))
        elif op != "Identity":
            given = {{"Transpose": "perm", "Cast": "to"}[op]: how}
        nodes.append(onnx.helper.make_node(op, inputs, [out], f"{target}/{op}", **given))
        source = out
    return nodes


def _rename(model: ModelProto, wires: Sequence[Wire]) -> None:
    """The file's ends get names of their own, and whatever has one of the spec's makes room."""
    new = {w.file: INSIDE + w.name for w in wires}
    for w in wires:
        new.setdefault(w.name, f"{INSIDE}not {w.name}")
    for graph in graphs(model.graph):
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [new.get(n, n) for n in names]
        for part in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            part.name = new.get(part.name, part.name)
