"""From a PyTorch network to an ONNX file with static shapes, checked against the network itself."""

import logging
import tempfile
import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn

from export.difference import TOLERANCE, Difference, difference
from export.onnx_graph import ExportError, Runner
from export.onnx_ops import TARGETS
from export.onnx_symbols import know_them
from export.opset import OPSET
from export.ready import ready
from models.spec import ModelSpec

log = logging.getLogger(__name__)


Example = dict[str, NDArray[np.float32]]


def export_onnx(
    net: nn.Module,
    spec: ModelSpec,
    examples: list[Example],
    path: Path,
    targets: Collection[str] = TARGETS,
    allow: Collection[str] = (),
) -> Difference:
    """Write ``net`` to ``path``, once it gives there what PyTorch says of every example.

    An example maps each input and state of the spec to an array; use real ones.  The network's
    ``forward`` takes inputs then states, and returns those of values, sd, maps and ahead that
    the spec names, then states.  The file is as ``export.ready`` leaves it, for TensorRT of
    ``targets``.  Raises ExportError.
    """
    model = ready(_traced(net.eval(), spec, examples[0]), spec, targets, allow)
    found = compare(net, spec, examples, model)
    log.info("%s: ONNX Runtime beside PyTorch: %s", spec.name, found)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return found


def compare(
    net: nn.Module, spec: ModelSpec, examples: list[Example], file: Path | ModelProto
) -> Difference:
    """How far ONNX Runtime is from PyTorch.  Raises ExportError beyond TOLERANCE."""
    runner, pairs = Runner(file), []
    for k, example in enumerate(examples):
        with torch.inference_mode():
            results = _results(net(*_tensors(example, spec)))
        wanted = dict(zip(output_names(spec), (t.numpy() for t in results), strict=True))
        if wrong := [n for n, w in wanted.items() if not np.isfinite(w).all()]:
            raise ExportError(f"{spec.name}: of example {k} the network itself says NaN: {wrong}")
        pairs.append((wanted, runner({n: example[n] for n in input_names(spec)})))
    found = difference(spec, pairs)
    if not found.relative <= TOLERANCE:
        raise ExportError(f"{spec.name}: the file differs from the network: {found}")
    return found


def input_names(spec: ModelSpec) -> list[str]:
    """Tensor names in the order of the network's arguments."""
    return list(spec.input_shapes)


def output_names(spec: ModelSpec) -> list[str]:
    """Tensor names in the order of the network's results."""
    return list(spec.output_shapes)


def _traced(net: nn.Module, spec: ModelSpec, example: Example) -> ModelProto:
    """By PyTorch's tracing exporter, which writes opset 17.

    It is deprecated.  But the newer one begins at opset 18, and of our seven networks it failed on
    one and did not end on another; what it writes comes in through ``export.foreign``.
    """
    know_them(OPSET)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.filterwarnings("ignore", ".*legacy TorchScript-based ONNX.*", DeprecationWarning)
        warnings.filterwarnings("ignore", ".*feature will be removed.*", DeprecationWarning)
        warnings.filterwarnings("ignore", ".*batch_size other than 1", UserWarning)  # it is 1
        path = Path(folder) / "traced.onnx"
        torch.onnx.export(
            net,
            tuple(_tensors(example, spec)),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=input_names(spec),
            output_names=output_names(spec),
        )
        return onnx.load(str(path))


def _tensors(example: Example, spec: ModelSpec) -> list[Tensor]:
    return [torch.from_numpy(example[n]) for n in input_names(spec)]


def _results(given: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A network with one result returns it bare."""
    return (given,) if isinstance(given, Tensor) else given
