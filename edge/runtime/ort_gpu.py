"""ONNX Runtime's CUDA and TensorRT providers: alternatives for a GPU where they are installed."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from edge.bundle import Bundle
from edge.runtime import EngineError
from edge.runtime.onnx_contents import contents_of
from edge.runtime.ort import CPU, OrtEngine
from edge.runtime.settings import Runtime

PROVIDERS = {"ort-cuda": "CUDAExecutionProvider", "ort-tensorrt": "TensorrtExecutionProvider"}


class OrtGpuEngine(OrtEngine):
    """See ``edge.runtime.Engine``.  Each run copies in and out, and allocates.

    Raises EngineError, also where ONNX Runtime itself would quietly take the CPU instead.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime):
        provider = PROVIDERS[runtime.engine]
        network = bundle.network("trt", runtime.precision)  # what is made for a GPU
        if provider not in ort.get_available_providers():
            raise EngineError(
                f"this ONNX Runtime has no {provider}: install onnxruntime-gpu in place of "
                'onnxruntime (on a Jetson: NVIDIA\'s build), or set runtime.engine = "auto"'
            )
        options = {"use_tf32": "0"}  # fp32 is to mean fp32
        if runtime.engine == "ort-tensorrt":
            options = _tensorrt(bundle.files[network.file], runtime.folder / "onnxruntime")
        super().__init__(bundle, network, [(provider, options), CPU])
        if self._session.get_providers()[0] != provider:
            raise EngineError(
                f"ONNX Runtime does not start its {provider}: its log names the CUDA library it "
                'wants; install that, or set runtime.engine = "auto"'
            )
        self._names = list(self.outputs)

    def run(self) -> None:
        """One inference from ``inputs`` to ``outputs``."""
        # Not through the binding: a GPU provider copies a bound input when it is bound, once, and
        # would answer for those first values for ever.
        for name, found in zip(self._names, self._session.run(None, self.inputs), strict=True):
            np.copyto(self.outputs[name], found)


def _tensorrt(onnx: bytes, folder: Path) -> dict[str, Any]:
    """Precision as the file has it; what was built and timed is kept for the next start."""
    contents = contents_of(onnx)
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "trt_fp16_enable": contents.has_fp16,
        "trt_int8_enable": contents.has_int8,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder),
    }
