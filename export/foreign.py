"""Anybody's ONNX file with a spec, as a device takes it: checked on the way, beside the original.

What people bring: opset 7 to 26, open batch sizes, float64, channels last, names that say nothing,
weights in a second file, layers that remember inside.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, inliner
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model

from export.difference import TOLERANCE, Difference, difference
from export.float32 import to_float32
from export.fold import fold, foldable
from export.foreign_ends import Wire, connect, input_wires, inside, output_wires
from export.foreign_spec import Contract
from export.foreign_stream import check_stream
from export.norms import GROUP, decompose
from export.onnx_graph import ExportError, Runner, opset
from export.onnx_ops import TARGETS
from export.onnx_spec import spec_of
from export.opset import OPSET, to_opset_17
from export.ready import ready
from export.recurrent import as_gates
from export.recurrent_states import hidden_states, open_states
from models.spec import ModelSpec

FEWER_BITS = 2e-3  # the same for float16: a CPU drops casts and so rounds less than the file says
TRIALS = 4
MOST_BYTES = 2**31 - 1  # of one protobuf message

Example = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Brought:
    """What became of a file."""

    spec: ModelSpec
    difference: Difference  # from the original, over the examples
    notes: tuple[str, ...]  # what was done, in order, a line each


def bring(
    source: Path,
    target: Path,
    contract: Contract | None = None,
    examples: Sequence[Example] = (),
    targets: Collection[str] = TARGETS,
    allow: Collection[str] = (),
) -> Brought:
    """Write the network of ``source`` to ``target``: static, of opset 17, float32, folded.

    ``contract``: without one, the spec that the file carries.  ``examples`` map inputs and states
    of the spec to arrays; use real ones: without, numbers are drawn.  Nothing is written unless the
    result does what the original does, and a stream what the sequence does.  Raises ExportError.
    """
    original = read(source)
    contract = contract or _carried(original, source)
    spec, kept_inside = contract.spec, inside(contract, original)
    feeds = [_fed(e, spec, {s.input for s in kept_inside}) for e in examples or drawn(spec, TRIALS)]
    before, inputs = Runner(original), input_wires(contract, original)
    said = [before({w.file: w.to_file(feed[w.name]) for w in inputs}) for feed in feeds]
    outputs = output_wires(contract, original, {n: a.shape for n, a in said[0].items()})
    notes = [_made_of(original)]
    notes += [f"{w.name}: {w.file!r} {w.there}" for w in (*inputs, *outputs) if w.file != w.name]
    model = to_float32(inliner.inline_local_functions(original))
    connect(model, inputs, outputs)
    model = _at_opset_17(model, feeds, inputs, notes)
    if hidden_states(model):
        model = open_states(model, kept_inside)
        notes.append(check_stream(original, model, contract, inputs, outputs))
    model = ready(as_gates(model), spec, targets, allow)
    _promised(model, spec)
    wanted = [{w.name: w.to_spec(s[w.file]) for w in outputs} for s in said]
    after = Runner(model)
    limit = TOLERANCE if foldable(original) else FEWER_BITS
    found = _compared(spec, wanted, [after(feed) for feed in feeds], limit)
    notes.append(f"{len(model.graph.node)} nodes, beside the original: {found}")
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(target))
    return Brought(spec, found, tuple(notes))


def read(path: Path) -> ModelProto:
    """A file with its weights, wherever they lie.  Raises ExportError."""
    try:
        model = onnx.load(str(path), load_external_data=False)
        outside = [w for w in model.graph.initializer if w.data_location]
        size = path.stat().st_size + sum(ExternalDataInfo(w).length or 0 for w in outside)
        if size > MOST_BYTES:
            raise ExportError(f"{path}: {size / 2**30:.1f} GB: a network here is below 2 GB")
        load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except ExportError:
        raise
    except Exception as e:  # protobuf, the file system and the checker raise what they like
        raise ExportError(
            f"{path} is no ONNX file that can be read, or what belongs to it is missing: {e}"
        ) from e
    return model


def drawn(spec: ModelSpec, count: int) -> list[dict[str, NDArray[np.float32]]]:
    """Inputs and states out of the air: positive for EMG, angles and loads within their range."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        feed = {s.input: rng.uniform(-1, 1, s.shape).astype(np.float32) for s in spec.states}
        for i in spec.inputs:
            x = rng.normal(size=i.shape)
            if i.source in ("angle", "load"):
                x = rng.uniform(i.min, i.max, i.shape)
            feed[i.name] = (np.abs(x) if i.source == "emg" else x).astype(np.float32)
        found.append(feed)
    return found


def _fed(example: Example, spec: ModelSpec, hidden: Collection[str]) -> dict[str, NDArray[Any]]:
    """Exactly what the spec wants; a state that the file keeps inside begins from zeros."""
    feed = {n: np.zeros(spec.input_shapes[n], np.float32) for n in hidden}
    for name, shape in spec.input_shapes.items():
        if name not in hidden:
            x = np.asarray(example.get(name, ()), np.float32)
            if x.shape != shape:
                raise ExportError(f"an example has {x.shape} for {name!r}, which is {shape}")
            feed[name] = x
    return feed


def _at_opset_17(
    model: ModelProto, feeds: Sequence[Example], inputs: Sequence[Wire], notes: list[str]
) -> ModelProto:
    """Folded and converted, where converting alone costs no bit, or few, and says so."""
    model = fold(decompose(model, [GROUP]))
    if opset(model) == OPSET:
        return to_opset_17(model)
    lowered = to_opset_17(model)
    here = [{w.name: feed[w.name] for w in inputs} for feed in feeds]
    by_node = Runner(model, plain=True), Runner(lowered, plain=True)
    found = difference(None, [(by_node[0](feed), by_node[1](feed)) for feed in here])
    notes.append(f"opset {opset(model)} to {OPSET}: {found}")
    return lowered


def _compared(
    spec: ModelSpec, wanted: Sequence[Example], found: Sequence[Example], limit: float
) -> Difference:
    if not any(np.isfinite(a).any() for results in wanted for a in results.values()):
        raise ExportError(f"{spec.name} says nothing but NaN: give examples that it was made for")
    apart = difference(spec, list(zip(wanted, found, strict=True)))
    if not apart.relative <= limit:
        raise ExportError(f"{spec.name}: what became of it differs from the original: {apart}")
    return apart


def _promised(model: ModelProto, spec: ModelSpec) -> None:
    """The last word on names: those of the spec, all of them."""
    there = {i.name for i in model.graph.input}, {o.name for o in model.graph.output}
    if there != (set(spec.input_shapes), set(spec.output_shapes)):
        raise ExportError(
            f"{spec.name}: the spec has inputs {sorted(spec.input_shapes)} and outputs "
            f"{sorted(spec.output_shapes)}, the network {sorted(there[0])} and {sorted(there[1])}"
        )


def _carried(model: ModelProto, source: Path) -> Contract:
    spec = spec_of(model)
    if spec is None:
        raise ExportError(f"{source} carries no spec: give one, a JSON or TOML file (docs/onnx.md)")
    return Contract(spec)


def _made_of(model: ModelProto) -> str:
    made = f"{model.producer_name or 'unknown'} {model.producer_version}".strip()
    return f"by {made}, opset {opset(model)}, {len(model.graph.node)} nodes"
