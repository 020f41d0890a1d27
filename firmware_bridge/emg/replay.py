"""A recording played back in real time.

Address: ``replay:<path>?<parameters>``; <path> is .csv (any text file, .gz too), .npz, .edf, .bdf
or a session recorded by this program (.mcap); see ``files.py`` for what they contain.

    replay:session.mcap
    replay:gait.csv?channels=TA,GM,SO&loop=on
    replay:raw.txt?fs_hz=1000&unit=mV&rows=0&channels=TA&time=0

``channels`` picks by name, in that order; with ``rows`` (columns counted from 0, the time column
left out) it names what ``rows`` picks.  ``fs_hz`` and ``unit`` (uV, mV, V) replace what the file
says, ``speed`` plays faster or slower, ``loop`` begins again at the end.
"""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.address import Address, flag
from firmware_bridge.emg.files import Recording, read_recording
from firmware_bridge.emg.pacing import SampleClock
from firmware_bridge.parameters import indices, names, positive, unit_uv
from firmware_bridge.types import Chunk, DeviceError


class ReplayEmg:
    """Plays from opening on, in chunks of about a millisecond; a gap in a recording is a gap here.

    The data of a chunk are a read-only view of the recording.
    """

    live = False

    def __init__(
        self,
        address: str,
        data_uv: NDArray[np.float32],
        index: NDArray[np.int64],
        fs_hz: float,
        channels: tuple[str, ...],
        speed: float = 1.0,
        loop: bool = False,
    ):
        self.address, self.fs_hz, self.channels = address, fs_hz, channels
        self.counters = {"lost_samples": 0, "nan_samples": 0}
        self.finished = False
        self._data, self._index, self._loop = data_uv, index, loop
        self._data.flags.writeable = False
        self._runs = np.append(np.flatnonzero(np.diff(index) != 1) + 1, len(index))  # their ends
        self._row, self._turn = 0, 0  # next to play; sample number of the file's first sample
        self._clock = SampleClock(fs_hz * speed, time.monotonic_ns())

    def read(self, timeout_s: float) -> Chunk | None:
        """What is due up to the next gap, or None: not yet, or, once ``finished``, never again."""
        if self.finished:
            time.sleep(timeout_s)
            return None
        row, run_end = self._row, int(self._runs[np.searchsorted(self._runs, self._row, "right")])
        last = min(row + self._clock.step, run_end) - 1
        due = self._clock.wait(self._turn + int(self._index[last]) + 1, timeout_s) - self._turn
        end = min(int(np.searchsorted(self._index, due)), run_end)
        if end <= row:
            return None
        data, seq = self._data[row:end], self._turn + int(self._index[row])
        self._count(data, row)
        self._advance(end)
        return Chunk(self._clock.due_ns(seq + end - row), seq, self.fs_hz, data)

    def close(self) -> None:
        """Nothing to release."""

    def _count(self, data: NDArray[np.float32], row: int) -> None:
        self.counters["nan_samples"] += int((~np.isfinite(data)).any(axis=1).sum())
        if row > 0:
            self.counters["lost_samples"] += int(self._index[row] - self._index[row - 1] - 1)

    def _advance(self, row: int) -> None:
        self._row = row
        if row == len(self._index):
            self._row, self.finished = 0, not self._loop
            self._turn += int(self._index[-1]) + 1


def open_replay(address: str) -> ReplayEmg:
    """Read the whole recording and start to play it.  Raises DeviceError with the remedy."""
    parsed = Address(address)
    recording = read_recording(Path(parsed.target), parsed.take("time", "", str))
    columns, channels = _pick(parsed, recording)
    fs_hz = parsed.take("fs_hz", recording.fs_hz, positive)
    unit = parsed.take("unit", recording.unit or "uV", str)
    speed = parsed.take("speed", 1.0, positive)
    loop = parsed.take("loop", False, flag)
    parsed.done()
    if not fs_hz:
        raise DeviceError(f"{address!r}: the file does not say its rate; add fs_hz=")
    try:
        data_uv = np.ascontiguousarray(recording.data[:, columns] * unit_uv(unit), np.float32)
    except ValueError as e:
        raise DeviceError(f"{address!r}: the unit is {unit!r}; {e}: say which with unit=") from e
    return ReplayEmg(address, data_uv, recording.index, fs_hz, channels, speed, loop)


def _pick(address: Address, recording: Recording) -> tuple[list[int], tuple[str, ...]]:
    """Columns of the recording, and what they are called."""
    wanted = address.take("channels", tuple[str, ...](), names)
    rows = address.take("rows", tuple[int, ...](), indices)
    known = recording.channels
    if rows:
        if len(wanted or rows) != len(rows) or not all(0 <= i < len(known) for i in rows):
            raise DeviceError(
                f"{address.text!r}: {len(rows)} rows for {len(wanted)} channels; give as many of "
                f"both, and rows from 0 to {len(known) - 1}"
            )
        return list(rows), wanted or tuple(known[i] for i in rows)
    if missing := [name for name in wanted if name not in known]:
        raise DeviceError(f"{address.text!r}: no channel {missing}; the recording has {known}")
    channels = wanted or known
    return [known.index(name) for name in channels], channels
