"""A recording being written: whole after every flush, whatever the disk does.

Messages go around the MCAP library's writer, which costs about the same but copies every frame
while it holds the GIL and cannot take back half a record when the disk is full.  What begins and
ends the file are the library's records (``firmware_bridge/mcap_file.py``).
"""

import contextlib
import fcntl
import json
import logging
import os
import time
import zlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge import mcap_file
from firmware_bridge.recording_format import (
    ANCHOR_DTYPE,
    FORMAT_VERSION,
    TOPICS,
    EmgInfo,
    RecordingError,
    channels,
)
from firmware_bridge.types import UNKNOWN_NS, Geometry

log = logging.getLogger(__name__)


class SessionFile:
    """``add`` messages, ``flush`` them together; used by one thread.

    While the disk refuses (full, failing), the file is cut back to its last whole record and
    ``flush`` returns False; what was added is kept and tried again.  The file is locked while it
    is open, so that nobody repairs it meanwhile.  Raises RecordingError when it cannot be begun.
    """

    def __init__(
        self,
        path: Path,
        meta: Mapping[str, Any],
        geometry: Geometry | None,
        emg: EmgInfo | None,
        joint: bool,
        min_free_bytes: int,
    ):
        self.errors = 0
        self.failing_since_ns = 0  # 0 = the disk takes what it gets
        self.size = self._crc = 0  # of what is whole on disk
        self._torn = False  # part of a record may lie beyond that
        self._batch: list[bytes | memoryview] = []
        self._synced = 0
        self._said = False
        start = anchor()
        mono_ns, unix_ns = start[0].item()
        self._to_unix_ns = unix_ns - mono_ns
        described = {
            "sonomyo": {
                "format": str(FORMAT_VERSION), "mono_ns": str(mono_ns), "unix_ns": str(unix_ns)
            },
            "session": {k: v for k, v in meta.items() if isinstance(v, str)},
            "session.json": {k: json.dumps(v) for k, v in meta.items() if not isinstance(v, str)},
        }  # fmt: skip
        library = f"sonomyo {metadata.version('sonomyo')}"
        head, self._tally = mcap_file.head(library, described, channels(geometry, emg, joint))
        self.path, self._fd = _create(path, min_free_bytes)
        self._batch = [head]
        if not self.flush():
            os.close(self._fd)
            self.path.unlink(missing_ok=True)
            raise RecordingError(f"cannot write {self.path}: free some space, or record elsewhere")
        self.sync()
        sync_folder(self.path)

    @property
    def messages(self) -> dict[str, int]:
        """How many messages of each topic were added."""
        return {c.topic: self._tally.counts.get(c.id, 0) for c in self._tally.channels.values()}

    def add(
        self, topic: str, log_ns: int, t_ns: int, body: bytes, array: memoryview | None = None
    ) -> None:
        """Append a message: ``body`` and then ``array``, which is not copied and must not change.

        ``log_ns`` is when it was handed over, ``t_ns`` what time it is about.  Flush before there
        are 500 of them: one system call takes 1024 buffers.
        """
        channel = TOPICS.index(topic) + 1
        log_unix_ns = log_ns + self._to_unix_ns
        about_ns = log_unix_ns if t_ns == UNKNOWN_NS else max(t_ns + self._to_unix_ns, 0)
        sequence = self._tally.add(channel, log_unix_ns)
        size = len(body) + (0 if array is None else len(array))
        head = mcap_file.message_head(channel, sequence, log_unix_ns, about_ns, size)
        self._batch.append(head + body)
        if array is not None:
            self._batch.append(array)

    def flush(self) -> bool:
        """Write what was added; True when all of it is in the file."""
        if not self._batch:
            return True
        try:
            if self._torn:
                os.ftruncate(self._fd, self.size)
                self._torn = False
            written = _write_all(self._fd, self._batch)
        except OSError as e:
            self._torn = True
            self.failing_since_ns = self.failing_since_ns or time.monotonic_ns()
            self._count(e)
            return False
        for part in self._batch:
            self._crc = zlib.crc32(part, self._crc)
        self._batch = []
        self.size += written
        self.failing_since_ns, self._said = 0, False
        return True

    def sync(self) -> None:
        """Have everything flushed survive a power failure."""
        if self._synced == self.size:
            return
        try:
            os.fdatasync(self._fd)
            self._synced = self.size
        except OSError as e:
            self._count(e)

    def close(self) -> None:
        """End the file properly.  On a full disk it stays as it is: readable, and repairable."""
        if self.flush():
            self._batch = [mcap_file.tail(self.size, self._crc, self._tally)]
            self.flush()
        self.sync()
        os.close(self._fd)

    def _count(self, e: OSError) -> None:
        self.errors += 1
        if not self._said:
            log.error("%s: %s; trying again until it works", self.path, e.strerror)
            self._said = True


def anchor() -> NDArray[np.void]:
    """One ``ANCHOR_DTYPE`` row: the same moment on both clocks, to about a microsecond."""
    before = time.monotonic_ns()
    unix_ns = time.time_ns()
    return np.array([((before + time.monotonic_ns()) // 2, unix_ns)], ANCHOR_DTYPE)


def sync_folder(path: Path) -> None:
    """Have the name of ``path`` survive a power failure, too."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _create(path: Path, min_free_bytes: int) -> tuple[Path, int]:
    """A new, locked file; never one that exists.  Raises RecordingError."""
    try:
        fs = os.statvfs(path.parent)
        free = fs.f_bavail * fs.f_frsize
        if free < min_free_bytes:
            raise RecordingError(
                f"only {free / 1e6:.0f} MB free in {path.parent}, {min_free_bytes / 1e6:.0f} MB "
                "needed to begin: delete or move old recordings, or record elsewhere"
            )
        for name in (path, *(path.with_stem(f"{path.stem}-{n}") for n in range(2, 1000))):
            with contextlib.suppress(FileExistsError):
                fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
                fcntl.flock(fd, fcntl.LOCK_EX)
                return name, fd
    except OSError as e:
        raise RecordingError(f"cannot record to {path}: {e.strerror}: record elsewhere") from e
    raise RecordingError(f"{path} and 998 like it exist: record elsewhere")


def _write_all(fd: int, parts: list[bytes | memoryview]) -> int:
    """Write all of ``parts``.  Raises OSError, with any part of them written."""
    size = sum(map(len, parts))
    written = os.writev(fd, parts)
    if written < size:  # rare: the disk is about to be full, or a signal came
        rest = memoryview(b"".join(parts))[written:]
        while rest:
            rest = rest[os.write(fd, rest) :]
    return size
