"""What an ONNX file must not contain, found without the ``onnx`` package: a short walk of protobuf.

Refused are weights that are NaN or infinite, tensors kept in other files (no hash covers those),
operators that are not of the standard (they may load libraries or engines), control flow (a step
takes the same time, always), and functions.  What the network computes is for the engine to check.

Field numbers are those of ``onnx.proto``.
"""

import numpy as np
from numpy.typing import NDArray

from edge.protobuf import LEN, VARINT, Field, fields, varint

# TensorProto.data_type: how its numbers are read, and the bits that NaN and infinity have all set.
_FLOAT32, _FLOAT64 = ("<u4", 0x7F80_0000), ("<u8", 0x7FF0 << 48)
_FLOATS = {1: _FLOAT32, 10: ("<u2", 0x7C00), 11: _FLOAT64, 16: ("<u2", 0x7F80)}
_WHOLE = {2, 3, 4, 5, 6, 7, 9, 12, 13}  # integers and bool: finite by themselves


def check_onnx(data: bytes) -> None:
    """Raises ValueError with what is wrong, and no remedy."""
    if data[4:8] == b"ORTM":  # ONNX Runtime would read it as a format of its own
        raise ValueError("an ORT file, not an ONNX file")
    try:
        model = fields(data, 0, len(data))
        if any(f.number in (20, 25) for f in model):
            raise ValueError("functions or training: only a plain graph is allowed")
        graphs = [_message(f) for f in model if f.number == 7]
        if len(graphs) != 1:  # protobuf would merge several into one
            raise ValueError("not an ONNX file: it has no graph, or several")
        _check_graph(data, graphs[0])
    except IndexError as e:
        raise ValueError("malformed ONNX: it ends too early") from e


def _check_graph(data: bytes, graph: Field) -> None:
    for f in fields(data, graph.at, graph.end):
        if f.number == 1:
            _check_node(data, _message(f))
        elif f.number == 5:
            _check_tensor(data, _message(f))
        elif f.number == 15:
            raise ValueError("sparse weights: only dense ones are allowed")


def _check_node(data: bytes, node: Field) -> None:
    for f in fields(data, node.at, node.end):
        if f.number == 5:
            _check_attribute(data, _message(f))
        elif f.number == 7 and (domain := _text(data, f)) not in ("", "ai.onnx"):
            raise ValueError(f"an operator of {domain!r}: only those of ONNX itself are allowed")


def _check_attribute(data: bytes, attribute: Field) -> None:
    tensors = 0
    for f in fields(data, attribute.at, attribute.end):
        if f.number == 5:
            tensors += 1
            _check_tensor(data, _message(f))
        elif f.number in (2, 7):  # one float, or many
            _check_finite(data, f, *_FLOAT32, "an attribute")
        elif f.number in (6, 11):
            raise ValueError(
                "control flow (If, Loop, Scan): a step must take the same time, always"
            )
        elif f.number in (10, 22, 23):
            raise ValueError("an attribute of many tensors, or of a sparse one")
    if tensors > 1:  # protobuf would merge them into one
        raise ValueError("malformed ONNX: an attribute of two tensors")


def _check_tensor(data: bytes, tensor: Field) -> None:
    parts = fields(data, tensor.at, tensor.end)
    name = next((_text(data, f) for f in parts if f.number == 8), "")
    kind = 0
    for f in parts:
        if f.number == 2:
            kind = f.at if f.wire == VARINT else 0
        elif f.number == 13 or f.number == 14 and (f.wire, f.at) != (VARINT, 0):
            raise ValueError(f"weights {name!r} are in another file, which no hash covers")
    if kind not in _WHOLE | _FLOATS.keys():
        raise ValueError(f"weights {name!r} are of type {kind}, which is not allowed")
    if kind in _WHOLE:
        return
    forms = {9: _FLOATS[kind], 4: _FLOAT32, 10: _FLOAT64}
    what = f"weights {name!r}"
    for f in parts:
        if f.number in forms:
            _check_finite(data, f, *forms[f.number], what)
        elif f.number == 5 and kind in (10, 16):
            halves = _halves(data, f)
            _check_finite(halves, Field(5, LEN, 0, len(halves)), *_FLOATS[kind], what)


def _check_finite(data: bytes, f: Field, form: str, ones: int, what: str) -> None:
    size = np.dtype(form).itemsize
    if f.wire == VARINT or (f.end - f.at) % size:
        raise ValueError(f"malformed ONNX: {what} of broken numbers")
    bits: NDArray[np.unsignedinteger] = np.frombuffer(data, form, (f.end - f.at) // size, f.at)
    if ((bits & ones) == ones).any():
        raise ValueError(f"{what}: NaN or infinite")


def _halves(data: bytes, f: Field) -> bytes:
    """Of field 5: 16 bits a number, each as a varint, alone or many together."""
    numbers, at = ([f.at], f.end) if f.wire == VARINT else ([], _message(f).at)
    while at < f.end:
        number, at = varint(data, at)
        numbers.append(number)
    return np.array([n & 0xFFFF for n in numbers], "<u2").tobytes()


def _message(f: Field) -> Field:
    if f.wire != LEN:
        raise ValueError(f"malformed ONNX: field {f.number} is no message")
    return f


def _text(data: bytes, f: Field) -> str:
    return data[_message(f).at : min(f.end, f.at + 80)].decode(errors="replace")
