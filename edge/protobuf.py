"""The fields of a protobuf message, as bytes: ONNX files are read with it where ``onnx`` is not.

A message is a row of fields: a varint ``number << 3 | wire``, then by wire a varint, 8 bytes, a
varint length and so many bytes, or 4 bytes.
"""

from typing import NamedTuple

VARINT, I64, LEN, I32 = 0, 1, 2, 5


class Field(NamedTuple):
    """One field; ``data[at:end]`` are its bytes.  Of a VARINT, ``at`` is the number itself."""

    number: int
    wire: int
    at: int
    end: int


def fields(data: bytes, at: int, end: int) -> list[Field]:
    """The fields of the message in ``data[at:end]``.  Raises ValueError; IndexError: cut short."""
    found = []
    while at < end:
        tag = data[at]
        tag, at = (tag, at + 1) if tag < 0x80 else varint(data, at)
        wire = tag & 7
        if wire not in (VARINT, I64, LEN, I32) or tag >> 32:  # others would drop the upper bits
            raise ValueError("malformed protobuf: no field begins like this")
        if wire in (VARINT, LEN):
            value = data[at]  # mostly one byte: calls are what takes the time
            value, at = (value, at + 1) if value < 0x80 else varint(data, at)
        if wire == VARINT:
            found.append(Field(tag >> 3, wire, value, at))
            continue
        if wire != LEN:
            value = 4 if wire == I32 else 8
        found.append(Field(tag >> 3, wire, at, at + value))
        at += value
    if at != end:
        raise ValueError("malformed protobuf: it ends too early")
    return found


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, least first, at most ten; (number, where the next field begins)."""
    number = 0
    for k in range(10):
        byte = data[at + k]
        number |= (byte & 0x7F) << 7 * k
        if byte < 0x80:
            return number, at + k + 1
    raise ValueError("malformed protobuf: a number without an end")
