"""What a cross-validation leaves in its folder, and what it adds up to."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics import accuracies, calibration_error, doubt

Arrays = dict[str, NDArray[Any]]


def fold_file(folder: Path, number: int, ending: str) -> Path:
    """Where one part of a fold is kept."""
    return folder / f"fold_{number:02d}.{ending}"


def fold_arrays(folder: Path, numbers: Sequence[int]) -> Arrays:
    """The estimates of these folds, one after the other.  Raises FileNotFoundError.

    ``rows (n,)`` of the data, ``person (n,)``, ``truth``, ``values``, ``sd`` ``(n, outputs)``,
    ``anatomy``, ``anatomy_truth`` ``(n, 6)``, ``features (n, hidden)``, ``odd``, ``far``, ``gate``
    ``(n,)``; the same with ``routine_`` in front where there was a routine; ``probe_kind``,
    ``probe_gate`` ``(m,)`` and ``probe_sd (m, outputs)`` of spoilt pictures.
    """
    parts = []
    for number in numbers:
        with np.load(fold_file(folder, number, "npz"), allow_pickle=False) as arrays:
            parts.append(dict(arrays))
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def summarise(folder: Path, numbers: Sequence[int], outputs: Sequence[str]) -> dict[str, Any]:
    """Sum up these folds, and write it to ``results.json``.

    Per output: accuracies a, b, c (see training.metrics) of each held-out participant, their mean
    and SD over participants, root-mean-square error, expected calibration error, and the factor
    that would make the sd fit.  For ordinary and for every kind of spoilt picture: the share whose
    gate is at least half open, and the smallest sd in standard deviations of the targets.
    """
    a = fold_arrays(folder, numbers)
    error = a["values"] - a["truth"]
    spread = a["truth"].std(0)
    people = accuracies(outputs, a["person"], a["values"], a["truth"])
    ece = calibration_error(a["values"], a["sd"], a["truth"])
    factor = doubt(a["values"], a["sd"], a["truth"])
    notes = [json.loads(fold_file(folder, k, "json").read_text("utf-8")) for k in numbers]
    found: dict[str, Any] = {"folds": list(numbers), "outputs": {}}
    for k, p in enumerate(people):
        found["outputs"][p.output] = {
            "mean": p.mean._asdict(),
            "sd": p.sd._asdict(),
            "rmse": float(np.sqrt(np.mean(error[:, k] ** 2))),
            "ece": float(ece[k]),
            "sd_factor": float(factor[k]),
            "participants": {
                str(who): one._asdict() for who, one in zip(p.person, p.each, strict=True)
            },
        }
    found["ordinary"] = _caution(a["gate"], a["sd"], spread)
    if "probe_kind" in a:
        found["spoilt"] = {
            str(kind): _caution(
                a["probe_gate"][a["probe_kind"] == kind],
                a["probe_sd"][a["probe_kind"] == kind],
                spread,
            )
            for kind in np.unique(a["probe_kind"])
        }
    found["epochs"] = [n["best"] for n in notes]
    found["minutes"] = round(sum(n["seconds"] for n in notes) / 60, 1)
    write_json(folder / "results.json", found)
    return found


def write_json(path: Path, what: Any) -> None:
    """At once or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, path)


def _caution(gate: NDArray[Any], sd: NDArray[Any], spread: NDArray[Any]) -> dict[str, float]:
    smallest = (sd / spread).min(1)  # of any output
    return {
        "pictures": len(gate),
        "refused": float(np.mean(gate >= 0.5)),
        "begun": float(np.mean(gate > 0)),
        "sd_p5": float(np.quantile(smallest, 0.05)),
        "sd_median": float(np.median(smallest)),
    }
