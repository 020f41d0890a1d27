"""Rules on quantised networks: explicit Q/DQ as TensorRT reads it, and where it should stand."""

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto

from export.onnx_graph import attributes, label
from export.onnx_rule import OLD, Found, Rule
from export.onnx_view import View

Q, DQ = "QuantizeLinear", "DequantizeLinear"
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
KEPT_FLOAT = ("Sigmoid", "Softmax", "Tanh", "LayerNormalization")


def _pairs(view: View) -> Iterator[NodeProto]:
    return (n for n in view.nodes if n.op_type in (Q, DQ))


def _zero_point(view: View) -> Iterator[Found]:
    for node in _pairs(view):
        name = view.input(node, 2)
        zero = view.constants.get(name)
        if not name:
            yield Found(label(node), "has no zero point, which stands for uint8")
        elif zero is None or (zero != 0).any():
            yield Found(label(node), "its zero point is not a constant 0")


def _integers(view: View) -> Iterator[Found]:
    for node in _pairs(view):
        kind = view.types.get(view.input(node, 2), TensorProto.INT8)
        if kind != TensorProto.INT8:
            yield Found(label(node), f"to {TensorProto.DataType.Name(kind).lower()}")


def _scale(view: View) -> Iterator[Found]:
    for node in _pairs(view):
        scale = view.constants.get(node.input[1])
        if scale is None or scale.dtype != np.float32:
            yield Found(label(node), "its scale is not a float32 constant")
        elif not (scale > 0).all() or not np.isfinite(scale).all():
            yield Found(label(node), f"a scale of {scale.min():g}")


def _integer_weights(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type == DQ and node.input[0] in view.constants:
            yield Found(label(node), f"its weights {node.input[0]!r} are stored as integers")


def _axis(view: View) -> Iterator[Found]:
    for node in _pairs(view):
        scale = view.constants.get(node.input[1])
        if scale is None or scale.size < 2:
            continue
        rank = len(view.shapes.get(node.input[0], ())) or 1
        axis = attributes(node).get("axis", 1) % rank
        if not _of_weights(view, node):
            yield Found(label(node), "an activation has a scale for each channel")
            continue
        for reader in view.readers[node.output[0]] if node.op_type == DQ else ():
            wanted = _channel(reader, rank)
            if wanted is not None and axis != wanted:
                what = f"scales along axis {axis}, its output channel is {wanted}"
                yield Found(label(node), f"{what} in {label(reader)}")


def _channel(product: NodeProto, rank: int) -> int | None:
    """The output channel of a product's weights."""
    if product.op_type == "Gemm":
        return 0 if attributes(product).get("transB", 0) else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": rank - 1}.get(product.op_type)


def _both_sides(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type in PRODUCTS:
            sides = [view.through(name, DQ) is not None for name in node.input[:2]]
            if any(sides) and not all(sides):
                yield Found(label(node), f"only its input {1 + sides.index(True)} is quantised")


def _bias(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type in PRODUCTS and view.through(view.input(node, 2), DQ):
            yield Found(label(node), "its bias is quantised")


def _followed(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type == Q:
            for reader in view.readers[node.output[0]]:
                if reader.op_type != DQ:
                    yield Found(label(node), f"its integers go to {label(reader)}")


def _sum(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type != "Add" or any(n in view.fixed for n in node.input):
            continue
        sides = [view.through(name, DQ) is not None for name in node.input]
        # A product's own sum needs no pair: it is added to in the kernel that made it.
        fused = [any(view.through(name, p) for p in PRODUCTS) for name in node.input]
        if any(sides) and not all(s or f for s, f in zip(sides, fused, strict=True)):
            yield Found(label(node), "one branch is quantised, the other is not")


def _around(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type in KEPT_FLOAT and view.through(node.input[0], DQ):
            yield Found(label(node), "what goes in is quantised")


def _state(view: View) -> Iterator[Found]:
    for state in view.spec.states if view.spec else ():
        if view.through(state.output, DQ):
            yield Found(repr(state.output), "the state that is carried on is quantised")


def _one_axis(view: View) -> Iterator[Found]:
    for node in view.nodes:
        quantised = view.through(view.input(node, 1), DQ) is not None
        if quantised and len(view.shapes.get(node.input[1], ())) == 3 and "Conv" in node.op_type:
            yield Found(label(node), "a convolution over one axis")


def _of_weights(view: View, node: NodeProto) -> bool:
    """Whether a pair, or its half, stands behind weights."""
    source = node.input[0]
    if node.op_type == DQ and (before := view.through(source, Q)):
        source = before.input[0]
    return source in view.fixed


RULES = (
    Rule(
        "zero-point",
        "only symmetric quantisation is read: three inputs, every zero point 0",
        "quantise with ActivationSymmetric and WeightSymmetric",
        _zero_point,
    ),
    Rule(
        "int8-only",
        "Q/DQ of uint8 and int32 is rejected",
        "quantise to int8",
        _integers,
    ),
    Rule(
        "scale",
        "a scale must be above 0 and is read as float32; a channel of zeros gets scale 0",
        "give channels of zeros a scale of 1; keep scales in float32",
        _scale,
    ),
    Rule(
        "integer-weights",
        '"only activation types allowed": weights stored as integers are rejected',
        "store them as float32 with Q and DQ behind (AddQDQPairToWeight)",
        _integer_weights,
        targets=OLD,
    ),
    Rule(
        "channel-axis",
        "scales of weights go along their output channel, activations have a single one",
        "quantise weights per output channel and activations per tensor",
        _axis,
    ),
    Rule(
        "both-sides",
        "a product runs in INT8 only with Q/DQ on data and on weights",
        "quantise both inputs or none",
        _both_sides,
    ),
    Rule(
        "bias",
        '"invalid weights type": a quantised bias is rejected',
        "leave biases float32 (QuantizeBias=False)",
        _bias,
        targets=OLD,
    ),
    Rule(
        "q-without-dq",
        "integer arithmetic is not read: every Q is followed by DQ",
        "export in Q/DQ format",
        _followed,
    ),
    Rule(
        "residual",
        "the sum runs in float, and the product before it writes float",
        "quantise the other branch of the sum as well",
        _sum,
        severity="warn",
    ),
    Rule(
        "around-activations",
        "costs accuracy and wins nothing around Sigmoid, Tanh, Softmax and LayerNormalization",
        "quantise the inputs of products only",
        _around,
        severity="warn",
    ),
    Rule(
        "carried-state",
        "what rounding loses is lost at every step of a stream",
        "keep Q/DQ on the inputs of products, not on the state",
        _state,
        severity="warn",
    ),
    Rule(
        "conv-over-one-axis",
        "the parser puts a shuffle between DQ and the kernel, which may cost the INT8 path",
        "write it as a convolution of 1 x k over two axes",
        _one_axis,
        severity="warn",
    ),
)  # fmt: skip
