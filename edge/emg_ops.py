"""The EMG steps a model may name; each works on one hop at a time into buffers of its own.

=========  ==========================  ==========================================================
step       arguments                   what it does to ``(hop, channels)`` microvolts
=========  ==========================  ==========================================================
highpass   hz, order=2                 Butterworth; takes electrode drift away
bandpass   low_hz, high_hz, order=2    Butterworth
notch      hz, q=30                    takes one mains frequency away
envelope   hz, order=2                 Butterworth low-pass
rectify                                absolute value
bin        rows=1                      mean over each of so many equal parts of the hop
rms                                    root mean square over the hop: ``(1, channels)``
scale      gain                        ``gain * x``
log1p      gain                        ``log(1 + gain * x)``, for x of zero or more
clip       max                         to ``-max .. max``
window     hops                        the last ``hops`` results, oldest first, zeros before start
limits     rail_uv                     leaves x alone; says where the amplifier saturates
=========  ==========================  ==========================================================

Consecutive filters become one block filter.  Sums run in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from edge.block_filter import BlockFilter
from edge.filters import FILTERS, design
from edge.steps import args_of, count
from models.spec import SpecError, Step

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Op:
    """One step, built: ``run`` returns a reused buffer; ``restart(level)`` forgets the past."""

    run: Callable[[F64], F64]
    restart: Callable[[F64], None]
    out: F64  # what ``run`` returns, for its shape


def build_ops(steps: Sequence[Step], fs_hz: float, hop: int, channels: int) -> list[Op]:
    """The steps as a chain on ``(hop, channels)`` float64.  Raises SpecError."""
    ops: list[Op] = []
    x = np.zeros((hop, channels))
    for filters, group in groupby(steps, lambda s: s.op in FILTERS):
        same = list(group)
        if filters:
            if len(x) != hop:
                raise SpecError(f"step {same[0].op!r} comes after the hop was reduced to one row")
            sos = np.concatenate([design(s, fs_hz) for s in same])
            ops.append(_filter(sos, x, first=not ops))
            x = ops[-1].out
            continue
        for step in same:
            if step.op != "limits":
                ops.append(_pointwise(step, x))
                x = ops[-1].out
    return ops


def _filter(sos: F64, x: F64, first: bool) -> Op:
    block = BlockFilter(sos, *x.shape)
    zero = np.zeros(x.shape[1])

    def run(x: F64) -> F64:
        block.x[...] = x
        return block.run()

    # Only the electrodes have an offset to settle at; rectified EMG starts from rest.
    return Op(run, lambda level: block.settle(level if first else zero), block.y)


def _pointwise(step: Step, x: F64) -> Op:
    if step.op == "window":
        return _window(step, x)
    if step.op == "bin":
        return _bin(step, x)
    row = np.zeros((1, x.shape[1]))
    same = np.zeros_like(x)
    match step.op:
        case "rectify":
            args_of(step)
            return Op(lambda x: np.abs(x, out=same), _nothing, same)
        case "rms":
            args_of(step)

            def rms(x: F64) -> F64:
                np.multiply(x, x, out=same)
                np.mean(same, axis=0, keepdims=True, out=row)
                return np.sqrt(row, out=row)

            return Op(rms, _nothing, row)
        case "scale":
            (gain,) = args_of(step, "gain")
            return Op(lambda x: np.multiply(x, gain, out=same), _nothing, same)
        case "log1p":
            (gain,) = args_of(step, "gain")

            def log1p(x: F64) -> F64:
                np.multiply(x, gain, out=same)
                # A low-pass may undershoot zero after a burst: without this, NaN.
                np.maximum(same, 0.0, out=same)
                return np.log1p(same, out=same)

            return Op(log1p, _nothing, same)
        case "clip":
            (top,) = args_of(step, "max")
            return Op(lambda x: np.clip(x, -top, top, out=same), _nothing, same)
        case _:
            known = [*FILTERS, "rectify", "bin", "rms", "scale", "log1p", "clip", "window"]
            raise SpecError(f"no EMG step {step.op!r}; known: {[*known, 'limits']}")


def _bin(step: Step, x: F64) -> Op:
    (wanted,) = args_of(step, rows=1)
    rows = count(step, "rows", wanted)
    if len(x) % rows:
        raise SpecError(f"step 'bin': {rows} rows do not divide a hop of {len(x)} samples")
    out = np.zeros((rows, x.shape[1]))
    parts = (rows, len(x) // rows, x.shape[1])
    return Op(lambda x: np.mean(x.reshape(parts), axis=1, out=out), _nothing, out)


def _window(step: Step, x: F64) -> Op:
    (hops,) = args_of(step, "hops")
    n = len(x)
    held = np.zeros((n * count(step, "hops", hops), x.shape[1]))

    def run(x: F64) -> F64:
        held[:-n] = held[n:]
        held[-n:] = x
        return held

    return Op(run, lambda _: held.fill(0), held)


def _nothing(level: F64) -> None:
    """Steps without memory have nothing to restart."""
