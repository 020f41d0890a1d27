"""What a method is shown of trials: parts of them, muscles without their electrode, splits."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from training.joint_data import JointTrial

TRAINING = 0.6  # of a recording's time
SHORTEST_S = 1.3  # a window of the network at 100 Hz


def cut(t: JointTrial, start: int, stop: int, name: str | None = None) -> JointTrial:
    """Samples ``start`` to ``stop`` of a trial."""
    values: dict[str, Any] = {f.name: getattr(t, f.name) for f in fields(t)}
    for key, x in values.items():
        if isinstance(x, np.ndarray):
            values[key] = x[start:stop]
    values["name"], values["start_s"] = name or t.name, t.start_s + start / t.rate_hz
    return JointTrial(**values)


def hide(t: JointTrial, names: Sequence[str], muscle: str) -> JointTrial:
    """The trial as if ``muscle`` had no electrode: its envelope is NaN, and ``truth`` knows it.

    ``names`` are those of the trial's muscles.  Raises ValueError for a muscle that is not among
    them or was not measured.
    """
    if muscle not in names:
        raise ValueError(f"no muscle {muscle!r} in {t.name}; there are: {', '.join(names)}")
    column = names.index(muscle)
    if np.isnan(t.envelope[:, column]).any():
        raise ValueError(f"{muscle} has no electrode in {t.name}: there is nothing to hide")
    envelope, truth = t.envelope.copy(), np.full_like(t.truth, np.nan)
    truth[:, column] = envelope[:, column]
    envelope[:, column] = np.nan
    return replace(t, envelope=envelope, truth=truth)


def time_split(
    stretches: Sequence[JointTrial], part: float = TRAINING
) -> tuple[list[JointTrial], list[JointTrial]]:
    """The first ``part`` of the time in stretches of one recording, and the rest of it.

    A stretch is cut where that time is over, unless a piece would be shorter than ``SHORTEST_S``:
    then all of it goes to the side on which most of it lies.
    """
    left = round(part * sum(len(t.angle_rad) for t in stretches))
    first: list[JointTrial] = []
    rest: list[JointTrial] = []
    for t in stretches:
        n, shortest = len(t.angle_rad), round(SHORTEST_S * t.rate_hz)
        if shortest <= left <= n - shortest:
            first.append(cut(t, 0, left, f"{t.name}a"))
            rest.append(cut(t, left, n, f"{t.name}b"))
        else:
            (first if left > n / 2 else rest).append(t)
        left -= n
    return first, rest
