"""What every engine checks and does alike: tensors as the spec promises, and warming up."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from edge.runtime import EngineError
from models.spec import ModelSpec

Shapes = Mapping[str, tuple[int, ...]]


def check_contract(spec: ModelSpec, inputs: Shapes, outputs: Shapes) -> None:
    """Refuse a network whose tensors are not those its spec promises.  Raises EngineError."""
    sides = (("input", spec.input_shapes, inputs), ("output", spec.output_shapes, outputs))
    for side, want, have in sides:
        wrong = {k: v for k, v in want.items() if have.get(k) != v}
        if wrong or (side == "input" and set(want) != set(have)):
            raise EngineError(
                f"{spec.name}: the spec wants {side}s {want}, the network has {dict(have)}; "
                "the bundle's parts do not belong together: export it again"
            )


def settle(run: Callable[[], None], buffers: Iterable[NDArray[Any]]) -> float:
    """Run until the time per call settles, then zero ``buffers``; the median time in ms."""
    times_ms = []
    for _ in range(20):
        start_ns = time.monotonic_ns()
        run()
        times_ms.append((time.monotonic_ns() - start_ns) * 1e-6)
    for array in buffers:
        array.fill(0)
    return statistics.median(times_ms[10:])
