"""INT8 inside an ONNX graph: Q/DQ pairs around the layers that are worth it, for one target.

``cpu``: ONNX Runtime fuses ``DQ -> Conv -> (Relu) -> Q`` to one integer kernel where the activation
is unsigned and the bias an integer.  Weights have 7 bits: on processors without VNNI two products
of 8 bits overflow the 16 that are added in, silently.
``trt``: TensorRT wants signed symmetric numbers, Q/DQ on float weights too, the bias in float, none
between a layer and its activation, and, in 8.x, scales in float32.

Neither touches what is carried from step to step: rounding it would add up.
"""

import itertools
import logging
import math
from collections.abc import Collection, Sequence
from copy import copy as copy_of
from typing import Any, Literal

Target = Literal["cpu", "trt"]
LAYERS = ("Conv", "Gemm", "MatMul")
AFTER = ("Relu", "Clip")  # run inside the layer before them
# Run on integers as they are, between layers that do.
CARRIERS = (*AFTER, "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Resize", "Add",
            "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")  # fmt: skip
NARROW = 16  # channels: integer kernels of fewer were slower than those of floats, with AVX2
SMALL = 512  # DEFAULT: a layer of fewer weights costs more to convert to and from than it saves


def named(model: Any) -> Any:
    """A copy whose nodes all have names of their own, by which they are kept or left out."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    seen: set[str] = set()
    for k, node in enumerate(copy.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{k}"
        seen.add(node.name)
    return copy


def layers(model: Any, least: int = SMALL, target: Target = "trt") -> list[str]:
    """Names of the layers with ``least`` constant weights or more, in the graph's order.

    For ``cpu`` without narrow convolutions.
    """
    shapes = {i.name: tuple(i.dims) for i in model.graph.initializer}

    def wanted(node: Any) -> bool:
        shape = shapes.get(node.input[1], ())
        if not shape or math.prod(shape) < least:
            return False
        return target != "cpu" or node.op_type != "Conv" or min(shape[:2]) >= NARROW

    return [n.name for n in model.graph.node if n.op_type in LAYERS and wanted(n)]


def quantised(
    model: Any, ranges: Any, target: Target, chosen: Collection[str], states: Collection[str] = ()
) -> Any:
    """``model`` with the layers ``chosen`` (and what runs on integers between them) in INT8.

    ``ranges`` as ``calibration.ranges`` finds them; ``states``: outputs that are carried on to the
    next step.  The opset stays.  No output of the graph is rounded, and nothing between the layers
    and a state.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    start = named(model)
    whole = _whole(start, states)
    # ONNX Runtime has integer kernels that write floats for these; TensorRT for all of them.
    floats = ["Gemm", "MatMul"] if target == "cpu" else [*LAYERS, "Add"]
    chosen = [
        n.name
        for n in start.graph.node
        if n.name in chosen and (n.op_type in floats or n.name not in whole)
    ]
    if not chosen:
        return start
    more = _adds(start, chosen) if target == "trt" else between(start, chosen)
    nodes = [*chosen, *(n for n in more if n not in whole)]
    copies = _apart(start, nodes, floats)
    extra: dict[str, Any] = {
        "ActivationSymmetric": target == "trt",
        "WeightSymmetric": True,
        "AddQDQPairToWeight": target == "trt",
        "QuantizeBias": target == "cpu",
        "OpTypesToExcludeOutputQuantization": floats,
    }
    quantiser = QDQQuantizer(
        start, True, target == "cpu", QuantType.QInt8,
        QuantType.QInt8 if target == "trt" else QuantType.QUInt8,
        _with_copies(ranges, copies), nodes, [], [*LAYERS, *CARRIERS], extra,
    )  # fmt: skip
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises against biases that are no constants
    try:
        quantiser.quantize_model()
    finally:
        logging.disable(before)
    made = quantiser.model.model
    _without_copies(made, copies)
    quantiser.model.topological_sort()
    if target == "trt":
        _fuse_adds(made)
    del made.opset_import[:]
    made.opset_import.extend(model.opset_import)
    made.ir_version = model.ir_version
    return _short(made) if target == "cpu" else made


def _whole(model: Any, states: Collection[str]) -> set[str]:
    """Nodes whose result must not be rounded: from the outputs back to a layer, that one too.

    To an output through what only carries; to a state through everything.
    """
    made_by = {o: n for n in model.graph.node for o in n.output}
    found: set[str] = set()
    todo = [(o.name, o.name in states) for o in model.graph.output]
    seen = set(todo)
    while todo:
        name, state = todo.pop()
        node = made_by.get(name)
        if node is None:
            continue
        found.add(node.name)
        if node.op_type in LAYERS or not (state or node.op_type in CARRIERS):
            continue
        more = {(i, state) for i in node.input} - seen
        seen |= more
        todo += more
    return found


def _apart(model: Any, nodes: Collection[str], floats: Collection[str]) -> dict[str, str]:
    """Tensors that both ``nodes`` and others read get a copy for ``nodes``; copy to original.

    The quantiser would round them for everybody: also for the sum that makes the next state.  Those
    that are rounded where they are made, by operators not among ``floats``, stay one.
    """
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel

    made_by = {o: n for n in model.graph.node for o in n.output}
    others = {o.name for o in model.graph.output}
    others |= {i for n in model.graph.node if n.name not in nodes for i in n.input}
    constant = {i.name for i in model.graph.initializer}

    def rounded(name: str) -> bool:
        maker = made_by.get(name)
        return maker is not None and maker.name in nodes and maker.op_type not in floats

    copies: dict[str, str] = {}
    for node in model.graph.node:
        for k, name in enumerate(node.input):
            if node.name in nodes and name and name in others - constant and not rounded(name):
                copy = f"{name}_for_integers"
                node.input[k] = copy
                copies[copy] = name
    for copy, name in copies.items():
        model.graph.node.append(onnx.helper.make_node("Identity", [name], [copy], name=copy))
    ONNXModel(model).topological_sort()  # or no types would be inferred
    return copies


def _with_copies(ranges: Any, copies: dict[str, str]) -> Any:
    """A copy of an original has its range."""
    found = copy_of(ranges)
    found.data = dict(ranges.data) | {c: ranges.data[name] for c, name in copies.items()}
    return found


def _without_copies(model: Any, copies: dict[str, str]) -> None:
    for node in [n for n in model.graph.node if n.name in copies]:
        model.graph.node.remove(node)
    for node in model.graph.node:
        for k, name in enumerate(node.input):
            node.input[k] = copies.get(name, name)


def between(model: Any, chosen: Collection[str]) -> list[str]:
    """Nodes that read only what chosen layers made, and whose results only such layers read; and
    activations behind a layer.
    """
    constant = {i.name for i in model.graph.initializer}
    constant |= {o for n in model.graph.node if n.op_type == "Constant" for o in n.output}
    integer: set[str] = set()  # tensors that layers made, or that were carried from such
    carried = []
    for node in model.graph.node:
        data = [i for i in node.input if i and i not in constant]
        if node.name in chosen:
            integer.update(node.output)
        elif node.op_type in CARRIERS and data and integer.issuperset(data):
            integer.update(node.output)
            carried.append(node)
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for i in node.input:
            readers.setdefault(i, []).append(node)
    made_by = {o: n for n in model.graph.node for o in n.output}
    outputs = {o.name for o in model.graph.output}
    kept: set[str] = set()
    for node in reversed(carried):
        follow = [r for o in node.output for r in readers.get(o, [])]
        onwards = follow and all(r.name in chosen or r.name in kept for r in follow)
        before = made_by.get(node.input[0])
        behind = node.op_type in AFTER and before is not None and before.name in chosen
        if behind or (onwards and not outputs.intersection(node.output)):
            kept.add(node.name)
    return [n.name for n in carried if n.name in kept]


def _adds(model: Any, chosen: Collection[str]) -> list[str]:
    """Additions of what a chosen layer made: each branch needs a pair, or the layer before it would
    write floats."""
    made_by = {o: n for n in model.graph.node for o in n.output}
    constant = {i.name for i in model.graph.initializer}

    def of_layer(name: str) -> bool:
        node = made_by.get(name)
        while node is not None and node.op_type in (*AFTER, "Resize", "MaxPool"):
            node = made_by.get(node.input[0])
        return node is not None and node.name in chosen

    return [
        n.name
        for n in model.graph.node
        if n.op_type == "Add" and not constant.intersection(n.input) and any(map(of_layer, n.input))
    ]


def _fuse_adds(model: Any) -> None:
    """No pair between a layer and the Add that it is to be fused with: one branch of each."""
    made_by = {o: n for n in model.graph.node for o in n.output}
    for add in [n for n in model.graph.node if n.op_type == "Add"]:
        for k in (1, 0):
            dequantise = made_by.get(add.input[k])
            if dequantise is None or dequantise.op_type != "DequantizeLinear":
                continue
            quantise = made_by.get(dequantise.input[0])
            if quantise is None:
                continue
            layer = made_by.get(quantise.input[0])
            if layer is not None and layer.op_type in LAYERS:
                add.input[k] = quantise.input[0]
                break
    _drop_unread(model)


def _drop_unread(model: Any) -> None:
    """Nodes and constants that nothing reads any more."""
    outputs = {o.name for o in model.graph.output}
    while True:
        read = outputs | {i for n in model.graph.node for i in n.input}
        unread = [n for n in model.graph.node if not read.intersection(n.output)]
        if not unread:
            break
        for node in unread:
            model.graph.node.remove(node)
    for i in [i for i in model.graph.initializer if i.name not in read]:
        model.graph.initializer.remove(i)


def _short(model: Any) -> Any:
    """Tensors inside the graph get short names: theirs were a fifth of a small network's file."""
    kept = {t.name for t in (*model.graph.input, *model.graph.output)}
    names = {"": "", **{name: name for name in kept}}
    free = filter(lambda short: short not in kept, (f"t{k:x}" for k in itertools.count()))
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            for k, name in enumerate(tensors):
                if name not in names:
                    names[name] = next(free)
                tensors[k] = names[name]
        if node.op_type not in LAYERS:
            node.name = ""
    for i in list(model.graph.initializer):
        if i.name in names:
            i.name = names[i.name]
        else:
            model.graph.initializer.remove(i)  # nobody reads it
    del model.graph.value_info[:]
    return model


def integer_layers(model: Any, names: Sequence[str]) -> list[str]:
    """Which of the layers have integers at their first two inputs: what was asked for is there."""
    made_by = {o: n for n in model.graph.node for o in n.output}
    pair = "DequantizeLinear"
    return [
        n.name
        for n in model.graph.node
        if n.name in names and all(i in made_by and made_by[i].op_type == pair for i in n.input[:2])
    ]
