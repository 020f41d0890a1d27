"""To opset 17 and IR 8, which every TensorRT from 8.5 on and ONNX Runtime of 2022 read, from any.

Newer files are what PyTorch writes today; TensorRT 8.5 and 8.6 read them without an error and
compute something else (``export/onnx_rules.py``).  ONNX's own converter takes older files up.  Down
it leaves invalid ones: here every node either means the same in opset 17, or is rewritten, or is
refused.
"""

import onnx
from onnx import GraphProto, ModelProto, NodeProto, inliner
from onnx.defs import OpSchema

from export.fold import fold
from export.norms import GROUP, decompose
from export.onnx_graph import ONNX, ExportError, constants, graphs, label, opset, shapes
from export.opset_ops import REWRITTEN, Tensors

OPSET = 17
IR_VERSION = 8
OLDEST = 7  # ONNX's own converter begins there


def to_opset_17(model: ModelProto) -> ModelProto:
    """The same network; what later versions of the format keep beside nodes is dropped.

    Raises ExportError with the node that opset 17 has no word for.
    """
    found = opset(model)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST <= found <= newest:
        raise ExportError(
            f"opset {found}: {OLDEST} to {newest} can be read"
            + (": pip install -U onnx" if found > newest else ": export the network again")
        )
    model = inliner.inline_local_functions(model)
    if found < OPSET:
        try:
            model = onnx.version_converter.convert_version(model, OPSET)
        except Exception as e:  # its assertions arrive as RuntimeError, ConvertError and others
            raise ExportError(f"opset {found} does not convert to {OPSET}: {e}") from e
    elif found > OPSET:
        model = _lowered(_without_new_functions(decompose(model, [GROUP])))
    model = onnx.shape_inference.infer_shapes(_plain(model))
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as e:
        raise ExportError(f"what became of opset {found} is not valid in {OPSET}: {e}") from e
    return model


def _without_new_functions(model: ModelProto) -> ModelProto:
    """Operators newer than 17 by what the standard defines them as, until none is left.

    Gelu, Mish, Swish, RMSNormalization and their like: the standard writes them in others.
    """
    while new := [n for n in _standard(model) if _defines(n, opset(model))]:
        names = sorted({n.op_type for n in new})
        for node in new:
            _with_defaults(node, _schema(node, opset(model)))
        known = onnx.shape_inference.infer_shapes(model)
        for w in known.graph.initializer:  # the inliner wants to be told their types as well
            told = onnx.helper.make_tensor_value_info(w.name, w.data_type, w.dims)
            known.graph.value_info.append(told)
        try:
            model = inliner.inline_selected_functions(
                known, [("", name) for name in names], inline_schema_functions=True
            )
        except RuntimeError as e:
            raise ExportError(f"no older words for {', '.join(names)}: {e}") from e
        model = fold(model)  # definitions compute their axes
    return model


def _with_defaults(node: NodeProto, schema: OpSchema) -> None:
    """The inliner leaves out what the node leaves to the standard."""
    given = {a.name for a in node.attribute}
    defaults = [a.default_value for a in schema.attributes.values() if a.default_value.name]
    node.attribute.extend(d for d in defaults if d.name not in given)


def _defines(node: NodeProto, version: int) -> bool:
    schema = _schema(node, version)
    kinds = ("has_function", "has_context_dependent_function")  # not in onnx's own stubs
    return any(getattr(schema, kind) for kind in kinds) and _at_17(node) is None


def _lowered(model: ModelProto) -> ModelProto:
    version = opset(model)
    for graph in graphs(model.graph):
        tensors = Tensors(graph, constants(graph), shapes(graph))
        for node in list(graph.node):
            if node.domain in ONNX:
                _lower(node, version, tensors)
    return model


def _lower(node: NodeProto, version: int, tensors: Tensors) -> None:
    now, then = _schema(node, version), _at_17(node)
    if then is None:
        raise ExportError(
            f"{label(node)} is of opset {now.since_version}: opset {OPSET} has no such operator; "
            f"export with opset_version={OPSET}, or write it in others"
        )
    if now.since_version <= OPSET or (node.op_type not in REWRITTEN and _same(now, then)):
        return
    if node.op_type not in REWRITTEN:
        raise ExportError(
            f"{label(node)} of opset {now.since_version} means something else than in {OPSET}: "
            f"export with opset_version={OPSET}"
        )
    REWRITTEN[node.op_type](node, tensors)


def _same(now: OpSchema, then: OpSchema) -> bool:
    """Whether only the types it takes have grown: the checker looks at those afterwards."""
    return _interface(now) == _interface(then) and now.doc == then.doc


def _interface(schema: OpSchema) -> object:
    defaults = {
        name: (a.required, a.type, a.default_value.SerializeToString())
        for name, a in schema.attributes.items()
    }
    sides = [[(p.name, p.option) for p in side] for side in (schema.inputs, schema.outputs)]
    return sides, defaults


def _schema(node: NodeProto, version: int) -> OpSchema:
    try:
        return onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError as e:
        raise ExportError(f"{label(node)}: opset {version} has no such operator") from e


def _at_17(node: NodeProto) -> OpSchema | None:
    try:
        return onnx.defs.get_schema(node.op_type, OPSET, "")
    except onnx.defs.SchemaError:
        return None


def _standard(model: ModelProto) -> list[NodeProto]:
    return [n for g in graphs(model.graph) for n in g.node if n.domain in ONNX]


def _plain(model: ModelProto) -> ModelProto:
    """Opset 17, IR 8, without what came after it: exporters leave paths of their machine there."""
    for imported in model.opset_import:
        if imported.domain in ONNX:
            imported.version = OPSET
    model.ir_version = IR_VERSION
    for graph in graphs(model.graph):
        _stripped(graph)
        for part in (*graph.node, *graph.input, *graph.output, *graph.value_info):
            _stripped(part)
        for weights in graph.initializer:
            _stripped(weights)
    return model


def _stripped(part: "GraphProto | NodeProto | onnx.ValueInfoProto | onnx.TensorProto") -> None:
    for name in ("metadata_props", "doc_string", "overload", "device_configurations"):
        if name in part.DESCRIPTOR.fields_by_name:
            part.ClearField(name)
