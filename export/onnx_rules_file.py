"""Rules on the file as a whole: versions, types, shapes, where the weights are."""

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from export.onnx_graph import ONNX, graphs, label, opset
from export.onnx_ops import DATA_SIZED, PLACES, SHAPES
from export.onnx_rule import OLD, Found, Rule
from export.onnx_view import View, finite
from export.opset import IR_VERSION, OPSET

LEAST_OPSET = 13  # from there on axes, Softmax and Q/DQ mean what the rules take them to mean
INT32 = range(-(2**31), 2**31)
COMPUTED = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8,
    TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL,
}  # fmt: skip
MOVES = ("Cast", "Constant", "DequantizeLinear", "Identity", "QuantizeLinear", "Transpose")
_CONVERT = "bring the file with export.foreign, which converts it"


def _opset(view: View) -> Iterator[Found]:
    if not LEAST_OPSET <= (found := opset(view.model)) <= OPSET:
        yield Found("", f"opset {found}")


def _ir(view: View) -> Iterator[Found]:
    if view.model.ir_version > IR_VERSION:
        yield Found("", f"IR version {view.model.ir_version}")


def _external(view: View) -> Iterator[Found]:
    for weights in _weights(view):
        if weights.data_location == TensorProto.EXTERNAL:
            yield Found(repr(weights.name), "kept in another file")


def _sparse(view: View) -> Iterator[Found]:
    for graph in graphs(view.model.graph):
        for weights in graph.sparse_initializer:
            yield Found(repr(weights.values.name), "sparse weights")
        for node in graph.node:
            values = {a.name for a in node.attribute} if node.op_type == "Constant" else set()
            if values & {"sparse_value", "value_string", "value_strings"}:
                yield Found(label(node), "a sparse or text constant")


def _functions(view: View) -> Iterator[Found]:
    for function in view.model.functions:
        yield Found(repr(function.name), "a function of the file's own")


def _domains(view: View) -> Iterator[Found]:
    for graph in graphs(view.model.graph):
        for node in graph.node:
            if node.domain not in ONNX:
                yield Found(label(node), f"of {node.domain!r}, not of the standard")


def _ends(view: View) -> Iterator[Found]:
    for tensor in (*view.model.graph.input, *view.model.graph.output):
        kind = tensor.type.tensor_type.elem_type
        if kind != TensorProto.FLOAT:
            yield Found(repr(tensor.name), f"of {_name(kind)}")


def _open_shapes(view: View) -> Iterator[Found]:
    for tensor in (*view.model.graph.input, *view.model.graph.output):
        shape = view.shapes.get(tensor.name)
        if shape is None or not all(isinstance(n, int) and n > 0 for n in shape):
            yield Found(repr(tensor.name), f"shape {shape}")
    for node in view.nodes:
        if node.op_type in DATA_SIZED:
            yield Found(label(node), "the size of its result depends on data")
        for index in sorted(SHAPES.get(node.op_type, ())):
            if (name := view.input(node, index)) and name not in view.fixed:
                yield Found(label(node), f"its input {name!r} depends on data")


def _types(view: View) -> Iterator[Found]:
    for name, kind in view.types.items():
        if kind not in COMPUTED and kind != TensorProto.DOUBLE:
            yield Found(repr(name), f"of {_name(kind)}")
        elif kind == TensorProto.BFLOAT16:
            yield Found(repr(name), "of bfloat16", OLD)


def _double(view: View) -> Iterator[Found]:
    for name, kind in view.types.items():
        if kind == TensorProto.DOUBLE:
            yield Found(repr(name), "of float64")


def _mixed(view: View) -> Iterator[Found]:
    """A halved network has casts at its ends; anything else in float32 was meant to stay."""
    if TensorProto.FLOAT16 not in view.types.values():
        return
    for node in view.nodes:
        kinds = {view.types.get(n) for n in node.output}
        if TensorProto.FLOAT in kinds and node.op_type not in (*MOVES, *SHAPES):
            yield Found(label(node), "computes in float32 beside float16")


def _int64(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if all(n in view.fixed for n in node.output):
            continue
        meant = SHAPES.get(node.op_type, set()) | PLACES.get(node.op_type, set())
        for index, name in enumerate(node.input):
            known = view.constants.get(name)
            if known is None or view.types.get(name, 0) not in (TensorProto.INT64, 0):
                continue
            beyond = known.dtype.kind == "i" and any(int(v) not in INT32 for v in known.flat)
            if known.dtype.name == "int64" and index not in meant:
                yield Found(label(node), f"computes with the int64 constant {name!r}")
            elif beyond and node.op_type != "Slice":  # there: to the end
                yield Found(label(node), f"the constant {name!r} is beyond int32")


def _not_finite(view: View) -> Iterator[Found]:
    for name, values in view.constants.items():
        if not finite(values):
            yield Found(repr(name), "has NaN or infinite numbers")


def _weights(view: View) -> Iterator[TensorProto]:
    for graph in graphs(view.model.graph):
        yield from graph.initializer
        for node in graph.node:
            for a in node.attribute:
                yield from [a.t] if a.type == onnx.AttributeProto.TENSOR else a.tensors


def _name(kind: int) -> str:
    known = dict(zip(TensorProto.DataType.values(), TensorProto.DataType.keys(), strict=True))
    return known.get(kind, str(kind)).lower() if kind else "no tensor type"


RULES = (
    Rule(
        "opset",
        "nothing checks the upper end: 8.5 and 8.6 read newer files without an error and ignore "
        f"what they do not know. These rules know {LEAST_OPSET} to {OPSET}",
        f"export with opset_version={OPSET}, or {_CONVERT}",
        _opset,
    ),
    Rule(
        "ir-version",
        f"TensorRT only logs it; an ONNX Runtime of 2022 reads up to {IR_VERSION}",
        _CONVERT,
        _ir,
        severity="warn",
    ),
    Rule(
        "external-data",
        "a bundle has one network file, and no hash covers a second",
        "bring the file with export.foreign, which puts the weights inside",
        _external,
    ),
    Rule(
        "dense-numbers",
        "sparse and text constants are not read",
        "store them as dense tensors of numbers",
        _sparse,
    ),
    Rule(
        "functions",
        "functions are read from 9.0 on, and bundles refuse them",
        "bring the file with export.foreign, which writes them out",
        _functions,
    ),
    Rule(
        "domain",
        "operators of other domains need plug-ins, and bundles refuse them",
        "export without fusions and custom operators, for opset 17 of ONNX",
        _domains,
    ),
    Rule(
        "io-types",
        "the daemon feeds and reads float32 alone",
        "cast inside the network",
        _ends,
    ),
    Rule(
        "static-shapes",
        "engines here have one shape, whose memory is laid out at start; CUDA graphs need that too",
        "bring the file with export.foreign, which fixes the shapes of the spec and folds the rest",
        _open_shapes,
    ),
    Rule(
        "types",
        "not computed with: uint8 only enters and leaves, bfloat16 came with 9.0, text never",
        "export in float32 and choose the precision afterwards",
        _types,
    ),
    Rule(
        "float64",
        "cast down to float32 without a word, its largest numbers cut off",
        "bring the file with export.foreign, which makes it float32 and says what that costs",
        _double,
    ),
    Rule(
        "float32-in-mixed",
        "8.x is weakly typed: with float16 in the file it may compute the float32 parts in 16 bits",
        "do not rely on float32 parts there; compare the engine on recorded inputs",
        _mixed,
        targets=OLD,
        severity="warn",
    ),
    Rule(
        "int64",
        "8.x casts integers to int32 and cuts off what does not fit; harmless in shapes, axes and "
        "indices",
        "compute in float32, or cast to int32 in the network",
        _int64,
        targets=OLD,
    ),
    Rule(
        "finite-weights",
        "every result would be NaN, and bundles refuse such weights",
        "train again, or use a large number in place of infinity",
        _not_finite,
    ),
)  # fmt: skip
