"""Whether a network in steps says what it said of a whole sequence."""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from export.difference import TOLERANCE, difference
from export.fold import fold
from export.foreign_ends import Wire
from export.foreign_spec import Contract
from export.onnx_graph import ExportError, Runner, dims, fed, set_dims, shapes
from export.recurrent import STATES

STEPS = 8
Axes = dict[str, list[int]]  # of the file's inputs, along which time runs


def check_stream(
    original: ModelProto,
    step: ModelProto,
    contract: Contract,
    inputs: Sequence[Wire],
    outputs: Sequence[Wire],
) -> str:
    """What was found, for a person.  Raises ExportError where they differ.

    ``original`` is fed longer and longer sequences, and its last word compared with what ``step``
    says with its own states carried on.  Where its time is fixed to one step there is nothing to
    compare with.
    """
    given = {w.name for w in inputs} & {s.input for s in contract.spec.states}
    axes = None if given else time_axes(original, inputs)
    if axes is None:
        why = "a part of it was open already" if given else "the file is of one step"
        return f"its memory was opened; {why}, so no sequence could be compared"
    rng = np.random.default_rng(1)
    heard = [{w.name: np.abs(rng.normal(size=w.shape)).astype(np.float32) for w in inputs}
             for _ in range(STEPS)]  # fmt: skip
    whole, stepped = Runner(original), Runner(step)
    kept = {s.input: np.zeros(s.shape, np.float32) for s in contract.spec.states}
    pairs = []
    for t in range(1, STEPS + 1):
        found = stepped({**kept, **heard[t - 1]})
        kept = {s.input: found[s.output] for s in contract.spec.states}
        said = whole({w.file: _sequence(w, heard[:t], axes[w.file]) for w in inputs})
        pairs.append(({w.name: w.to_spec(_last(said[w.file], w)) for w in outputs}, found))
    result = difference(None, pairs)
    if not result.relative <= TOLERANCE:
        raise ExportError(
            f"over {STEPS} steps the network says something else than of the whole sequence "
            f"({result}): it looks at several steps at once, as a convolution or a norm over time "
            "does. Give it a window as input, or make that memory a state as well"
        )
    return f"its memory was opened; {STEPS} steps beside the whole sequence: {result}"


def time_axes(model: ModelProto, inputs: Sequence[Wire]) -> Axes | None:
    """Open axes along which recurrent operators take their steps; None if none is open.

    Raises ExportError where a step takes more than one place of such an axis.
    """
    tensors = {i.name: i for i in fed(model.graph)}
    symbols: dict[object, Axes] = {}
    for w in inputs:
        for axis, size in enumerate(dims(tensors[w.file])):
            if not isinstance(size, int):
                named = symbols.setdefault(size or (w.file, axis), {x.file: [] for x in inputs})
                named[w.file].append(axis)
    for name, axes in symbols.items():
        steps = _steps(model, inputs, axes)
        if steps == {STEPS}:
            return axes
        if steps - {1}:  # not the batch
            told = ", ".join(sorted(map(str, steps)))
            raise ExportError(
                f"of {STEPS} places along {name!r} its recurrent operators make {told} steps: for "
                "a stream each must be a step; do what joins them outside of the network"
            )
    return None


def _steps(model: ModelProto, inputs: Sequence[Wire], axes: Axes) -> set[int | str | None]:
    """Over how many steps recurrent operators run, where ``axes`` are STEPS long."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    tensors = {i.name: i for i in fixed.graph.input}
    for w in inputs:
        set_dims(
            tensors[w.file],
            tuple(STEPS if a in axes[w.file] else n for a, n in enumerate(w.there)),
        )
    for tensor in (*fixed.graph.output, *fixed.graph.value_info):  # said of another length
        tensor.type.tensor_type.ClearField("shape")
    try:
        fixed = onnx.shape_inference.infer_shapes(fold(fixed))
    except ExportError:
        return set()  # the batch, which others of its inputs do not have so long
    known = shapes(fixed.graph)
    return {known.get(n.input[0], (None,))[0] for n in fixed.graph.node if n.op_type in STATES}


def _sequence(
    wire: Wire, heard: Sequence[dict[str, NDArray[np.float32]]], axes: Sequence[int]
) -> NDArray[np.float32]:
    parts = [wire.to_file(x[wire.name]) for x in heard]
    return np.concatenate(parts, axes[0]) if axes else parts[-1]


def _last(x: NDArray[np.float32], wire: Wire) -> NDArray[np.float32]:
    """The newest of what is said of every step."""
    for axis, (n, one) in enumerate(zip(x.shape, wire.there, strict=True)):
        if n != one:
            x = np.take(x, [-1], axis)
    return x
