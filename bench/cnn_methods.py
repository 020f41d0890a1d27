"""Methods on the simulated cohort side by side: linear baselines, and by how much one is better."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.state_cnn import STATE
from training.folds import Folds, folds
from training.hand_features import hand_baseline_folds
from training.metrics import accuracies
from training.state_data import StateData

SHORT = {"ankle_angle": "angle", "emg": "emg", "ankle_moment": "moment"}

Outputs = dict[str, Any]  # as "outputs" of results.json


def baselines(data: StateData, how: Folds) -> dict[str, Outputs]:
    """The training mean and ridge on hand features over the same folds."""
    mean = np.empty(data.targets.shape)
    for fold in folds(data.person.tolist(), how):
        out = np.isin(data.person, fold.test)
        mean[out] = data.targets[~out].mean(axis=0, dtype=np.float64)
    values = {"mean": mean, "ridge": hand_baseline_folds(data, how)}
    return {who: scored(data.person, v, data.targets) for who, v in values.items()}


def scored(person: NDArray[Any], values: NDArray[Any], truth: NDArray[Any]) -> Outputs:
    """As in results.json; there is no sd to calibrate."""
    rmse = np.sqrt(np.mean((values - truth) ** 2, axis=0))
    return {
        p.output: {
            "mean": p.mean._asdict(),
            "sd": p.sd._asdict(),
            "rmse": float(rmse[k]),
            "ece": None,
            "participants": {
                str(n): a._asdict() for n, a in zip(p.person, p.each, strict=True)
            },
        }
        for k, p in enumerate(accuracies(STATE, person, values, truth))
    }  # fmt: skip


def difference(some: Outputs, stored: Outputs) -> float:
    """The largest difference in A of any output of any participant in ``some``."""
    return max(
        float(abs(a["a"] - stored[output]["participants"][who]["a"]))
        for output, one in some.items()
        for who, a in one["participants"].items()
    )


def margins(
    ours: Outputs | None, plain: Outputs | None, how: Folds
) -> dict[str, dict[str, float] | None]:
    """By how many points of A ours is above the plain CNN: mean and SD over folds."""
    if ours is None or plain is None:
        return dict.fromkeys(SHORT.values())
    found: dict[str, dict[str, float] | None] = {}
    for output in STATE:
        each, other = ours[output]["participants"], plain[output]["participants"]
        points = [
            np.mean([each[str(n)]["a"] - other[str(n)]["a"] for n in fold.test])
            for fold in folds([int(n) for n in each], how)
        ]
        found[SHORT[output]] = {"mean": float(np.mean(points)), "sd": float(np.std(points, ddof=1))}
    return found
