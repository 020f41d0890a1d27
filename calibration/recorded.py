"""A routine from a recording: the frames and samples through a bundle again, and what was read.

Times count from the first frame or sample.  Besides the table, what the rehab device sent during
the session is known: encoder angles, loads in N m, and marks.
"""

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibration.phases import CalibrationError, Interval, marked_phases
from calibration.routine import Routine, references
from edge.bundle import Bundle
from edge.estimate import Estimator, Hop, Sources
from edge.runtime import Engine
from firmware_bridge.recording import Event, Recording
from firmware_bridge.types import UNKNOWN_NS, Chunk, Frame, Output

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

HOLE_S = 0.2  # readings further apart than this say nothing about what is between them


class Replayed(NamedTuple):
    """What a bundle made of a recording, a row per new estimate; float32 as it came."""

    t_ns: NDArray[np.int64]  # (n,)
    values: F32  # (n, outputs)
    sd: F32 | None  # (n, outputs)
    faults: NDArray[np.bool_]  # (n,)


def estimates_of(recording: Recording, bundle: Bundle, engine: Engine | None = None) -> Replayed:
    """As the daemon computes them, without its ticks: every frame and sample is used.

    ``engine`` instead of the bundle's own; it is closed.
    Raises SpecError or EngineError where bundle and recording do not fit, RecordingError where the
    file is damaged, CalibrationError where there is nothing in it.
    """
    emg = recording.emg_info
    sources = Sources(
        recording.geometry, emg.fs_hz if emg else 0.0, tuple(emg.channels) if emg else ()
    )
    e = Estimator(bundle, sources, engine)
    rows: list[tuple[int, F32, F32, bool]] = []
    frame: Frame | None = None
    images: tuple[F32, ...] = ()
    hops: tuple[Hop, ...] = ()
    try:
        for datum in _data(recording, e):
            if isinstance(datum, Frame):
                frame, images, hops = datum, e.look(datum), ()
            else:
                hops = e.hear(datum)
            if e.update(frame, images, hops):
                sd = e.values if e.sd is None else e.sd
                rows.append((e.t_ns, e.values.copy(), sd.copy(), e.fault))
        if not rows:
            raise CalibrationError(f"{recording.path} gives {bundle.id} nothing to estimate from")
        t_ns, values, sds, faults = zip(*rows, strict=True)
        return Replayed(
            np.array(t_ns), np.stack(values), np.stack(sds) if e.sd is not None else None,
            np.array(faults),
        )  # fmt: skip
    finally:
        e.close()


def routine_of(
    recording: Recording,
    replayed: Replayed,
    outputs: Sequence[Output],
    intervals: Sequence[Interval] | None,
    activity: tuple[float, float],
) -> Routine:
    """The routine in a recording; ``intervals`` None: by its marks.  Raises CalibrationError.

    ``activity``: rest and MVC in the model's unit, as the prior knows.
    """
    t0_ns = _start_ns(recording)
    events = list(recording.events())
    if intervals is None:
        marks = [e for e in events if e.kind == "mark"]
        intervals = marked_phases(
            ((m.data["t_ns"] - t0_ns) * 1e-9, str(m.data["text"])) for m in marks
        )
    t_ns, first = np.unique(replayed.t_ns, return_index=True)  # steps may end in the same sample
    angle = _readings(events, "encoder", "angle_deg", t_ns)
    loads = [e for e in events if e.data.get("unit") == "N m"]
    moment = _readings(loads, "load", "value", t_ns)
    t_s = ((t_ns - t0_ns) * 1e-9).astype(np.float64)
    phase, known = references(t_s, intervals, outputs, angle, moment, activity)
    sd = None if replayed.sd is None else replayed.sd[first].astype(np.float64)
    values = replayed.values[first].astype(np.float64)
    return Routine(t_s, phase, values, sd, known, replayed.faults[first])


def _data(recording: Recording, e: Estimator) -> Iterator[Frame | Chunk]:
    frames: Iterator[Frame] = recording.frames() if e.uses_us else iter(())
    chunks: Iterator[Chunk] = recording.chunks() if e.emg else iter(())
    return heapq.merge(frames, chunks, key=lambda datum: datum.t_ns)


def _start_ns(recording: Recording) -> int:
    firsts = (next(iter(recording.frames()), None), next(iter(recording.chunks()), None))
    times = [d.t_ns for d in firsts if d is not None]
    if not times:
        raise CalibrationError(f"{recording.path} has neither frames nor samples: record both")
    return min(times)


def _readings(
    events: Sequence[Event], kind: str, field: str, t_ns: NDArray[np.int64]
) -> F64 | None:
    """Readings of the device between which ``t_ns (n,)`` lies, interpolated; NaN in holes."""
    found = sorted(
        (e.t_ns if e.data["t_ns"] == UNKNOWN_NS else e.data["t_ns"], e.data[field])
        for e in events
        if e.kind == kind
    )
    if len(found) < 2:
        return None
    at, value = np.array([f[0] for f in found]), np.array([f[1] for f in found], np.float64)
    after = np.clip(np.searchsorted(at, t_ns), 1, len(at) - 1)
    inside = (t_ns >= at[after - 1]) & (t_ns <= at[after])
    inside &= at[after] - at[after - 1] <= HOLE_S * 1e9
    # From the first reading: nanoseconds since boot lose digits as float64.
    read = np.interp((t_ns - at[0]).astype(np.float64), (at - at[0]).astype(np.float64), value)
    return np.where(inside, read, np.nan)
