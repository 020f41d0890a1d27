"""The phases of the routine: rest, hard pushes (MVC), slow passive motion, and when they were."""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

REST, MVC, PASSIVE = PHASES = ("rest", "mvc", "passive")
COLUMNS = ("start_s", "end_s", "phase", "angle_deg", "moment_nm")


class CalibrationError(ValueError):
    """This wearer cannot be calibrated to from this; the message names the remedy."""


@dataclass(frozen=True)
class Interval:
    """A phase from ``start_s`` to ``end_s``, and what was read meanwhile; NaN = nothing."""

    start_s: float
    end_s: float
    phase: str
    angle_deg: float = math.nan  # ankle, negative = dorsiflexed
    moment_nm: float = math.nan  # plantarflexion positive

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise CalibrationError(f"phase {self.phase!r} is not one of {', '.join(PHASES)}")
        if not 0 <= self.start_s < self.end_s < math.inf:
            raise CalibrationError(
                f"{self.phase} from {self.start_s:g} to {self.end_s:g} s: times count from the "
                "start of the recording, and the end comes after the start"
            )
        if math.isinf(self.angle_deg) or math.isinf(self.moment_nm):
            raise CalibrationError(f"{self.phase} at {self.start_s:g} s: leave unknown cells empty")


def read_phases(path: Path) -> tuple[Interval, ...]:
    """The table of phases, a CSV file (docs/personalise.md).  Raises CalibrationError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as f:
            table = csv.DictReader(f, restkey="more", restval="")
            unknown = set(table.fieldnames or ()) - set(COLUMNS)
            if unknown or not set(COLUMNS[:3]) <= set(table.fieldnames or ()):
                raise CalibrationError(f"{path}: the first line must be {','.join(COLUMNS)}")
            found = tuple(_interval(path, row) for row in table)
    except (OSError, UnicodeDecodeError) as e:
        raise CalibrationError(f"cannot read {path}: {e}") from e
    return _apart(found)


def _interval(path: Path, row: dict[str, str]) -> Interval:
    try:
        numbers = {
            name: float(text) if (text := row.get(name, "").strip()) else math.nan
            for name in COLUMNS if name != "phase"
        }  # fmt: skip
        if "more" in row:
            raise ValueError("too many cells")
        return Interval(phase=row["phase"].strip(), **numbers)
    except ValueError as e:
        raise CalibrationError(f"{path}: {','.join(map(str, row.values()))}: {e}") from e


def marked_phases(marks: Iterable[tuple[float, str]]) -> tuple[Interval, ...]:
    """Phases from marks ``(t_s, text)``: one called rest, mvc or passive begins a phase.

    The next mark, whatever it says, ends it.  Raises CalibrationError.
    """
    ordered = sorted(marks)
    found = [
        Interval(start, end, text.strip().lower())
        for (start, text), (end, _) in zip(ordered, ordered[1:], strict=False)
        if text.strip().lower() in PHASES
    ]
    if ordered and ordered[-1][1].strip().lower() in PHASES:
        raise CalibrationError(
            f"the last mark begins {ordered[-1][1]!r} and nothing ends it: mark the end, or write "
            "a table of phases"
        )
    if not found:
        raise CalibrationError(
            "the recording has no marks called rest, mvc, passive: give --phases a table"
        )
    return _apart(tuple(found))


def _apart(intervals: tuple[Interval, ...]) -> tuple[Interval, ...]:
    ordered = tuple(sorted(intervals, key=lambda i: i.start_s))
    for a, b in zip(ordered, ordered[1:], strict=False):
        if b.start_s < a.end_s:
            raise CalibrationError(
                f"{a.phase} until {a.end_s:g} s and {b.phase} from {b.start_s:g} s overlap"
            )
    return ordered
