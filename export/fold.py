"""Compute at once what does not depend on the inputs, and drop what does nothing.

ONNX Runtime's own basic optimisation, done offline and written back: constants are folded (shapes
of static tensors are constants), batch norms go into convolutions, equal nodes become one.
"""

import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto

from export.onnx_graph import ONNX, ExportError, graphs, opset

LEFT_OUT = [
    "TransposeOptimizer",  # moves transposes, for its own CPU kernels: elbow-nmm got 31 nodes more
    "LayerNormFusionL1",  # would put together again what export.norms took apart
    "GeluFusionL1",
]
HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
QUANTISED = ("QuantizeLinear", "DequantizeLinear")


def fold(model: ModelProto) -> ModelProto:
    """The same network with fewer nodes, still of the standard's operators and of its opset.

    A network with Q/DQ nodes or 16-bit floats is returned as it is: the optimisation would store
    its weights as integers, which TensorRT 8 rejects, and compute in 32 bits what this CPU cannot
    in 16.  So fold first, choose a precision after.  Raises ExportError.
    """
    if not foldable(model):
        return model
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(path)
        try:
            ort.InferenceSession(
                model.SerializeToString(),
                options,
                ["CPUExecutionProvider"],
                disabled_optimizers=LEFT_OUT,
            )
        except Exception as e:  # onnxruntime raises its own family of undocumented types
            raise ExportError(f"ONNX Runtime {ort.__version__} cannot load the network: {e}") from e
        found = onnx.load(str(path))
    foreign = (
        {n.domain for g in graphs(found.graph) for n in g.node}
        - {n.domain for g in graphs(model.graph) for n in g.node}
        - set(ONNX)
    )
    if foreign:
        raise ExportError(f"folding wrote operators of {sorted(foreign)}: use another onnxruntime")
    found.ir_version = model.ir_version
    for field in ("opset_import", "metadata_props"):  # it lists every domain that it knows
        del getattr(found, field)[:]
        getattr(found, field).extend(getattr(model, field))
    found.producer_name, found.producer_version = model.producer_name, model.producer_version
    assert opset(found) == opset(model)
    return found


def foldable(model: ModelProto) -> bool:
    """Whether it is of float32, and not quantised yet."""
    kinds = {i.data_type for g in graphs(model.graph) for i in g.initializer}
    kinds |= {
        a.i for g in graphs(model.graph) for n in g.node for a in n.attribute if n.op_type == "Cast"
    }
    kinds |= {
        v.type.tensor_type.elem_type
        for v in (*model.graph.input, *model.graph.output, *model.graph.value_info)
    }
    quantised = any(n.op_type in QUANTISED for g in graphs(model.graph) for n in g.node)
    return not quantised and not kinds & set(HALVES)
