"""Rules on single operators: which parser reads them, and with which attributes."""

from collections.abc import Iterator

import numpy as np
from onnx import TensorProto

from export.norms import INSTANCE, LAYER
from export.onnx_graph import attributes, label
from export.onnx_ops import SINCE, without
from export.onnx_rule import OLD, Found, Rule
from export.onnx_view import View
from export.recurrent import STATES

CONTROL = ("If", "Loop", "Scan", "SequenceMap")
POOLS = ("AveragePool", "LpPool", "MaxPool")
MOST_K = 3840
RESIZES = {b"half_pixel", b"pytorch_half_pixel", b"tf_half_pixel_for_nn", b"asymmetric",
           b"align_corners"}  # fmt: skip


def _unknown(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type not in SINCE:
            yield Found(label(node), "unknown to the rules")


def _unread(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type not in (*CONTROL, LAYER) and (targets := without(node.op_type)):
            yield Found(label(node), "not read", targets)


def _layer_norm(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type == LAYER:
            yield Found(label(node), "not read")


def _control(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type in CONTROL:
            yield Found(label(node), "control flow")


def _reduce_axes(view: View) -> Iterator[Found]:
    for node in view.nodes:
        reduces = node.op_type.startswith("Reduce") and node.op_type != "ReduceSum"
        if reduces and view.input(node, 1):
            yield Found(label(node), "its axes are an input")


def _recurrent(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type in STATES:
            steps = view.shapes.get(node.input[0], ("?",))[0]
            yield Found(label(node), f"a loop of {steps} steps")


def _recurrent_kind(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type not in STATES:
            continue
        given = attributes(node)
        acts = [a.lower() for a in given.get("activations", [])]
        half = len(acts) // 2
        if given.get("layout", 0) or given.get("input_forget", 0):
            yield Found(label(node), "layout or input_forget is not 0")
        if given.get("direction") == b"bidirectional" and acts[:half] != acts[half:]:
            yield Found(label(node), "its two directions have different activations")


def _forgets(view: View) -> Iterator[Found]:
    """One step at a time from states that are nobody's input."""
    for node in view.nodes:
        first = STATES.get(node.op_type)
        if first and view.shapes.get(node.input[0], (0,))[0] == 1:
            states = [view.input(node, k) for k in first]
            if not all(states) or any(name in view.fixed for name in states):
                yield Found(label(node), "begins every step from the same state")


def _instance_norm(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type == INSTANCE:
            yield Found(label(node), "a plug-in that needs cuDNN")


def _further_outputs(view: View) -> Iterator[Found]:
    for node in view.nodes:
        read = [n for n in node.output[1:] if n in view.readers]
        if read and node.op_type in (LAYER, "MaxPool"):
            yield Found(label(node), "more than its first output is read")


def _pooling(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type in POOLS and any(n != 1 for n in attributes(node).get("dilations", ())):
            yield Found(label(node), "dilated")


def _pooling_1d(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type in POOLS and len(attributes(node).get("kernel_shape", (1, 1))) == 1:
            yield Found(label(node), "over one axis")


def _resizing(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type != "Resize":
            continue
        given = attributes(node)
        where = given.get("coordinate_transformation_mode", b"half_pixel")
        how = given.get("mode", b"nearest")
        if where not in RESIZES or how not in (b"nearest", b"linear"):
            yield Found(label(node), f"{how.decode()} by {where.decode()}")


def _random(view: View) -> Iterator[Found]:
    for node in view.nodes:
        training = view.constants.get(view.input(node, 2)) if node.op_type == "Dropout" else None
        if node.op_type.startswith("Random") or (training is not None and training.any()):
            yield Found(label(node), "draws random numbers")
        elif node.op_type == "BatchNormalization" and attributes(node).get("training_mode", 0):
            yield Found(label(node), "in training mode")


def _einsum(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type != "Einsum":
            continue
        equation = attributes(node)["equation"].decode().replace(" ", "")
        terms = equation.split("->")[0].split(",")
        if "..." in equation or any(len(set(t)) < len(t) for t in terms):
            yield Found(label(node), f"{equation!r} has an ellipsis or a diagonal")


def _trilu(view: View) -> Iterator[Found]:
    for node in view.nodes:
        if node.op_type == "Trilu" and len(view.shapes.get(node.input[0], ())) > 2:
            yield Found(label(node), f"of rank {len(view.shapes[node.input[0]])}")


def _scatter(view: View) -> Iterator[Found]:
    for node in view.nodes:
        how = attributes(node).get("reduction", b"none")
        if node.op_type == "ScatterND" and how != b"none":
            yield Found(label(node), f"reduction {how.decode()!r}")
        elif node.op_type == "ScatterElements" and how != b"none":
            yield Found(label(node), f"reduction {how.decode()!r}", OLD)


def _top_k(view: View) -> Iterator[Found]:
    for node in view.nodes:
        k = view.constants.get(view.input(node, 1)) if node.op_type == "TopK" else None
        if k is not None and int(np.max(k)) >= MOST_K:
            yield Found(label(node), f"k = {int(np.max(k))}")
        elif node.op_type == "TopK" and not attributes(node).get("sorted", 1):
            yield Found(label(node), "unsorted")


def _pow(view: View) -> Iterator[Found]:
    whole = (TensorProto.INT32, TensorProto.INT64)
    for node in view.nodes:
        if node.op_type == "Pow" and any(view.types.get(n) in whole for n in node.input):
            yield Found(label(node), "of integers")


RULES = (
    Rule(
        "unknown-operator",
        "nothing is known of what the parsers do with it",
        "write it in operators of ONNX 17, or allow it by name (allow=...) after trying it",
        _unknown,
    ),
    Rule(
        "operator",
        "the parser rejects it; which versions do is in export/onnx_ops.py",
        "quantise with Q/DQ nodes; write the rest in other operators, or leave versions out of "
        "targets",
        _unread,
    ),
    Rule(
        "layer-norm",
        "8.5 has no LayerNormalization",
        "export again with 8.5 among the targets: it is then decomposed (export.norms)",
        _layer_norm,
        targets=("8.5",),
    ),
    Rule(
        "control-flow",
        "a step would not take the same time always, these rules do not look into bodies, and "
        "bundles refuse them",
        "export the branch that is taken, with static shapes; for a recurrence, one step of it "
        "with its state as input and output",
        _control,
    ),
    Rule(
        "reduce-axes",
        "axes are read from the attribute only; without one, all axes are reduced: wrong numbers, "
        "without an error where the result still broadcasts",
        "bring the file with export.foreign, which makes them attributes (opset 17)",
        _reduce_axes,
        targets=OLD,
    ),
    Rule(
        "recurrent-loop",
        "becomes a loop with two matrix products a step: no INT8, overhead at every step",
        "export one step with its state as input and output (docs/onnx.md)",
        _recurrent,
        severity="warn",
    ),
    Rule(
        "recurrent-kind",
        "only layout 0, input_forget 0, and the same activations in both directions are read",
        "export with the framework's defaults",
        _recurrent_kind,
    ),
    Rule(
        "forgets",
        "no TensorRT is to blame: a stream in steps of one sample would forget at each of them",
        "make its state an input and an output of the network, and list it in the spec's states",
        _forgets,
    ),
    Rule(
        "instance-norm",
        "a plug-in that needs cuDNN, which is not loaded, unless a flag of 8.6.1 is set",
        "export again with 8.5 or 8.6 among the targets: it is then decomposed (export.norms)",
        _instance_norm,
        targets=OLD,
    ),
    Rule(
        "further-outputs",
        "only the first output of LayerNormalization and MaxPool is computed",
        "compute the rest in other operators",
        _further_outputs,
    ),
    Rule(
        "dilated-pooling",
        "not read",
        "pool without dilation",
        _pooling,
    ),
    Rule(
        "pooling-over-one-axis",
        "the parser's table speaks of pooling over two or three axes only",
        "add an axis of length 1, as for convolutions",
        _pooling_1d,
        severity="warn",
    ),
    Rule(
        "resize",
        "only nearest and linear, and not cropped",
        "use nearest or linear interpolation",
        _resizing,
    ),
    Rule(
        "random",
        "seeds are ignored: no two runs would agree; training mode is not read",
        "export in eval mode",
        _random,
    ),
    Rule(
        "einsum",
        "ellipsis and diagonal came with 10.12",
        "write it as products and transposes",
        _einsum,
        targets=("8.5", "8.6", "10.3"),
    ),
    Rule(
        "trilu",
        "more than two axes came with 8.6",
        "fold it: a mask is a constant",
        _trilu,
        targets=("8.5",),
    ),
    Rule(
        "scatter",
        "ScatterND reduces in no version, ScatterElements from 10.0 on",
        "scatter without a reduction",
        _scatter,
    ),
    Rule(
        "top-k",
        f"k below {MOST_K}, and sorted",
        "take fewer",
        _top_k,
    ),
    Rule(
        "integer-pow",
        "integer exponents came with 10.8, integer bases with 10.12",
        "cast to float32 first",
        _pow,
        targets=("8.5", "8.6", "10.3"),
    ),
)  # fmt: skip
