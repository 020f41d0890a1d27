"""An engine beside ONNX Runtime on the same network: what differs is rounding, or wrong."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.bundle import REFERENCE, Bundle
from edge.reference import read_reference
from edge.runtime import Engine
from models.spec import Input

F32 = NDArray[np.float32]

STEPS = 200  # recurrent networks carry their own state through all of them
SEED = 0
# Of the largest magnitude of a tensor over all steps.  fp32 sums in another order; in fp16 a number
# has 11 bits; in int8 a rounding that falls the other way is 1/127 of the range, in some layers.
TOLERANCE = {"fp32": 1e-3, "tf32": 1e-2, "fp16": 2e-2, "int8": 5e-2}


class Difference(NamedTuple):
    """``relative``: largest by tensor, of the largest magnitude there; inf where only one of the
    two is finite.  ``worst``: largest by output, in its unit.
    """

    relative: dict[str, float]
    worst: dict[str, float]
    steps: int
    inputs: str  # what they were, for people

    def beyond(self, tolerance: float) -> list[str]:
        """The tensors that differ by more."""
        return [name for name, r in self.relative.items() if not r <= tolerance]


def compare(bundle: Bundle, reference: Engine, engine: Engine) -> Difference:
    """Both engines over the same inputs, each with a recurrent state of its own from zeros."""
    spec = bundle.spec
    recorded = recorded_inputs(bundle)
    largest = dict.fromkeys(reference.outputs, 0.0)
    apart = dict.fromkeys(reference.outputs, 0.0)
    worst = np.zeros(len(spec.outputs))
    steps = 0
    for e in (reference, engine):
        for s in spec.states:
            e.inputs[s.input].fill(0)
    for given in recorded or seeded_inputs(spec.inputs):
        for e in (reference, engine):
            for name, array in given.items():
                e.inputs[name][...] = array
            e.run()
            for s in spec.states:
                e.inputs[s.input][...] = e.outputs[s.output]
        for name, wanted in reference.outputs.items():
            largest[name] = max(largest[name], _largest(wanted))
            apart[name] = max(apart[name], _apart(wanted, engine.outputs[name]))
        if spec.values:
            with np.errstate(invalid="ignore"):  # infinite in both
                off = np.abs(engine.outputs[spec.values][0] - reference.outputs[spec.values][0])
            worst = np.fmax(worst, off)
        steps += 1
    relative = {n: apart[n] / largest[n] if largest[n] else apart[n] for n in apart}
    named = {o.name: float(w) for o, w in zip(spec.outputs, worst, strict=True)}
    return Difference(relative, named, steps, REFERENCE if recorded else "seeded noise")


def recorded_inputs(bundle: Bundle) -> list[dict[str, F32]]:
    """Of ``reference.npz``: up to STEPS consecutive steps; empty where that lacks an input."""
    try:
        arrays = read_reference(bundle.files[REFERENCE])
        rows = {i.name: arrays[i.name].reshape(-1, *i.shape)[:STEPS] for i in bundle.spec.inputs}
    except (KeyError, ValueError):
        return []
    n = min(len(r) for r in rows.values())
    return [{name: r[k] for name, r in rows.items()} for k in range(n)]


def seeded_inputs(inputs: tuple[Input, ...]) -> Iterator[dict[str, F32]]:
    """Normal noise, as prepared signals are of about that size; angle and load within their range.

    Every tenth step is a large one: what overflows in 16 bit shows.
    """
    rng = np.random.default_rng(SEED)
    for k in range(STEPS):
        size = 5.0 if k % 10 == 9 else 1.0
        yield {i.name: _noise(rng, i, size) for i in inputs}


def _noise(rng: np.random.Generator, i: Input, size: float) -> F32:
    if i.source in ("angle", "load"):
        return rng.uniform(i.min, i.max, i.shape).astype(np.float32)
    return (size * rng.normal(size=i.shape)).astype(np.float32)


def _largest(a: F32) -> float:
    finite = np.abs(a[np.isfinite(a)])
    return float(finite.max()) if finite.size else 0.0


def _apart(wanted: F32, found: F32) -> float:
    """NaN and infinity must be alike."""
    good = np.isfinite(wanted)
    if not np.array_equal(wanted[~good], found[~good], equal_nan=True):
        return float("inf")
    off = np.abs(found[good] - wanted[good])
    return float(off.max(initial=0.0)) if np.isfinite(off).all() else float("inf")
