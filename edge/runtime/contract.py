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
