"""From a PyTorch network to an ONNX file with static shapes, checked against the network itself."""

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.onnx_symbols import know_them
from models.spec import ModelSpec

OPSET = 17  # what TensorRT 10 on JetPack 6 and ONNX Runtime of 2022 both read
IR_VERSION = 8
TOLERANCE = 1e-4  # of the largest magnitude of an output; float32 sums in another order


class ExportError(RuntimeError):
    """The exported network does not do what the original does."""


def export_onnx(
    net: nn.Module, spec: ModelSpec, examples: list[dict[str, NDArray[np.float32]]], path: Path
) -> float:
    """Write ``net`` to ``path``; the largest relative difference to PyTorch over ``examples``.

    An example maps each input and state of the spec to an array; use real ones.  The network's
    ``forward`` takes inputs then states, and returns those of values, sd, maps and ahead that
    the spec names, then states.
    Batch norm is folded into the convolutions.  Raises ExportError.
    """
    import onnx

    know_them(OPSET)
    net = net.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # The tracing exporter is deprecated, yet the other one writes opset 18 and up.
        warnings.filterwarnings("ignore", ".*legacy TorchScript-based ONNX.*", DeprecationWarning)
        warnings.filterwarnings("ignore", ".*feature will be removed.*", DeprecationWarning)
        torch.onnx.export(
            net,
            tuple(_tensors(examples[0], spec)),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=input_names(spec),
            output_names=output_names(spec),
        )
    model = onnx.load(str(path))
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return compare(net, spec, examples, path)


def compare(
    net: nn.Module, spec: ModelSpec, examples: list[dict[str, NDArray[np.float32]]], path: Path
) -> float:
    """The largest relative difference between PyTorch and ONNX Runtime.  Raises ExportError."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for example in examples:
        with torch.inference_mode():
            wanted = [t.numpy() for t in _results(net(*_tensors(example, spec)))]
        found = session.run(output_names(spec), {n: example[n] for n in input_names(spec)})
        for w, f in zip(wanted, found, strict=True):
            relative = np.max(np.abs(w - f)) / max(1.0, float(np.max(np.abs(w))))
            worst = float(np.maximum(worst, relative))  # unlike max(), lets NaN through
    if not worst <= TOLERANCE:
        raise ExportError(f"{path} differs from the network by {worst:.2g} of the largest output")
    return worst


def input_names(spec: ModelSpec) -> list[str]:
    """Tensor names in the order of the network's arguments."""
    return [i.name for i in spec.inputs] + [s.input for s in spec.states]


def output_names(spec: ModelSpec) -> list[str]:
    """Tensor names in the order of the network's results."""
    given = [name for name in (spec.values, spec.sd, spec.maps, spec.ahead) if name]
    return given + [s.output for s in spec.states]


def _tensors(example: dict[str, NDArray[np.float32]], spec: ModelSpec) -> list[Tensor]:
    return [torch.from_numpy(example[n]) for n in input_names(spec)]


def _results(given: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A network with one result returns it bare."""
    return (given,) if isinstance(given, Tensor) else given
