"""What an ONNX file is made of, read without the ``onnx`` package: a device does not have it.

Field numbers are those of ``onnx.proto``.  A bundle's file has one graph, and none within it.
"""

from collections import Counter
from dataclasses import dataclass, field

from edge.protobuf import LEN, VARINT, Field, fields

FLOAT16, BFLOAT16 = 10, 16  # of TensorProto's element types


@dataclass
class Contents:
    """Operators by how often they occur, and TensorProto's element types."""

    opset: int = 0  # of ONNX's own operators
    ops: Counter[str] = field(default_factory=Counter)
    types: set[int] = field(default_factory=set)

    @property
    def has_int8(self) -> bool:
        """Whether it is quantised by Q/DQ nodes."""
        return self.ops["QuantizeLinear"] > 0 or self.ops["DequantizeLinear"] > 0

    @property
    def has_fp16(self) -> bool:
        """Whether anything in it is of 16 bit."""
        return bool(self.types & {FLOAT16, BFLOAT16})


def contents_of(data: bytes) -> Contents:
    """Of a file's bytes.  Raises ValueError."""
    found = Contents()
    try:
        for f in fields(data, 0, len(data)):
            if f.number == 7:
                _graph(data, f, found)
            elif f.number == 8:
                opset = _inside(data, f)
                if all(_text(data, o) in ("", "ai.onnx") for o in opset if o.number == 1):
                    found.opset = max([found.opset, *(_integer(o) for o in opset if o.number == 2)])
    except IndexError as e:
        raise ValueError("malformed ONNX: it ends too early") from e
    if not found.opset:
        raise ValueError("not an ONNX file: it has no opset")
    return found


def _graph(data: bytes, graph: Field, found: Contents) -> None:
    for f in _inside(data, graph):
        if f.number == 1:
            _node(data, f, found)
        elif f.number == 5:  # weights
            _element(data, f, 2, found)
        elif f.number in (11, 12, 13):  # input, output, what is between: type.tensor_type.elem_type
            for kind in _inside(data, f):
                if kind.number == 2:
                    for tensor in _inside(data, kind):
                        if tensor.number == 1:
                            _element(data, tensor, 1, found)


def _node(data: bytes, node: Field, found: Contents) -> None:
    for f in _inside(data, node):
        if f.number == 4:
            found.ops[_text(data, f)] += 1
        elif f.number == 5:
            parts = _inside(data, f)
            for part in parts:
                if part.number == 5:  # a tensor
                    _element(data, part, 2, found)
            if any(p.number == 1 and _text(data, p) == "to" for p in parts):  # of a Cast
                found.types.update(_integer(p) for p in parts if p.number == 3)


def _element(data: bytes, message: Field, number: int, found: Contents) -> None:
    found.types.update(_integer(f) for f in _inside(data, message) if f.number == number)


def _inside(data: bytes, f: Field) -> list[Field]:
    if f.wire != LEN:
        raise ValueError(f"malformed ONNX: field {f.number} is no message")
    return fields(data, f.at, f.end)


def _integer(f: Field) -> int:
    if f.wire != VARINT:
        raise ValueError(f"malformed ONNX: field {f.number} is no number")
    return f.at


def _text(data: bytes, f: Field) -> str:
    return data[f.at : f.end].decode(errors="replace") if f.wire == LEN else ""
