"""EMG recordings as arrays: CSV, NPZ, EDF and BDF, and our own MCAP.

CSV: optional ``#`` comments, an optional header, then one line per sample, between commas,
semicolons, tabs or blanks; an empty field is NaN.  A column headed ``time``, ``time_s``, ``t`` or
``t_s`` (or the one the caller names) is the time of each sample in seconds.

NPZ: ``data (samples, channels)`` and, as far as known, ``fs_hz``, ``channels``, ``unit`` and
``t_s``, the time of each sample.

Where times are given, a step of more than one and a half samples is a gap.
"""

import gzip
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.parameters import UNITS_UV
from firmware_bridge.types import DeviceError

TIME_HEADERS = ("time", "time_s", "t", "t_s")


@dataclass(frozen=True)
class Recording:
    """All samples of a file, in its unit.

    ``index`` ``(samples,)`` int64 counts samples as the amplifier did: it jumps over a gap.
    """

    data: NDArray[np.floating[Any]]  # (samples, channels)
    index: NDArray[np.int64]
    fs_hz: float  # 0 = the file does not say
    channels: tuple[str, ...]
    unit: str = ""  # "" = the file does not say


def read_recording(path: Path, time: str = "") -> Recording:
    """Read a whole file; ``time`` is the CSV column of the sample times, by name or index.

    Raises DeviceError that says what is wrong with the file.
    """
    readers = {
        ".npz": _read_npz,
        ".edf": _read_edf,
        ".bdf": _read_edf,
        ".mcap": _read_mcap,
    }
    if not path.is_file():
        raise DeviceError(f"no such recording: {path}")
    try:
        reader = readers.get(path.suffix.lower())
        recording = reader(path) if reader else _read_csv(path, time)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as e:
        raise DeviceError(f"{path} is not a recording that can be played: {e}") from e
    if recording.data.ndim != 2 or recording.data.size == 0:
        raise DeviceError(f"{path} has no samples")
    return recording


def _read_csv(path: Path, time: str) -> Recording:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig") as file:
        lines = [
            line for line in (raw.split("#")[0].rstrip("\r\n") for raw in file) if line.strip()
        ]
    if not lines:
        raise ValueError("it is empty")
    delimiter = next((d for d in ",;\t" if d in lines[0]), None)
    first = [field.strip().strip('"') for field in lines[0].split(delimiter)]
    named = not all(_is_number(field) for field in first)
    if not lines[named:]:
        raise ValueError("it has a header and no samples")
    table = np.loadtxt(
        lines[named:], delimiter=delimiter, ndmin=2, converters=lambda s: float(s) if s else np.nan
    )
    names = first if named else [f"emg{i}" for i in range(len(first))]
    column = _time_column(names, named, time)
    if column is None:
        return Recording(table, np.arange(len(table)), 0.0, tuple(names))
    index, fs_hz = _index_of(table[:, column])
    keep = [i for i in range(len(names)) if i != column]
    return Recording(table[:, keep], index, fs_hz, tuple(names[i] for i in keep))


def _time_column(names: list[str], named: bool, time: str) -> int | None:
    if time in names:
        return names.index(time)
    if time:
        column = int(time) if time.isdigit() else len(names)
        if column >= len(names):
            raise ValueError(f"there is no column {time!r}; there are {names}")
        return column
    found = (i for i, name in enumerate(names) if named and name.lower() in TIME_HEADERS)
    return next(found, None)


def _read_npz(path: Path) -> Recording:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        data = np.atleast_2d(np.asarray(file["data"], np.float64).T).T
        channels = (
            [str(name) for name in np.atleast_1d(file["channels"])]
            if ("channels" in file)
            else [f"emg{i}" for i in range(data.shape[1])]
        )
        index, fs_hz = np.arange(len(data)), 0.0
        if "t_s" in file:
            index, fs_hz = _index_of(np.asarray(file["t_s"], np.float64))
        if "fs_hz" in file:
            fs_hz = float(file["fs_hz"])
        unit = str(file["unit"]) if "unit" in file else ""
    if len(channels) != data.shape[1] or len(index) != len(data):
        raise ValueError(f"channels and t_s do not fit data of shape {data.shape}")
    return Recording(data, index, fs_hz, tuple(channels), unit)


def _read_edf(path: Path) -> Recording:
    try:
        import pyedflib
    except ImportError as e:
        raise DeviceError(f"reading {path} needs pyedflib: pip install pyedflib") from e
    with pyedflib.EdfReader(str(path)) as file:
        headers = file.getSignalHeaders()
        emg = [i for i, h in enumerate(headers) if h["dimension"].strip() in UNITS_UV]
        if not emg:
            raise ValueError("it has no signal in uV, mV or V")
        fs_hz = max(headers[i]["sample_frequency"] for i in emg)
        emg = [i for i in emg if headers[i]["sample_frequency"] == fs_hz]
        columns = [file.readSignal(i) * UNITS_UV[headers[i]["dimension"].strip()] for i in emg]
    data = np.stack(columns, axis=1)
    channels = tuple(headers[i]["label"].strip() for i in emg)
    return Recording(data, np.arange(len(data)), float(fs_hz), channels, "uV")


def _read_mcap(path: Path) -> Recording:
    from firmware_bridge.recording import emg_info, read_chunks

    info = emg_info(path)
    chunks = list(read_chunks(path))
    if not chunks:
        raise ValueError("it has no EMG")
    index = np.concatenate([c.seq + np.arange(len(c.data)) for c in chunks])
    data = np.concatenate([c.data for c in chunks])
    if not (np.diff(index) > 0).all():
        raise ValueError("its samples are not in order")
    return Recording(data, index - index[0], info.fs_hz, tuple(info.channels), "uV")


def _index_of(t_s: NDArray[np.float64]) -> tuple[NDArray[np.int64], float]:
    """Sample numbers and rate from sample times, each step judged by itself: no drift adds up."""
    steps = np.diff(t_s)
    if len(steps) == 0 or not (steps > 0).all():
        raise ValueError("its times do not rise; name the time column with ?time=, or none")
    usual = float(np.median(steps))
    even = steps[steps < 1.5 * usual]
    fs_hz = len(even) / float(even.sum())
    moved = np.where(steps < 1.5 * usual, 1, np.round(steps * fs_hz)).astype(np.int64)
    return np.concatenate([[0], np.cumsum(moved)]), float(f"{fs_hz:.9g}")


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True
