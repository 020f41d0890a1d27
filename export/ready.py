"""The last steps of any network on its way to a device, ours or anybody's."""

import logging
from collections.abc import Collection

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from export.fold import fold
from export.norms import INSTANCE, LAYER, decompose
from export.onnx_graph import ExportError
from export.onnx_ops import TARGETS
from export.onnx_rules import check, refused, report
from export.onnx_spec import embed
from export.opset import IR_VERSION
from models.spec import ModelSpec

log = logging.getLogger(__name__)

LACKING = {LAYER: {"8.5"}, INSTANCE: {"8.5", "8.6"}}  # the versions that want a norm decomposed


def ready(
    model: ModelProto,
    spec: ModelSpec,
    targets: Collection[str] = TARGETS,
    allow: Collection[str] = (),
) -> ModelProto:
    """The same network as TensorRT of ``targets`` reads it: folded, checked, ``spec`` inside.

    ``model`` is of opset 17, its inputs static.  Norms that a target lacks are decomposed, and
    infinite constants (masks have them) become the largest number there is.  Raises ExportError
    with every rule (``export.onnx_rules``) that forbids the network; the rest is logged.
    """
    model = fold(decompose(model, [op for op, lack in LACKING.items() if lack & set(targets)]))
    _bound(model)
    model.ir_version = IR_VERSION
    embed(model, spec)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as e:
        raise ExportError(f"{spec.name}: the network is not a valid ONNX file: {e}") from e
    findings = check(model, targets, allow)
    if bad := refused(findings):
        raise ExportError(f"{spec.name}: not every TensorRT would do what it says:\n{report(bad)}")
    if findings:
        log.warning("%s:\n%s", spec.name, report(findings))
    return model


def _bound(model: ModelProto) -> None:
    """Bundles have no infinite weights; NaN stays, to be refused."""
    for weights in model.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype.kind == "f" and np.isinf(values).any():
            most = np.finfo(values.dtype).max
            bounded = np.clip(values, -most, most)
            weights.CopyFrom(numpy_helper.from_array(bounded, weights.name))
