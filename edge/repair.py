"""Give a torn recording the end it is missing, so that every MCAP tool opens it."""

import contextlib
import fcntl
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Metadata, MetadataIndex

from edge.session_file import sync_folder
from firmware_bridge.mcap_file import MAGIC, MESSAGE, PREFIX, Tally, is_closed, tail, walk
from firmware_bridge.recording import RecordingError, open_recording

BLOCK = 1 << 20


@dataclass(frozen=True)
class RepairReport:
    """What a repair did.  ``original`` is where the file is kept if more than its end was wrong."""

    changed: bool
    messages: int
    kept_bytes: int  # up to and with the last whole message
    cut_bytes: int  # an incomplete record, or whatever followed
    original: Path | None = None


@dataclass(frozen=True)
class Extent:
    """The good part of a file: what is in it, its bytes, and how it goes on.

    ``closed``: with everything that belongs there.  ``torn``: with nothing, or with the beginning
    of one record.  Neither: with bytes that are no record, and perhaps good records after those.
    """

    tally: Tally
    size: int
    closed: bool
    torn: bool


def repair(path: Path) -> RepairReport:
    """Replace a torn recording by one that is closed; a whole one is left alone.

    The new file is written and synced beside the old one before it takes its name, so a failure
    leaves the old one as it was.  Raises RecordingError with the remedy, also while it is still
    being recorded.
    """
    open_recording(path)
    try:
        if being_written(path):
            raise RecordingError(f"{path} is being recorded now: stop sonomyo run first")
        with path.open("rb") as f:
            total = os.fstat(f.fileno()).st_size
            found = extent(f, total)
            messages = sum(found.tally.counts.values())
            if found.closed:
                return RepairReport(False, messages, found.size, 0)
            original = None if found.torn else path.with_name(path.name + ".damaged")
            _replace(path, f, found, original)
    except OSError as e:
        raise RecordingError(
            f"cannot repair {path}: {e.strerror} ({e.filename}); it is left as it was"
        ) from e
    return RepairReport(True, messages, found.size, total - found.size, original)


def being_written(path: Path) -> bool:
    """Whether a recorder has the file open at this moment.  Raises OSError."""
    with path.open("rb") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def extent(f: IO[bytes], total: int) -> Extent:
    """Walk all records of an MCAP file of ``total`` bytes."""
    closed = is_closed(f, total)
    tally = Tally()
    size = len(MAGIC)
    for opcode, at, length in walk(f, total):
        if opcode == Opcode.DATA_END:
            return Extent(tally, size, closed, torn=not closed)
        _count(tally, f, opcode, at, length)
        size = at + PREFIX.size + length
    f.seek(size)
    begun = f.read(PREFIX.size)
    torn = len(begun) < PREFIX.size or begun[0] in set(Opcode)
    return Extent(tally, size, closed=False, torn=torn and not closed)


def data_intact(f: IO[bytes], found: Extent) -> bool:
    """Whether the messages of a closed file are, bit for bit, what was written."""
    f.seek(found.size + PREFIX.size)
    written = int.from_bytes(f.read(4), "little")
    crc = 0
    for block in _blocks(f, found.size):
        crc = zlib.crc32(block, crc)
    return written in (crc, 0)  # 0: the tool that wrote it kept no checksum


def _count(tally: Tally, f: IO[bytes], opcode: Opcode, at: int, length: int) -> None:
    if opcode == Opcode.MESSAGE:
        channel, _, log_ns, _ = MESSAGE.unpack(f.read(MESSAGE.size))
        tally.add(channel, log_ns)
    elif opcode == Opcode.CHANNEL:
        c = Channel.read(ReadDataStream(BytesIO(f.read(length))))
        tally.channels[c.id] = c
    elif opcode == Opcode.METADATA:
        m = Metadata.read(ReadDataStream(BytesIO(f.read(length))))
        tally.metadata.append(MetadataIndex(at, PREFIX.size + length, m.name))


def _replace(path: Path, f: IO[bytes], found: Extent, original: Path | None) -> None:
    new = path.with_name(path.name + ".repaired")
    try:
        with new.open("wb") as out:
            crc = 0
            for block in _blocks(f, found.size):
                crc = zlib.crc32(block, crc)
                out.write(block)
            out.write(tail(found.size, crc, found.tally))
            out.flush()
            os.fsync(out.fileno())
        shutil.copymode(path, new)
        if original:
            os.link(path, original)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    sync_folder(path)


def _blocks(f: IO[bytes], size: int) -> Iterator[bytes]:
    f.seek(0)
    while size and (block := f.read(min(BLOCK, size))):
        size -= len(block)
        yield block
