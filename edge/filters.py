"""Filters that an EMG step may name, as second-order sections: on the device and in training."""

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from edge.steps import args_of, count
from models.spec import SpecError, Step

F64 = NDArray[np.float64]
FILTERS = ("highpass", "bandpass", "notch", "envelope")


def design(step: Step, fs_hz: float) -> F64:
    """Second-order sections ``(n, 6)`` of a filter step.  Raises SpecError."""
    if step.op == "notch":
        hz, q = args_of(step, "hz", q=30.0)
        edges, order = [hz], 1.0
    elif step.op == "bandpass":
        *edges, order = args_of(step, "low_hz", "high_hz", order=2)
    else:
        *edges, order = args_of(step, "hz", order=2)
    if not all(0 < a < b for a, b in zip(edges, [*edges[1:], fs_hz / 2], strict=True)):
        raise SpecError(f"step {step.op!r}: 0 < {edges} < {fs_hz / 2:g} Hz does not hold")
    if step.op == "notch":
        return np.asarray(scipy.signal.tf2sos(*scipy.signal.iirnotch(hz, q, fs_hz)))
    kind = {"envelope": "lowpass"}.get(step.op, step.op)
    where = edges if step.op == "bandpass" else edges[0]
    n = count(step, "order", order)
    return np.asarray(scipy.signal.butter(n, where, kind, fs=fs_hz, output="sos"))
