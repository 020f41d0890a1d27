"""OpenSim's tables, ``.sto`` and ``.mot``, plain or gzipped."""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class StoError(ValueError):
    """A file that is no such table; the message says what is wrong with it."""


def read_sto(path: Path) -> dict[str, NDArray[np.float64]]:
    """Columns by name, ``time`` in s among them; other units are the file's.

    Raises StoError for files without a header or with rows that do not fit it.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
    except (OSError, EOFError) as e:
        raise StoError(f"{path}: cannot be read: {e}") from e
    ends = [k for k, line in enumerate(lines) if line.strip().lower() == "endheader"]
    if not ends:
        raise StoError(f"{path} has no line that says endheader: not an OpenSim table")
    body = [line.split() for line in lines[ends[0] + 1 :] if line.strip()]
    if len(body) < 2:
        raise StoError(f"{path} holds no rows")
    names, rows = body[0], body[1:]
    if "time" not in names:
        raise StoError(f"{path} has no column time: {names[:5]}")
    if bad := [k for k, row in enumerate(rows) if len(row) != len(names)]:
        raise StoError(f"{path}: row {bad[0]} has {len(rows[bad[0]])} of {len(names)} values")
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError as e:
        raise StoError(f"{path}: {e}") from e
    return dict(zip(names, table.T.copy(), strict=True))


def in_degrees(path: Path) -> bool:
    """Whether the header says that angles are in degrees."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as f:
        for line in f:
            if line.strip().lower() == "endheader":
                break
            if line.replace(" ", "").lower().startswith("indegrees=yes"):
                return True
    return False
