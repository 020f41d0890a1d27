"""ONNX Runtime on the CPU: the default engine, one thread, bound to preallocated buffers."""

import statistics
import time
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.runtime import EngineError
from models.spec import ModelSpec

_DTYPES = {"tensor(float)": np.float32}


class OrtEngine:
    """See ``edge.runtime.Engine``.  The engine owns its buffers and binds them once."""

    def __init__(self, bundle: Bundle):
        options = ort.SessionOptions()
        # One thread: on two cores a second one costs more in wake-ups and jitter than it gains.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(
                str(bundle.model_path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as e:  # onnxruntime raises its own family of undocumented types
            raise EngineError(f"ONNX Runtime cannot load {bundle.model_path}: {e}") from e
        self.inputs = _buffers(self._session.get_inputs(), bundle)
        self.outputs = _buffers(self._session.get_outputs(), bundle)
        _check_contract(bundle.spec, self.inputs, self.outputs)
        self._binding = self._session.io_binding()
        for name, array in self.inputs.items():
            self._binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in self.outputs.items():
            self._binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)

    def warm_up(self) -> float:
        """Run until the time per call settles, then zero every buffer; the median time in ms."""
        times_ms = []
        for _ in range(20):
            start_ns = time.monotonic_ns()
            self.run()
            times_ms.append((time.monotonic_ns() - start_ns) * 1e-6)
        for array in (*self.inputs.values(), *self.outputs.values()):
            array.fill(0)
        return statistics.median(times_ms[10:])

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
                f"{bundle.model_path}: tensor {t.name!r} is {t.type} {t.shape}; "
                "export it again with static float32 shapes"
            )
        found[t.name] = np.zeros(t.shape, _DTYPES[t.type])
    return found


def _check_contract(
    spec: ModelSpec, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]
) -> None:
    """Refuse a network whose tensors are not those its spec promises."""
    n = len(spec.outputs)
    want_in = {i.name: i.shape for i in spec.inputs} | {s.input: s.shape for s in spec.states}
    want_out = {s.output: s.shape for s in spec.states}
    want_out |= {name: (1, n) for name in (spec.values, spec.sd) if name}
    if spec.ahead:
        want_out[spec.ahead] = (1, len(spec.ahead_ms) * n)
    if spec.maps:  # on the grid of the image they belong to
        image = next(i.shape for i in spec.inputs if i.source == "us")
        want_out[spec.maps] = (1, len(spec.map_names), *image[-2:])
    for side, want, have in (("input", want_in, inputs), ("output", want_out, outputs)):
        shapes = {k: v.shape for k, v in have.items()}
        wrong = {k: v for k, v in want.items() if shapes.get(k) != v}
        if wrong or (side == "input" and set(want) != set(shapes)):
            raise EngineError(
                f"{spec.name}: the spec wants {side}s {want}, the network has {shapes}; "
                "the bundle's parts do not belong together: export it again"
            )
