"""How far two runs of a network are apart: in bits, of the largest output, in an output's unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec import ModelSpec

Arrays = Mapping[str, NDArray[Any]]
STATE, MAP = "state", "probability"  # units of what is no value
TOLERANCE = 1e-4  # of the largest magnitude of an output; float32 sums in another order


@dataclass(frozen=True)
class Difference:
    """The largest over every example; NaN where one side alone is NaN."""

    relative: float  # of the largest magnitude of an output tensor, at least 1
    ulps: int  # float32 numbers from one result to the other; 0 = bit for bit
    by_output: Mapping[str, tuple[float, str]]  # name: largest difference, and its unit

    def __str__(self) -> str:
        if self.ulps == 0:
            return "the same bits"
        parts = [f"{name} {worst:.2g} {unit}" for name, (worst, unit) in self.by_output.items()]
        told = f" ({', '.join(parts)})" if parts else ""
        return f"at most {self.relative:.2g} of the largest output{told}"


def difference(spec: ModelSpec | None, pairs: Sequence[tuple[Arrays, Arrays]]) -> Difference:
    """Of results wanted and found, each by tensor name, one pair an example.

    What is NaN or the same infinity on both sides is equal.  With a ``spec``, each of its outputs
    is told apart, in its own unit.
    """
    relative, ulps = 0.0, 0
    units: dict[str, tuple[float, str]] = {}
    for wanted, found in pairs:
        for name, w in wanted.items():
            gap = _gap(w, found[name])
            size = np.abs(w[np.isfinite(w)]).max(initial=1.0)
            relative = _worse(relative, _largest(gap) / float(size))
            ulps = max(ulps, _ulps(w, found[name]))
            for column, unit, part in _columns(spec, name, gap):
                units[column] = _worse(units.get(column, (0.0,))[0], _largest(part)), unit
    return Difference(relative, ulps, units)


def _gap(w: NDArray[Any], f: NDArray[Any]) -> NDArray[np.float64]:
    if w.shape != f.shape:
        return np.full(w.shape, np.inf)
    same = (w == f) | (np.isnan(w) & np.isnan(f))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.abs(w.astype(np.float64) - f))


def _ulps(w: NDArray[Any], f: NDArray[Any]) -> int:
    """Steps between float32 numbers; those of different sign meet at 0."""
    if w.shape != f.shape:
        return 2**32
    steps = []
    for x in (w, f):
        bits = x.astype(np.float32).view(np.int32).astype(np.int64)
        steps.append(np.where(bits < 0, -(bits & 0x7FFF_FFFF), bits))
    both_nan = np.isnan(w) & np.isnan(f)
    return int(np.where(both_nan, 0, np.abs(steps[0] - steps[1])).max(initial=0))


def _columns(
    spec: ModelSpec | None, name: str, gap: NDArray[np.float64]
) -> list[tuple[str, str, NDArray[np.float64]]]:
    """``gap`` by what a person calls it."""
    if spec is None:
        return []
    if name == spec.maps:
        return [(f"maps of {what}", MAP, gap[:, k]) for k, what in enumerate(spec.map_names)]
    if name not in (spec.values, spec.sd, spec.ahead):
        return [(name, STATE, gap)]
    rows = gap.reshape(-1, len(spec.outputs))
    what = {spec.sd: " SD", spec.ahead: " ahead"}.get(name, "")
    return [(f"{o.name}{what}", o.unit, rows[:, k]) for k, o in enumerate(spec.outputs)]


def _largest(gap: NDArray[np.float64]) -> float:
    return float(gap.max(initial=0.0))


def _worse(a: float, b: float) -> float:
    return float(np.maximum(a, b))  # unlike max(), lets NaN through
