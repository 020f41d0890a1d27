"""ONNX Runtime on the CPU: the default engine, one thread, bound to preallocated buffers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.bundle_index import Network
from edge.runtime import EngineError
from edge.runtime.contract import check_contract, settle

CPU = "CPUExecutionProvider"
_DTYPES = {"tensor(float)": np.float32}


class OrtEngine:
    """See ``edge.runtime.Engine``.  The engine owns its buffers and binds them once."""

    def __init__(self, bundle: Bundle, network: Network, providers: Sequence[Any] = (CPU,)):
        options = ort.SessionOptions()
        # One thread: on two cores a second one costs more in wake-ups and jitter than it gains.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(
                bundle.files[network.file], options, providers=list(providers)
            )
        except Exception as e:  # onnxruntime raises its own family of undocumented types
            raise EngineError(f"ONNX Runtime cannot load {network.file} of {bundle.id}: {e}") from e
        provider = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        self.name = f"ONNX Runtime {ort.__version__} {provider}, {network.precision}"
        self.inputs = _buffers(self._session.get_inputs(), bundle)
        self.outputs = _buffers(self._session.get_outputs(), bundle)
        inputs, outputs = ({k: v.shape for k, v in b.items()} for b in (self.inputs, self.outputs))
        check_contract(bundle.spec, inputs, outputs)
        self._binding = self._session.io_binding()
        for name, array in self.inputs.items():
            self._binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in self.outputs.items():
            self._binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)

    def warm_up(self) -> float:
        """Run until the time per call settles, then zero every buffer; the median time in ms."""
        return settle(self.run, (*self.inputs.values(), *self.outputs.values()))

    def run(self) -> None:
        """One inference from ``inputs`` to ``outputs``."""
        self._session.run_with_iobinding(self._binding)

    def close(self) -> None:
        """Release the session's memory."""
        self._binding = self._session = None


def _buffers(tensors: list[Any], bundle: Bundle) -> dict[str, NDArray[Any]]:
    found = {}
    for t in tensors:
        if t.type not in _DTYPES or not all(isinstance(n, int) and n > 0 for n in t.shape):
            raise EngineError(
                f"{bundle.id}: tensor {t.name!r} is {t.type} {t.shape}; "
                "export it again with static float32 shapes"
            )
        found[t.name] = np.zeros(t.shape, _DTYPES[t.type])
    return found
