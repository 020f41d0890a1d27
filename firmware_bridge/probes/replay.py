"""A recording as a probe: frames arrive when they did, each on its absolute deadline.

    replay:session.mcap?loop=on
    replay:push.mp4?px_mm=0.0883&crop=215,45,720,574&lines=180&samples=287

PATH is a recording of ours (.mcap) or a video file; how frames are cut out of a video's pictures
is in ``pixels.py``, ``fps`` replaces the rate it claims.  ``speed=2`` plays twice as fast,
``speed=0`` without waiting; ``loop=on`` begins again at the end.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.address import Address, flag
from firmware_bridge.parameters import not_negative, positive
from firmware_bridge.probes.pacing import wait_until
from firmware_bridge.probes.pixels import Grey, Pixels, take_pixels
from firmware_bridge.recording import RecordingError, probe_geometry, read_frames
from firmware_bridge.types import DeviceError, Frame, Geometry


class Still(NamedTuple):
    """A frame on its way: ``after_ns`` and ``seq`` count from the first of the recording."""

    after_ns: int
    seq: int
    data: NDArray[Any] | None  # read-only; None for a picture that must not be used


LONE_FRAME_NS = 100_000_000  # how long a recording of one frame lasts

Reel = Callable[[], Iterator[Still]]  # each call plays from the beginning


class ReplayProbe:
    """Plays from opening on.  A frame nobody waited for comes late, with the time it was due.

    A gap in the recorded counter stays a gap.  ``finished`` turns True after the last frame.
    ``counters``: ``ruler_changed`` pictures of another depth, ``damaged`` when it broke off early.
    """

    live = False

    def __init__(self, address: str, geometry: Geometry, reel: Reel, speed: float, loop: bool):
        self.address, self.geometry = address, geometry
        self.counters = {"ruler_changed": 0, "damaged": 0}
        self.finished = False
        self._reel, self._speed, self._loop = reel, speed, loop
        self._stills = reel()
        self._next: Still | None = None
        self._last: Still | None = None
        self._period_ns = LONE_FRAME_NS  # between the newest two: the pause before a new round
        self._round_ns, self._round_seq = 0, 0
        self._t0_ns = time.monotonic_ns()

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame once it is due, with that time on it.

        None within ``timeout_s``; once ``finished``, always None, after ``timeout_s``.
        """
        still = self._next = self._next or self._advance()
        if still is None:
            time.sleep(timeout_s)
            return None
        due_ns = self._t0_ns
        if self._speed:
            due_ns += round((self._round_ns + still.after_ns) / self._speed)
            if not wait_until(due_ns, timeout_s):
                return None
        else:
            due_ns = time.monotonic_ns()
        if self._last is not None:
            self._period_ns = max(still.after_ns - self._last.after_ns, 0)
        self._last, self._next = still, None
        if still.data is None:
            self.counters["ruler_changed"] += 1
            return None
        return Frame(due_ns, self._round_seq + still.seq, still.data)

    def close(self) -> None:
        """Stop playing and release the file."""
        self.finished, self._next, self._stills = True, None, iter(())

    def _advance(self) -> Still | None:
        """The next still of this round, or of the next one; None at the end."""
        if self.finished:
            return None
        still = self._pull()
        if still is None and self._loop and self._last is not None:
            self._round_ns += self._last.after_ns + self._period_ns
            self._round_seq += self._last.seq + 1
            self._last, self._stills = None, self._reel()
            still = self._pull()
        self.finished = still is None
        return still

    def _pull(self) -> Still | None:
        try:
            return next(self._stills, None)
        except RecordingError:
            self.counters["damaged"] += 1
            return None


def open_replay(address: str) -> ReplayProbe:
    """Open a recording or a video file and start to play it.  Raises DeviceError."""
    parsed = Address(address)
    path = Path(parsed.target)
    speed = parsed.take("speed", 1.0, not_negative)
    loop = parsed.take("loop", False, flag)
    if path.suffix == ".mcap":
        parsed.done()
        return ReplayProbe(address, probe_geometry(path), lambda: _recorded(path), speed, loop)
    fps, first = _look(path, parsed.take("fps", 0.0, positive))
    pixels = take_pixels(parsed, first.shape[1], first.shape[0])
    parsed.done()
    if complaint := pixels.complaint(first):
        raise DeviceError(f"{path}: {complaint}")
    return ReplayProbe(address, pixels.geometry, lambda: _filmed(path, fps, pixels), speed, loop)


def _recorded(path: Path) -> Iterator[Still]:
    first: Frame | None = None
    for frame in read_frames(path):
        first = first or frame
        yield Still(frame.t_ns - first.t_ns, frame.seq - first.seq, frame.data)


def _filmed(path: Path, fps: float, pixels: Pixels) -> Iterator[Still]:
    for i, picture in enumerate(_pictures(path)):
        data = pixels.cut(picture) if pixels.ruler_fits(picture) else None
        yield Still(round(i * 1e9 / fps), i, data)


def _look(path: Path, fps: float) -> tuple[float, Grey]:
    """The rate of a video and its first picture.  Raises DeviceError."""
    if not path.is_file():
        raise DeviceError(f"there is no file {path}: check the path after replay:")
    first = next(_pictures(path), None)
    if first is None:
        raise DeviceError(f"{path} is not a video that OpenCV can read: convert it, or use .mcap")
    fps = fps or _claimed_fps(path)
    if not 0.1 < fps < 10_000:
        raise DeviceError(f"{path} does not say its rate: add fps=")
    return fps, first


def _claimed_fps(path: Path) -> float:
    cv2 = _opencv()
    return float(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS))


def _pictures(path: Path) -> Iterator[Grey]:
    """Each picture ``(height, width)`` uint8, newly allocated."""
    cv2 = _opencv()
    video = cv2.VideoCapture(str(path))
    try:
        while True:
            there, picture = video.read()
            if not there:
                return
            grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if picture.ndim == 3 else picture
            yield np.asarray(grey, np.uint8)
    finally:
        video.release()


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as e:
        raise DeviceError("video files need OpenCV: pip install opencv-python-headless") from e
    return cv2
