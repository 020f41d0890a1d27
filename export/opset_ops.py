"""What each operator that changed after opset 17 is in opset 17; one function an operator."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto

from export.onnx_graph import (
    ExportError,
    add_constant,
    attributes,
    drop_attribute,
    label,
    set_attribute,
)


class Tensors(NamedTuple):
    """What is known of a graph's tensors."""

    graph: GraphProto
    constants: dict[str, NDArray[Any]]
    shapes: dict[str, tuple[int | str | None, ...]]

    def constant(self, node: NodeProto, index: int) -> NDArray[Any] | None:
        """Of an input that must be one; None where it is not given.  Raises ExportError."""
        name = node.input[index] if index < len(node.input) else ""
        if name and name not in self.constants:
            raise ExportError(
                f"{label(node)}: input {name!r} must be a constant in opset 17: make shapes static "
                "and fold the network first"
            )
        return self.constants[name] if name else None

    def rank(self, node: NodeProto) -> int:
        """Of the first input.  Raises ExportError."""
        shape = self.shapes.get(node.input[0])
        if shape is None:
            raise ExportError(f"{label(node)}: the shape of {node.input[0]!r} is not known")
        return len(shape)


def _reduce(node: NodeProto, tensors: Tensors) -> None:
    axes = tensors.constant(node, 1)
    none = axes is None or axes.size == 0
    if none and attributes(node).get("noop_with_empty_axes", 0):
        raise ExportError(f"{label(node)} reduces nothing: take it out of the network")
    if axes is not None and not none:
        set_attribute(node, "axes", [int(a) for a in axes])
    drop_attribute(node, "noop_with_empty_axes")
    del node.input[1:]


def _split(node: NodeProto, tensors: Tensors) -> None:
    """Without sizes opset 17 makes equal parts; 18 lets the last be smaller."""
    drop_attribute(node, "num_outputs")
    if len(node.input) > 1 and node.input[1]:
        return
    axis = attributes(node).get("axis", 0)
    tensors.rank(node)
    size, parts = tensors.shapes[node.input[0]][axis], len(node.output)
    if not isinstance(size, int):
        raise ExportError(f"{label(node)}: the size of axis {axis} is not known: make it static")
    if size % parts:
        most = -(-size // parts)
        sizes = [most] * (parts - 1) + [size - most * (parts - 1)]
        name = add_constant(tensors.graph, f"{node.output[0]}_sizes", np.array(sizes, np.int64))
        del node.input[1:]
        node.input.append(name)


def _pad(node: NodeProto, tensors: Tensors) -> None:
    if attributes(node).get("mode", b"constant") not in (b"constant", b"reflect", b"edge"):
        raise ExportError(f"{label(node)}: opset 17 cannot wrap around: export without it")
    if (axes := tensors.constant(node, 3)) is not None:
        pads, rank = tensors.constant(node, 1), tensors.rank(node)
        assert pads is not None
        every = np.zeros((2, rank), np.int64)
        every[:, axes] = pads.reshape(2, -1)
        node.input[1] = add_constant(tensors.graph, f"{node.output[0]}_pads", every.reshape(-1))
        del node.input[3:]
        if not node.input[-1]:
            del node.input[-1]


def _resize(node: NodeProto, tensors: Tensors) -> None:
    given = attributes(node)
    new = {"antialias": 0, "keep_aspect_ratio_policy": b"stretch"}
    new_mode = given.get("coordinate_transformation_mode") == b"half_pixel_symmetric"
    if new_mode or any(given.get(name, value) != value for name, value in new.items()):
        raise ExportError(
            f"{label(node)}: opset 17 has no antialias, kept aspect or symmetric mode"
        )
    for name in new:
        drop_attribute(node, name)
    axes = given.get("axes")
    if axes is not None and list(axes) != list(range(tensors.rank(node))):
        raise ExportError(f"{label(node)}: opset 17 resizes all axes: give a scale for each")
    drop_attribute(node, "axes")


def _needs(**default: Any) -> Callable[[NodeProto, Tensors], None]:
    """New attributes, which opset 17 has only with these values; a list: all of them alike."""

    def lower(node: NodeProto, _: Tensors) -> None:
        given = attributes(node)
        for name, value in default.items():
            found = given.get(name, value)
            same = set(found) <= set(value) if isinstance(value, list) else found == value
            if not same:
                raise ExportError(f"{label(node)}: opset 17 has no {name} = {found}")
            drop_attribute(node, name)

    return lower


def _grid_sample(node: NodeProto, _: Tensors) -> None:
    mode = attributes(node).get("mode", b"linear")
    old = {b"linear": b"bilinear", b"cubic": b"bicubic"}
    set_attribute(node, "mode", old.get(mode, mode))


def _scatter(node: NodeProto, _: Tensors) -> None:
    if (how := attributes(node).get("reduction", b"none")) not in (b"none", b"add", b"mul"):
        raise ExportError(f"{label(node)}: opset 17 has no reduction {how.decode()!r}")


def _quantise(node: NodeProto, tensors: Tensors) -> None:
    """The type came from the zero point only; there was no such thing as a block."""
    kind = attributes(node).get("output_dtype", 0)
    _needs(saturate=1, block_size=0, precision=0)(node, tensors)
    drop_attribute(node, "output_dtype")
    if kind and len(node.input) < 3:
        scale = tensors.constant(node, 1)
        if kind not in (TensorProto.INT8, TensorProto.UINT8) or scale is None:
            raise ExportError(f"{label(node)}: opset 17 quantises to int8 and uint8 only")
        zero = np.zeros(scale.shape, np.int8 if kind == TensorProto.INT8 else np.uint8)
        node.input.append(add_constant(tensors.graph, f"{node.output[0]}_zero", zero))


REWRITTEN: dict[str, Callable[[NodeProto, Tensors], None]] = {
    **dict.fromkeys(
        (
            "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
            "ReduceMin", "ReduceProd", "ReduceSumSquare",
        ),
        _reduce,
    ),
    "AveragePool": _needs(dilations=[1]),
    "Cast": _needs(saturate=1, round_mode=b"up"),
    "CastLike": _needs(saturate=1, round_mode=b"up"),
    "DequantizeLinear": _needs(block_size=0, output_dtype=0),
    "GridSample": _grid_sample,
    "LpPool": _needs(ceil_mode=0, dilations=[1]),
    "MaxPool": lambda node, tensors: None,  # only the text: what frameworks have always done
    "Pad": _pad,
    "QuantizeLinear": _quantise,
    "Resize": _resize,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "Split": _split,
}  # fmt: skip
