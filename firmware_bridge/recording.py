"""Read a recording back: ``open_recording("20260412T093000Z.mcap").frames()``.

What lies in the file is in ``recording_format.py`` and, in words, in docs/recording-format.md.
"""

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Metadata
from numpy.typing import NDArray

from firmware_bridge.mcap_file import MAGIC, MESSAGE, PREFIX, is_closed, walk
from firmware_bridge.recording_format import (
    ANCHOR_DTYPE,
    ANCHORS,
    CHUNKS,
    EVENTS,
    FORMAT_VERSION,
    FRAMES,
    JOINT,
    JOINT_DTYPE,
    STAMPS,
    STATES,
    decode_chunk,
    decode_event,
    decode_frame,
    decode_rows,
    decode_state,
    emg_info_of,
    geometry_of,
)
from firmware_bridge.recording_format import STAMPS_DTYPE as STAMPS_DTYPE
from firmware_bridge.recording_format import EmgInfo as EmgInfo
from firmware_bridge.recording_format import Event as Event
from firmware_bridge.recording_format import RecordingError as RecordingError
from firmware_bridge.types import Chunk, Frame, Geometry, MuscleState


@dataclass(frozen=True)
class Recording:
    """A session on disk.  Each iterator opens the file anew, so they may be mixed freely.

    ``meta`` is what the writer was told: configuration, model specs, versions, addresses.
    ``torn`` is True when the writer did not close the file, or has not yet; everything up to the
    last whole record is read as usual.  Iterators raise RecordingError where bytes do not fit.
    """

    path: Path
    meta: dict[str, Any]
    geometry: Geometry | None
    emg_info: EmgInfo | None
    torn: bool
    topics: dict[str, int] = field(repr=False)  # name: channel id in the file

    def frames(self) -> Iterator[Frame]:
        """Every frame; its data is shaped by ``geometry``, read-only, and the caller's to keep."""
        for body in self._messages(FRAMES):
            assert self.geometry is not None  # without it there is no such topic
            yield decode_frame(body, self.geometry)

    def chunks(self) -> Iterator[Chunk]:
        """Every EMG chunk; its data is ``(samples, channels)`` float32 uV, read-only."""
        for body in self._messages(CHUNKS):
            assert self.emg_info is not None  # without it there is no such topic
            yield decode_chunk(body, len(self.emg_info.channels))

    def states(self) -> Iterator[MuscleState]:
        """Every state as it was sent."""
        return map(decode_state, self._messages(STATES))

    def stamps(self) -> NDArray[np.void]:
        """All rows of times, ``(rows,)`` of ``STAMPS_DTYPE``."""
        return decode_rows(self._messages(STAMPS), STAMPS_DTYPE)

    def joint(self) -> NDArray[np.void]:
        """Joint angle and load of each tick, ``(rows,)`` of ``JOINT_DTYPE``; none: no rows."""
        return decode_rows(self._messages(JOINT), JOINT_DTYPE)

    def events(self) -> Iterator[Event]:
        """Every event."""
        return map(decode_event, self._messages(EVENTS))

    def anchors(self) -> NDArray[np.void]:
        """``(n,)`` of ``ANCHOR_DTYPE``, one every 10 s: both clocks at the same moment."""
        return decode_rows(self._messages(ANCHORS), ANCHOR_DTYPE)

    def _messages(self, topic: str) -> Iterator[bytes]:
        """The bodies of one topic, in file order; others are stepped over, not read."""
        if topic not in self.topics:
            return
        wanted = self.topics[topic]
        with self.path.open("rb") as f:
            size = os.fstat(f.fileno()).st_size
            end = len(MAGIC)
            for opcode, at, length in walk(f, size):
                if opcode == Opcode.DATA_END:
                    return
                if opcode == Opcode.MESSAGE and MESSAGE.unpack(f.read(MESSAGE.size))[0] == wanted:
                    yield f.read(length - MESSAGE.size)
                end = at + PREFIX.size + length
        if not self.torn:
            raise RecordingError(
                f"{self.path} is damaged after byte {end} of {size}: copy it again, or keep what "
                f"is before with: sonomyo info --repair {self.path}"
            )


def open_recording(path: str | Path) -> Recording:
    """Read what a recording is about, not its messages: milliseconds, however long it is.

    Raises RecordingError when it is not there, not a recording, or from a newer version.
    """
    path = Path(path)
    try:
        with path.open("rb") as f:
            size = os.fstat(f.fileno()).st_size
            if f.read(len(MAGIC)) != MAGIC:
                raise RecordingError(
                    f"{path} is no recording (MCAP files begin otherwise): name a .mcap file that "
                    "sonomyo run or sonomyo record has written"
                )
            torn = not is_closed(f, size)
            metadata, channels = _head(f, size)
    except OSError as e:
        raise RecordingError(f"cannot read {path}: {e.strerror}") from e
    except (McapError, struct.error, UnicodeDecodeError) as e:
        raise RecordingError(f"{path} is damaged at its beginning ({e!r}): copy it again") from e
    if torn and not metadata:
        raise RecordingError(f"{path} was cut off before it began: there is nothing in it")
    try:
        version = metadata["sonomyo"]["format"]
        if version != str(FORMAT_VERSION):
            raise RecordingError(
                f"{path} has format {version}, this version reads {FORMAT_VERSION}: update sonomyo"
            )
        meta = {k: json.loads(v) for k, v in metadata["session.json"].items()}
        meta |= metadata["session"]
        if missing := {STATES, STAMPS, EVENTS, ANCHORS} - channels.keys():
            raise ValueError(f"no {sorted(missing)}")
        geometry = geometry_of(channels[FRAMES]) if FRAMES in channels else None
        emg = emg_info_of(channels[CHUNKS]) if CHUNKS in channels else None
    except (KeyError, ValueError, TypeError) as e:
        raise RecordingError(
            f"{path} is an MCAP file, but not one of Sonomyo's, or was rewritten by another tool "
            f"({e!r}): use the file that sonomyo wrote"
        ) from e
    return Recording(path, meta, geometry, emg, torn, {t: c.id for t, c in channels.items()})


def read_frames(path: str | Path) -> Iterator[Frame]:
    """The frames of a recording.  Raises RecordingError, at once, when it has none to offer."""
    probe_geometry(path)
    return open_recording(path).frames()


def probe_geometry(path: str | Path) -> Geometry:
    """The raster of a recording's frames.  Raises RecordingError when it has no ultrasound."""
    geometry = open_recording(path).geometry
    if geometry is None:
        raise RecordingError(f"{path} has no ultrasound: choose another, or see sonomyo info")
    return geometry


def read_chunks(path: str | Path) -> Iterator[Chunk]:
    """The EMG of a recording.  Raises RecordingError, at once, when it has none to offer."""
    emg_info(path)
    return open_recording(path).chunks()


def emg_info(path: str | Path) -> EmgInfo:
    """Rate and electrodes of a recording's EMG.  Raises RecordingError when it has none."""
    info = open_recording(path).emg_info
    if info is None:
        raise RecordingError(f"{path} has no EMG: choose another, or see sonomyo info")
    return info


def _head(f: Any, size: int) -> tuple[dict[str, dict[str, str]], dict[str, Channel]]:
    """Metadata by name and channels by topic; all lie before the first message."""
    metadata: dict[str, dict[str, str]] = {}
    channels: dict[str, Channel] = {}
    for opcode, _, length in walk(f, size):
        if opcode in (Opcode.MESSAGE, Opcode.CHUNK, Opcode.DATA_END):
            break
        record = ReadDataStream(BytesIO(f.read(length)))
        if opcode == Opcode.METADATA:
            m = Metadata.read(record)
            metadata[m.name] = m.metadata
        elif opcode == Opcode.CHANNEL:
            c = Channel.read(record)
            channels[c.topic] = c
    return metadata, channels
