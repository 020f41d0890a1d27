"""Cross-validations of several networks as one of their committee (``models.committee``).

Nothing is fitted: where each member has estimated everybody held out, so has the committee.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.committee import together
from training.crossval_results import Arrays, fold_arrays, fold_file, summarise, write_json

SAME = ("rows", "person", "truth", "anatomy_truth")
WORST = ("odd", "far", "gate")


def combine(
    members: Sequence[Path], folder: Path, numbers: Sequence[int], outputs: Sequence[str]
) -> dict[str, Any]:
    """Write the committee's folds, and their summary, to ``folder``; as ``cross_validate`` does.

    Raises FileNotFoundError for a fold that a member lacks, ValueError where the members were not
    asked about the same pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        arrays: Any = _joined([fold_arrays(m, [number]) for m in members])
        np.savez_compressed(fold_file(folder, number, "npz"), **arrays)
        notes = [json.loads(fold_file(m, number, "json").read_text("utf-8")) for m in members]
        whole = {"members": [m.name for m in members], "seconds": sum(n["seconds"] for n in notes)}
        write_json(fold_file(folder, number, "json"), notes[0] | whole | {"epochs": []})
    return summarise(folder, numbers, outputs)


def _joined(parts: Sequence[Arrays]) -> Arrays:
    """Arrays of a fold, in the names of ``fold_arrays``."""
    found: Arrays = {}
    for prefix in ("", "routine_"):
        if prefix + "rows" not in parts[0]:
            continue
        for name in SAME:
            first, *others = (p[prefix + name] for p in parts)
            if not all(np.array_equal(first, o, equal_nan=first.dtype.kind == "f") for o in others):
                raise ValueError(f"the members were not asked about the same pictures ({name})")
            found[prefix + name] = first
        each = {
            name: [p[prefix + name] for p in parts]
            for name in (*WORST, "values", "sd", "anatomy", "features")
        }
        values, sd = together(*([torch.from_numpy(a) for a in each[k]] for k in ("values", "sd")))
        found |= {prefix + "values": values.numpy(), prefix + "sd": sd.numpy()}
        found[prefix + "anatomy"] = np.mean(each["anatomy"], axis=0)
        found[prefix + "features"] = np.concatenate(each["features"], axis=1)
        found |= {prefix + name: np.max(each[name], axis=0) for name in WORST}
    if "probe_kind" in parts[0]:
        found["probe_kind"] = parts[0]["probe_kind"]
        found["probe_gate"] = np.max([p["probe_gate"] for p in parts], axis=0)
        found["probe_sd"] = _root_mean_square([p["probe_sd"] for p in parts])
    return found


def _root_mean_square(each: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """What the members' own doubts come to; how far they disagree would add to it."""
    return np.asarray(np.sqrt(np.mean(np.square(each), axis=0)))
