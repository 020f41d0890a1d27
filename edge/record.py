"""Record a session without ever holding up the threads that make it.

Callers append to two bounded queues and return; one thread encodes, writes and fsyncs.  When the
disk does not keep up, frames are refused first, so that states, times and events outlast them.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.realtime import RANK_RECORDER, RealTime, prepare_thread
from edge.session_file import SessionFile, anchor
from firmware_bridge.recording_format import (
    ANCHOR_DTYPE,
    ANCHORS,
    CHUNKS,
    EVENTS,
    FRAMES,
    JOINT,
    JOINT_DTYPE,
    STAMPS,
    STAMPS_DTYPE,
    STATES,
    TOPICS,
    EmgInfo,
    Event,
    encode_chunk,
    encode_event,
    encode_frame,
    encode_row,
    encode_state,
)
from firmware_bridge.types import Chunk, Frame, Geometry, MuscleState

log = logging.getLogger(__name__)

DRAIN_S = 0.05  # a killed process loses at most about this much
BATCH = 64  # messages encoded at a time
ANCHOR_S = 10.0
CLOSE_S = 10.0  # how long closing waits for a disk that hangs
FRAME_QUEUE_BYTES = 64 << 20  # 13 s of 80 kB frames at 61/s
REST_QUEUE = 32_768  # states, times, chunks, events: well over a minute of them
MIN_FREE_BYTES = 200_000_000  # 40 s of the same frames: less is a mistake


class SessionWriter:
    """Records until ``close``.  Every other method returns within microseconds, on any thread.

    The file is ``path``, or NAME-2.mcap and so on where that exists: see ``self.path``.  What is
    handed over is kept by reference and must not change afterwards.  ``counters`` says what was
    dropped or went wrong.  Raises RecordingError when the file cannot be begun.
    """

    def __init__(
        self,
        path: str | Path,
        meta: Mapping[str, Any],
        *,
        geometry: Geometry | None = None,
        emg: tuple[float, tuple[str, ...]] | None = None,
        joint: bool = False,
        fsync_s: float = 0.5,
        rt: RealTime | None = None,
        frame_queue_bytes: int = FRAME_QUEUE_BYTES,
        min_free_bytes: int = MIN_FREE_BYTES,
    ):
        self._geometry, self._emg = geometry, EmgInfo(*emg) if emg else None
        self._fsync_s, self._rt = fsync_s, rt or RealTime(enabled=False)
        self._dropped = dict.fromkeys(TOPICS, 0)
        self._refused = 0
        self.warnings: list[str] = []
        frame_bytes = geometry.lines * geometry.samples * geometry.dtype.itemsize if geometry else 1
        self._max_frames = max(2, frame_queue_bytes // frame_bytes)
        self._frames: deque[tuple[str, int, Any]] = deque()
        self._rest: deque[tuple[str, int, Any]] = deque()
        self._file = SessionFile(Path(path), meta, geometry, self._emg, joint, min_free_bytes)
        self.path = self._file.path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def frame(self, frame: Frame) -> None:
        """Record a frame; the first thing to be dropped when the disk does not keep up."""
        if len(self._frames) >= self._max_frames or 2 * len(self._rest) >= REST_QUEUE:
            self._dropped[FRAMES] += 1
        else:
            self._frames.append((FRAMES, time.monotonic_ns(), frame))

    def chunk(self, chunk: Chunk) -> None:
        """Record EMG samples."""
        self._put(CHUNKS, chunk)

    def state(self, state: MuscleState) -> None:
        """Record a state as it was sent."""
        self._put(STATES, state)

    def stamps(self, row: NDArray[np.void]) -> None:
        """Record one row of ``STAMPS_DTYPE``."""
        self._put(STAMPS, row)

    def joint(self, row: NDArray[np.void]) -> None:
        """Record one row of ``JOINT_DTYPE``, in a session that was opened with ``joint``."""
        self._put(JOINT, row)

    def event(self, kind: str, /, **data: Any) -> None:
        """Record that something happened just now."""
        self._put(EVENTS, (kind, data))

    @property
    def counters(self) -> dict[str, int]:
        """Messages dropped per topic, refused because they did not fit, and writes that failed."""
        dropped = {f"{topic.strip('/').replace('/', '_')}_dropped": n
                   for topic, n in self._dropped.items()}  # fmt: skip
        return dropped | {"refused": self._refused, "write_errors": self._file.errors}

    def stats(self) -> dict[str, Any]:
        """Bytes on disk, messages per topic, and how many wait in the queues."""
        queued = len(self._frames) + len(self._rest)
        return {"bytes": self._file.size, "messages": self._file.messages, "queued": queued}

    def close(self) -> None:
        """Write what is queued, end the file properly and release it; may be called twice."""
        self._stop.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.error("%s: the disk hangs; the recording is left without an end", self.path)

    def _put(self, topic: str, what: Any) -> None:
        if len(self._rest) >= REST_QUEUE:
            self._dropped[topic] += 1
        else:
            self._rest.append((topic, time.monotonic_ns(), what))

    def _run(self) -> None:
        self.warnings += prepare_thread(self._rt, RANK_RECORDER)
        next_anchor = next_sync = time.monotonic()
        while not self._stop.wait(self._fsync_s if self._file.failing_since_ns else DRAIN_S):
            now = time.monotonic()
            if now >= next_anchor:
                next_anchor += ANCHOR_S
                self._put(ANCHORS, anchor())
            self._drain()
            if now >= next_sync:
                next_sync = now + self._fsync_s
                self._file.sync()
        self._put(ANCHORS, anchor())
        self._drain()
        self._file.close()

    def _drain(self) -> None:
        """Write all that is queued, or as much of it as the disk takes."""
        failing_since_ns = self._file.failing_since_ns
        while self._file.flush():
            if failing_since_ns:
                seconds = (time.monotonic_ns() - failing_since_ns) * 1e-9
                self.event("recording resumed", after_s=round(seconds, 3), **self.counters)
                failing_since_ns = 0
            if not (self._encode_some(self._rest) + self._encode_some(self._frames)):
                return

    def _encode_some(self, queue: deque[tuple[str, int, Any]]) -> int:
        n = min(len(queue), BATCH)
        for _ in range(n):
            topic, log_ns, what = queue.popleft()
            try:
                self._encode(topic, log_ns, what)
            except Exception:  # whatever it is that does not fit, everything else is recorded
                self._refused += 1
        return n

    def _encode(self, topic: str, log_ns: int, what: Any) -> None:
        add = self._file.add
        if topic == FRAMES and self._geometry:
            add(topic, log_ns, what.t_ns, *encode_frame(what, self._geometry))
        elif topic == CHUNKS and self._emg:
            add(topic, log_ns, what.t_ns, encode_chunk(what, self._emg))
        elif topic == STATES:
            add(topic, log_ns, what.t_ns, encode_state(what))
        elif topic == STAMPS:
            add(topic, log_ns, log_ns, encode_row(what, STAMPS_DTYPE))
        elif topic == JOINT:
            add(topic, log_ns, log_ns, encode_row(what, JOINT_DTYPE))
        elif topic == ANCHORS:
            add(topic, log_ns, log_ns, encode_row(what, ANCHOR_DTYPE))
        elif topic == EVENTS:
            add(topic, log_ns, log_ns, encode_event(Event(log_ns, *what)))
        else:
            self._refused += 1  # frames or samples of a session that has none
