"""Inference engines behind one door: ``open_engine(bundle)``."""

from typing import Any, Protocol

from numpy.typing import NDArray

from edge.bundle import Bundle


class EngineError(RuntimeError):
    """An engine cannot be built or loaded; the message names the remedy."""


class Engine(Protocol):
    """A network with static shapes and preallocated host buffers, used by one thread.

    ``inputs`` and ``outputs`` are the buffers themselves, by tensor name: write the inputs in
    place, ``run``, read the outputs.  Nothing is allocated in between.
    """

    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]

    def warm_up(self) -> float:
        """Run until the time per call settles, then zero every buffer; the time in ms."""

    def run(self) -> None:
        """One inference from ``inputs`` to ``outputs``."""

    def close(self) -> None:
        """Release the device's memory; may be called twice."""


def open_engine(bundle: Bundle) -> Engine:
    """The engine for a bundle on this machine.  Raises EngineError with the remedy."""
    from edge.runtime.ort import OrtEngine

    return OrtEngine(bundle)
