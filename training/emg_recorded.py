"""A recording as LFADS learns from it, and how a session on disk becomes some."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.recording import open_recording
from firmware_bridge.types import Chunk
from training.emg_checks import EmgUnfit, rate_off

F64 = NDArray[np.float64]
SHORTEST_S = 1.0  # of a piece between two holes


@dataclass(frozen=True)
class Recording:
    """Raw EMG and, at every bin of 2 ms, what is to be decoded from it."""

    name: str
    person: str  # whose electrodes: networks are trained on one person at a time
    fs_hz: float
    channels: tuple[str, ...]
    emg_uv: NDArray[np.floating]  # (samples, channels)
    targets: Mapping[str, F64]  # each (bins,)
    simulated: bool = False


def recorded(path: Path) -> list[Recording]:
    """EMG of what ``sonomyo record`` or ``sonomyo run`` wrote: a recording for every piece without
    a hole, with nothing to be decoded.

    Raises RecordingError for a file that cannot be read, EmgUnfit where its clock tells another
    rate than it announces, and ValueError where it has no EMG.
    """
    session = open_recording(path)
    info = session.emg_info
    if info is None:
        raise ValueError(f"{path} has no EMG: record with rig.emg set")
    chunks = list(session.chunks())
    if chunks and (off := rate_off(*_clock(chunks), info.fs_hz)):
        raise EmgUnfit([off])
    person = str(session.meta.get("wearer") or path.stem)
    pieces = [
        np.concatenate([c.data for c in piece])
        for piece in _whole(chunks)
        if sum(len(c.data) for c in piece) >= SHORTEST_S * info.fs_hz
    ]
    if not pieces:
        raise ValueError(f"{path} has no second of EMG without a hole: record it again")
    names = [path.stem] if len(pieces) == 1 else [f"{path.stem}_{k}" for k in range(len(pieces))]
    return [
        Recording(name, person, info.fs_hz, tuple(info.channels), piece, {})
        for name, piece in zip(names, pieces, strict=True)
    ]


def _whole(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """Runs of chunks between which no sample is missing."""
    piece: list[Chunk] = []
    for c in chunks:
        if piece and c.seq != piece[-1].seq + len(piece[-1].data):
            yield piece
            piece = []
        piece.append(c)
    if piece:
        yield piece


def _clock(chunks: Sequence[Chunk]) -> tuple[int, float]:
    """Samples and seconds between the ends of the first and the last chunk."""
    first, last = chunks[0], chunks[-1]
    samples = last.seq + len(last.data) - first.seq - len(first.data)
    return samples, (last.t_ns - first.t_ns) * 1e-9
