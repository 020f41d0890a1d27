"""What is in a recording: how long, how often, what is missing; without reading the pixels."""

import os
import struct
from array import array
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import numpy as np
from mcap.opcode import Opcode

from edge.repair import being_written, data_intact, extent
from firmware_bridge.mcap_file import MESSAGE, walk
from firmware_bridge.recording import Recording, open_recording
from firmware_bridge.recording_format import CHUNK_HEAD, CHUNKS, FRAME_HEAD, FRAMES, STATES

_ITEMS = {FRAMES: "frames", CHUNKS: "samples", STATES: "states"}
_SEQ = struct.Struct("<q")


@dataclass(frozen=True)
class Topic:
    """One stream; ``lost`` items (frames, samples, states) are missing by its own counter."""

    messages: int
    rate_hz: float  # messages per second
    gaps: int
    lost: int
    longest_pause_ms: float


@dataclass(frozen=True)
class Joint:
    """Joint angle or load as the models were given it."""

    unit: str
    known: float  # share of the ticks, 0 to 1
    least: float
    greatest: float


@dataclass(frozen=True)
class Summary:
    """Everything ``sonomyo info`` says about a recording; ``problems`` in words, empty if good."""

    path: str
    bytes: int
    begun: str  # UTC, by the wall clock of the machine that recorded
    seconds: float
    torn: bool
    being_written: bool
    intact: bool | None  # every bit as it was written; None = not verified, or not closed
    topics: dict[str, Topic]
    events: dict[str, int]
    joint: dict[str, Joint]  # "angle", "load"; empty if no model took any
    late: int  # states that went out with an older result
    tick_to_send_ms: dict[str, float]  # percentiles
    meta: dict[str, Any]
    problems: list[str]


def summarize(path: Path, verify: bool = False) -> Summary:
    """Read a recording through, with ``verify`` every byte of it.

    Raises RecordingError when it is none, or damaged before its end.
    """
    recording = open_recording(path)
    writing = being_written(path)
    with path.open("rb") as f:
        size = os.fstat(f.fileno()).st_size
        rows = _rows(f, size, recording)
        intact = data_intact(f, extent(f, size)) if verify and not recording.torn else None
    topics = {name: _topic(r) for name, r in rows.items()}
    span_ns = [t for r in rows.values() if len(r) for t in (r[0, 0], r[-1, 0])]
    anchors = recording.anchors()
    stamps = recording.stamps()
    sent = stamps[stamps["sent_ns"] > 0]
    own = sent[sent["late"] == 0]
    wait_ms = (own["sent_ns"] - own["t_tick_ns"]) * 1e-6
    late = int(np.count_nonzero(sent["late"]))
    problems = [
        f"{t.lost} {_ITEMS[name]} lost (gaps: {t.gaps})" for name, t in topics.items() if t.lost
    ]
    if late:
        problems.append(f"{late} states were late")
    if writing:
        problems.append("still being recorded")
    elif recording.torn:
        problems.append(f"torn: never closed; sonomyo info --repair {path}")
    if intact is False:
        problems.append("damaged: not the bytes that were written; copy it again")
    return Summary(
        path=str(path),
        bytes=size,
        begun=_utc(int(anchors["unix_ns"][0])) if len(anchors) else "",
        seconds=(max(span_ns) - min(span_ns)) * 1e-9 if span_ns else 0.0,
        torn=recording.torn,
        being_written=writing,
        intact=intact,
        topics=topics,
        events=dict(Counter(e.kind for e in recording.events())),
        joint=_joint(recording.joint()),
        late=late,
        tick_to_send_ms={
            f"p{p:g}": float(np.percentile(wait_ms, p)) for p in (50, 99, 99.9) if len(wait_ms)
        },
        meta=recording.meta,
        problems=problems,
    )


def _rows(f: IO[bytes], size: int, recording: Recording) -> dict[str, "np.ndarray[Any, Any]"]:
    """For each topic ``(messages, 3)`` int64: log time, counter (-1 = none), items."""
    names = {channel: name for name, channel in recording.topics.items()}
    found = {name: array("q") for name in recording.topics}
    width = 4 * len(recording.emg_info.channels) if recording.emg_info else 4
    for opcode, _, length in walk(f, size):
        if opcode == Opcode.DATA_END:
            break
        if opcode != Opcode.MESSAGE:
            continue
        channel, _, log_ns, _ = MESSAGE.unpack(f.read(MESSAGE.size))
        name = names.get(channel, "")
        seq, n = -1, 1
        if name == FRAMES:
            seq = FRAME_HEAD.unpack(f.read(FRAME_HEAD.size))[1]
        elif name == CHUNKS:
            seq = CHUNK_HEAD.unpack(f.read(CHUNK_HEAD.size))[1]
            n = (length - MESSAGE.size - CHUNK_HEAD.size) // width
        elif name == STATES:
            seq = _SEQ.unpack(f.read(_SEQ.size))[0]
        if name:
            found[name].extend((log_ns, seq, n))
    return {name: np.array(values, np.int64).reshape(-1, 3) for name, values in found.items()}


def _topic(rows: "np.ndarray[Any, Any]") -> Topic:
    log_ns, seq, n = rows.T
    pauses_ns = np.diff(log_ns)
    missing = seq[1:] - (seq[:-1] + n[:-1])
    missing = missing[(missing > 0) & (seq[:-1] >= 0)]
    span_ns = int(log_ns[-1] - log_ns[0]) if len(rows) else 0
    return Topic(
        messages=len(rows),
        rate_hz=(len(rows) - 1) * 1e9 / span_ns if span_ns else 0.0,
        gaps=len(missing),
        lost=int(missing.sum()),
        longest_pause_ms=float(pauses_ns.max()) * 1e-6 if len(pauses_ns) else 0.0,
    )


def _joint(rows: "np.ndarray[Any, Any]") -> dict[str, Joint]:
    """What was known at all: a model that takes one of the two leaves the other's column NaN."""
    found = {}
    for name, column, unit in (("angle", "angle_deg", "deg"), ("load", "load_kg", "kg")):
        known = rows[column][~np.isnan(rows[column])]
        if len(known):
            share = len(known) / len(rows)
            found[name] = Joint(unit, share, float(known.min()), float(known.max()))
    return found


def _utc(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns // 10**9, timezone.utc).isoformat()
