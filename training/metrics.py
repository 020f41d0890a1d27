"""How good an estimate is, and how honest its doubt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Score:
    """Errors of one output on one group of samples; ``rmse`` in the output's unit."""

    group: str
    output: str
    n: int
    rmse: float
    r2: float  # 1 - residual / variance within the group; NaN where the truth hardly moves


def score(group: str, output: str, estimate: ArrayLike, truth: ArrayLike) -> Score:
    """Root-mean-square error and coefficient of determination of ``(n,)`` values."""
    e, t = np.asarray(estimate, np.float64), np.asarray(truth, np.float64)
    residual, spread = float(np.mean((e - t) ** 2)), float(np.var(t))
    r2 = 1.0 - residual / spread if spread > 1.0 else float("nan")
    return Score(group, output, len(t), residual**0.5, r2)


def scores(
    outputs: Sequence[str], groups: Sequence[str], estimate: ArrayLike, truth: ArrayLike
) -> list[Score]:
    """One score per output over everything (group ``all``), then one per output and group.

    ``estimate`` and ``truth`` are ``(n, outputs)``, ``groups`` has a name per row.
    """
    e, t, g = np.asarray(estimate), np.asarray(truth), np.asarray(groups)
    found = [score("all", o, e[:, k], t[:, k]) for k, o in enumerate(outputs)]
    for name in dict.fromkeys(groups):
        rows = g == name
        found += [score(name, o, e[rows, k], t[rows, k]) for k, o in enumerate(outputs)]
    return found


def doubt(estimate: ArrayLike, sd: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """The factor on ``sd`` that makes it fit the errors on data not trained on, per output.

    Networks doubt themselves by their training errors, which are smaller than those to come.
    """
    z = (np.asarray(estimate) - np.asarray(truth)) / np.asarray(sd)
    return np.asarray(np.sqrt(np.mean(np.asarray(z, np.float64) ** 2, axis=0)))
