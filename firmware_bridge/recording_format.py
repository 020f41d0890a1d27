"""The messages of a recording, as bytes and back; docs/recording-format.md is this file in words.

A message is one of the fixed little-endian headers below, then the raw bytes of its arrays:

- ``/us/frame``: ``t_ns i64, seq i64, device_ns i64``, then ``(lines, samples)`` u8 or i16
- ``/emg/chunk``: ``t_ns i64, seq i64, fs_hz f64``, then ``(samples, channels)`` f32, microvolts
- ``/state``: ``seq i64, t_ns i64, flags u16, n u16``, then ``values f32[n]``, then ``sd f32[n]``
  if it is known
- ``/stamps``: one ``STAMPS_DTYPE`` row
- ``/events``: JSON ``{"t_ns": …, "kind": …, "data": {…}}``
- ``/anchors``: ``mono_ns i64, unix_ns i64``
- ``/joint``: one ``JOINT_DTYPE`` row
"""

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from mcap.records import Channel
from numpy.typing import NDArray

from firmware_bridge.types import Chunk, DeviceError, Flag, Frame, Geometry, MuscleState

FORMAT_VERSION = 1
FRAMES, CHUNKS, STATES = "/us/frame", "/emg/chunk", "/state"
STAMPS, EVENTS, ANCHORS, JOINT = "/stamps", "/events", "/anchors", "/joint"
TOPICS = (FRAMES, CHUNKS, STATES, STAMPS, EVENTS, ANCHORS, JOINT)  # channel id = place + 1

FRAME_HEAD = struct.Struct("<qqq")  # t_ns, seq, device_ns
CHUNK_HEAD = struct.Struct("<qqd")  # t_ns, seq, fs_hz
STATE_HEAD = struct.Struct("<qqHH")  # seq, t_ns, flags, n
ANCHOR_DTYPE = np.dtype([("mono_ns", "<i8"), ("unix_ns", "<i8")])  # the same moment on both clocks

# One row per tick: where its time went.  All times are t_ns; a time that never was is 0 or -1.
STAMPS_DTYPE = np.dtype(
    [
        ("tick", "<i8"),
        ("t_tick_ns", "<i8"),  # the deadline the tick woke up for
        ("us_seq", "<i8"),  # newest frame there was; -1 = none yet
        ("us_t_ns", "<i8"),  # of the frame behind the values
        ("emg_seq", "<i8"),  # index one past the newest EMG sample there was
        ("emg_t_ns", "<i8"),  # of the newest sample behind the values
        ("assembled_ns", "<i8"),
        ("infer_start_ns", "<i8"),
        ("infer_end_ns", "<i8"),
        ("sent_ns", "<i8"),  # 0 = this result came after its release and was not sent as its own
        ("flags", "<u4"),
        ("late", "<u4"),  # how many ticks old the result was that was sent
    ]
)

# One row per tick of models that take them: joint angle and load as that tick used them.  NaN and
# -1: not known, or older than its limit.
JOINT_DTYPE = np.dtype(
    [
        ("tick", "<i8"),
        ("angle_deg", "<f8"),
        ("angle_t_ns", "<i8"),
        ("load_kg", "<f8"),
        ("load_t_ns", "<i8"),
    ]
)


class RecordingError(DeviceError):
    """A recording that cannot be read or begun; the message names the remedy."""


@dataclass(frozen=True)
class EmgInfo:
    """Sampling rate and electrodes of the EMG in a recording."""

    fs_hz: float
    channels: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """Something that happened: start, stop, a fault, a mark, a command, a reconnection, a loss."""

    t_ns: int
    kind: str
    data: dict[str, Any]


def channels(geometry: Geometry | None, emg: EmgInfo | None, joint: bool = False) -> list[Channel]:
    """The MCAP channels of a session; each carries what a stranger needs to parse its messages."""
    described: dict[str, dict[str, str]] = {}
    if geometry is not None:
        described[FRAMES] = {
            "layout": f"<t_ns i64, seq i64, device_ns i64, then ({geometry.lines} lines, "
            f"{geometry.samples} samples) {geometry.dtype.name}",
            "geometry": json.dumps(asdict(geometry)),
        }
    if emg is not None:
        described[CHUNKS] = {
            "layout": f"<t_ns i64, seq i64, fs_hz f64, then (samples, {len(emg.channels)} "
            "channels) f32 microvolts",
            "fs_hz": repr(emg.fs_hz),
            "channels": json.dumps(emg.channels),
        }
    described[STATES] = {
        "layout": "<seq i64, t_ns i64, flags u16, n u16, values f32[n], sd f32[n] or nothing"
    }
    described[STAMPS] = {"layout": _layout(STAMPS_DTYPE)}
    described[EVENTS] = {"layout": '{"t_ns": integer, "kind": text, "data": object}'}
    described[ANCHORS] = {"layout": "<mono_ns i64, unix_ns i64"}
    if joint:
        described[JOINT] = {"layout": _layout(JOINT_DTYPE)}
    return [
        Channel(
            id=TOPICS.index(topic) + 1,
            topic=topic,
            message_encoding="json" if topic == EVENTS else "x-sonomyo",
            metadata=metadata,
            schema_id=0,
        )
        for topic, metadata in described.items()
    ]


def geometry_of(channel: Channel) -> Geometry:
    """Inverse of ``channels``.  Raises KeyError, ValueError or TypeError."""
    return Geometry(**json.loads(channel.metadata["geometry"]))


def emg_info_of(channel: Channel) -> EmgInfo:
    """Inverse of ``channels``.  Raises KeyError, ValueError or TypeError."""
    m = channel.metadata
    info = EmgInfo(float(m["fs_hz"]), tuple(json.loads(m["channels"])))
    if not (info.fs_hz > 0 and info.channels):
        raise ValueError(f"EMG without rate or electrodes: {info}")
    return info


def encode_frame(f: Frame, geometry: Geometry) -> tuple[bytes, memoryview]:
    """One ``/us/frame`` message in two parts, the pixels not copied.

    Raises RecordingError when the frame is not of ``geometry``.
    """
    if f.data.shape != (geometry.lines, geometry.samples) or f.data.dtype != geometry.dtype:
        raise RecordingError(f"{f.data.shape} {f.data.dtype} is not a frame of {geometry}")
    return FRAME_HEAD.pack(f.t_ns, f.seq, f.device_ns), np.ascontiguousarray(f.data).data.cast("B")


def encode_chunk(c: Chunk, emg: EmgInfo) -> bytes:
    """One ``/emg/chunk`` message.  Raises RecordingError when its channels are not ``emg``'s."""
    if c.data.ndim != 2 or c.data.shape[1] != len(emg.channels):
        raise RecordingError(f"{c.data.shape} samples are not of the channels {emg.channels}")
    return CHUNK_HEAD.pack(c.t_ns, c.seq, c.fs_hz) + _f4(c.data)


def encode_state(s: MuscleState) -> bytes:
    """One ``/state`` message."""
    body = STATE_HEAD.pack(s.seq, s.t_ns, s.flags, len(s.values)) + _f4(s.values)
    return body if s.sd is None else body + _f4(s.sd)


def encode_row(row: NDArray[np.void] | np.void, dtype: "np.dtype[Any]") -> bytes:
    """One message of one row.  Raises RecordingError when it is not one row of ``dtype``."""
    if row.dtype != dtype or row.size != 1:
        raise RecordingError(f"not one row of {dtype.names}: {row!r}")
    return row.tobytes()


def encode_event(e: Event) -> bytes:
    """One ``/events`` message; what JSON does not know is written as text."""
    raw = {"t_ns": e.t_ns, "kind": e.kind, "data": _plain(e.data)}
    return json.dumps(raw, ensure_ascii=False).encode()


def decode_frame(body: bytes, geometry: Geometry) -> Frame:
    """One ``/us/frame`` message.  Raises RecordingError when it is not of ``geometry``."""
    shape = (geometry.lines, geometry.samples)
    if len(body) - FRAME_HEAD.size != math.prod(shape) * geometry.dtype.itemsize:
        raise RecordingError(
            f"a frame of {len(body) - FRAME_HEAD.size} bytes in a recording of {shape} "
            f"{geometry.dtype}: the file is damaged, or not written by Sonomyo"
        )
    data = np.frombuffer(body, geometry.dtype, offset=FRAME_HEAD.size).reshape(shape)
    t_ns, seq, device_ns = FRAME_HEAD.unpack_from(body)
    return Frame(t_ns, seq, data, device_ns)


def decode_chunk(body: bytes, width: int) -> Chunk:
    """One ``/emg/chunk`` message of ``width`` channels.  Raises RecordingError when it is not."""
    if len(body) < CHUNK_HEAD.size or (len(body) - CHUNK_HEAD.size) % (4 * width):
        raise RecordingError(
            f"an EMG chunk of {len(body)} bytes does not hold whole samples of {width} channels: "
            "the file is damaged, or not written by Sonomyo"
        )
    t_ns, seq, fs_hz = CHUNK_HEAD.unpack_from(body)
    data = np.frombuffer(body, "<f4", offset=CHUNK_HEAD.size).reshape(-1, width)
    return Chunk(t_ns, seq, fs_hz, data)


def decode_state(body: bytes) -> MuscleState:
    """One ``/state`` message.  Raises RecordingError when it is not one."""
    known = len(body) >= STATE_HEAD.size
    seq, t_ns, flags, n = STATE_HEAD.unpack_from(body) if known else (0, 0, 0, 0)
    if len(body) not in (STATE_HEAD.size + 4 * n, STATE_HEAD.size + 8 * n):
        raise RecordingError(
            f"a state of {len(body)} bytes: the file is damaged, or not written by Sonomyo"
        )
    x = np.frombuffer(body, "<f4", offset=STATE_HEAD.size)
    return MuscleState(seq, t_ns, Flag(flags), x[:n], x[n:] if len(x) > n else None)


def decode_event(body: bytes) -> Event:
    """One ``/events`` message.  Raises RecordingError when it is not one."""
    try:
        raw = json.loads(body)
        return Event(int(raw["t_ns"]), str(raw["kind"]), dict(raw["data"]))
    except (ValueError, KeyError, TypeError) as e:
        raise RecordingError(f"an event that is none ({e}): the file is damaged") from e


def decode_rows(bodies: Iterable[bytes], dtype: "np.dtype[Any]") -> NDArray[Any]:
    """Messages of one fixed row each, as ``(rows,)``.  Raises RecordingError when one is not."""
    rows = list(bodies)
    if any(len(row) != dtype.itemsize for row in rows):
        raise RecordingError(
            f"rows of other than {dtype.itemsize} bytes: the file is damaged, or not by Sonomyo"
        )
    return np.frombuffer(b"".join(rows), dtype)


def _layout(dtype: "np.dtype[Any]") -> str:
    return "<" + ", ".join(f"{name} {dtype[name].name}" for name in dtype.names or ())


def _f4(x: NDArray[np.float32]) -> bytes:
    return np.asarray(x, "<f4").tobytes()


def _plain(value: Any) -> Any:
    """As JSON; NaN and infinity, which other parsers refuse, become text, as do unknown types."""
    match value:
        case dict():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case bool() | int() | str() | None:
            return value
        case float() if math.isfinite(value):
            return value
        case np.generic():
            return _plain(value.item())
    return str(value)
