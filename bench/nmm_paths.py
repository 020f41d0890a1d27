"""Muscle lengths and moment arms beside OpenSim's, and where OpenSim is not taken at its word.

``training/opensim_paths.py`` keeps what OpenSim reports and, where that contradicts OpenSim's own
path points or the slope of its own length, what these say.  We are held to the latter; the table
says of how many muscles and sweeps, and what is left out.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from bench.part import number
from models import elbow
from models.opensim_import import read_osim
from models.paths import Paths
from training.datasets import locate

FOLDER = Path(__file__).parent / "results" / "nmm"
STUDIES = ("arm26", "gait2392", "rajagopal")
LEFT_OUT = "r_shoulder_elev"  # of arm26: whoever is fitted here lets the upper arm hang
Json = Any


class Off(NamedTuple):
    """Greatest errors."""

    length_mm: float
    arm_mm: float


class PathErrors(NamedTuple):
    """Rows of a table and numbers of JSON."""

    rows: list[tuple[str, str, str]]
    numbers: dict[str, Any]


def path_errors() -> PathErrors:
    """Of the elbow in closed form and of every model that is read.  Raises DataMissing."""
    closed = elbow_error()
    rows = [_row("elbow in closed form, upper arm hanging", closed)]
    counted, numbers = [closed], {}
    for study in STUDIES:
        kept = _kept(study)
        sweeps = [s for s in kept["sweeps"] if s["coordinate"] != LEFT_OUT]
        off = imported_error(kept, sweeps)
        rows.append(_row(f"paths read from {study}", off))
        counted.append(off)
        pairs = sum(len(s["length_mm"]) for s in sweeps)
        instead = {}
        for said, own, text in (
            ("length_mm", "path_mm", "sum along OpenSim's path points for its getLength"),
            ("arm_mm", "slope_mm", "slope of that sum for its computeMomentArm"),
        ):
            found = _replaced(sweeps, said, own)
            if found:
                names = ", ".join(dict.fromkeys(n for n, _ in found))
                most = max(mm for _, mm in found)
                title = f"... {text}: {names}, {len(found)} of {pairs} sweeps of a muscle"
                rows.append((title, f"{most:.2f} mm apart", ""))
                instead[own] = {
                    "of": names,
                    "pairs": len(found),
                    "of_pairs": pairs,
                    "apart_mm": most,
                }
        numbers[study] = {"length_mm": off.length_mm, "moment_arm_mm": off.arm_mm, **instead}
        if aside := [s for s in kept["sweeps"] if s not in sweeps]:
            off = imported_error(kept, aside)
            title = f"... {len(aside)} sweeps of {LEFT_OUT}, which do not count"
            rows.append(_row(title, off, wanted=""))
            numbers[study]["left_out"] = {"sweeps": len(aside), **off._asdict()}
    worst = Off(*(max(x) for x in zip(*counted, strict=True)))
    return PathErrors(
        rows,
        {"length_mm": worst.length_mm, "moment_arm_mm": worst.arm_mm,
         "elbow_closed_form": tuple(closed), "imported": numbers},
    )  # fmt: skip


def elbow_error() -> Off:
    """Over the whole range, from what OpenSim reports."""
    sweep = _kept("arm26")["sweeps"][0]
    length, arm = elbow.paths(torch.tensor(sweep["q_rad"], dtype=torch.float64))
    return _worst(elbow.MUSCLES, length, arm, sweep["length_mm"], sweep["arm_mm"])


def imported_error(kept: Json, sweeps: Sequence[Json]) -> Off:
    """Of paths read from a file."""
    model = read_osim(locate(*kept["model"].split("/", 1)))
    off = []
    for sweep in sweeps:
        names = list(sweep["length_mm"])
        paths = Paths(model, names, [sweep["coordinate"]], sweep["held_rad"])
        q = torch.tensor(sweep["q_rad"], dtype=torch.float64)[:, None]
        length, arm = paths.lengths_and_arms_mm(q)
        lengths = {**sweep["length_mm"], **sweep["path_mm"]}
        arms = {**sweep["arm_mm"], **sweep["slope_mm"]}
        off.append(_worst(names, length, arm[..., 0], lengths, arms))
    return Off(*(max(x) for x in zip(*off, strict=True)))


def _replaced(sweeps: Sequence[Json], said: str, own: str) -> list[tuple[str, float]]:
    """Muscle and greatest difference, for every sweep in which ``own`` stands for ``said``."""
    return [
        (name, float(np.abs(np.subtract(values, sweep[said][name])).max()))
        for sweep in sweeps
        for name, values in sweep[own].items()
    ]


def _kept(study: str) -> Json:
    return json.loads((FOLDER / f"paths_{study}.json").read_text("utf-8"))


def _worst(
    names: Sequence[str], length: torch.Tensor, arm: torch.Tensor, lengths: Json, arms: Json
) -> Off:
    off = [
        (np.abs(length[:, i].numpy() - lengths[n]).max(), np.abs(arm[:, i].numpy() - arms[n]).max())
        for i, n in enumerate(names)
    ]
    return Off(*(float(max(x)) for x in zip(*off, strict=True)))


def _row(title: str, off: Off, wanted: str = "<= 0.5, 1") -> tuple[str, str, str]:
    cell = f"{number(off.length_mm, 3)}, {number(off.arm_mm, 3)}"
    return f"{title}: length, moment arm, mm", cell, wanted
