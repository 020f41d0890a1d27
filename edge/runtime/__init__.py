"""Inference engines behind one door: ``open_engine(bundle, runtime)``."""

from typing import Any, Protocol

from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.runtime.settings import CPU, Runtime


class EngineError(RuntimeError):
    """An engine cannot be built, loaded or run; the message names the remedy."""


class Engine(Protocol):
    """A network with static shapes and preallocated host buffers, used by one thread at a time.

    ``inputs`` and ``outputs`` are the buffers themselves, by tensor name: write the inputs in
    place, ``run``, read the outputs.  ``name`` says what runs it; a recording keeps it.
    """

    name: str
    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]

    def warm_up(self) -> float:
        """Run until the time per call settles, then zero every buffer; the time in ms."""

    def run(self) -> None:
        """One inference from ``inputs`` to ``outputs``."""

    def close(self) -> None:
        """Release the device's memory; may be called twice."""


def open_engine(bundle: Bundle, runtime: Runtime = CPU) -> Engine:
    """The engine for a bundle on this machine.

    Raises EngineError with the remedy, and BundleError for a precision that it does not have.
    """
    if runtime.engine in ("auto", "trt"):
        from edge.runtime.trt_open import open_tensorrt, was_built

        # Whoever builds an engine wants it: from then on, what is wrong with it is said.
        if runtime.engine == "trt" or runtime.build or was_built(bundle, runtime):
            return open_tensorrt(bundle, runtime)
    if runtime.engine in ("ort-cuda", "ort-tensorrt"):
        from edge.runtime.ort_gpu import OrtGpuEngine

        return OrtGpuEngine(bundle, runtime)
    from edge.runtime.ort import OrtEngine

    return OrtEngine(bundle, bundle.network("cpu", runtime.precision))
