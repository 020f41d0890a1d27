"""How good an estimate is, and how honest its doubt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.special
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]
STILL = 1e-3  # of the mean square: a truth that varies less hardly moves
LEVELS = tuple(k / 20 for k in range(1, 20))  # nominal coverages: 0.05 .. 0.95


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
    still = spread <= STILL * float(np.mean(t**2))
    r2 = float("nan") if still else 1.0 - residual / spread
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


class Accuracy(NamedTuple):
    """Three readings, in per cent, of an "accuracy" whose definition the literature leaves open.

    Cunningham & Loram 2019 (arXiv 1907.01649) print one number per output and do not say which;
    we quote ``a`` and log all.
    """

    a: float  # 100 (1 - SSE / SST): variance accounted for; below 0 is worse than the mean
    b: float  # 100 (1 - RMSE / SD); 100 (1 - sqrt(1 - a / 100)) by its definition
    c: float  # 100 (1 - RMSE / range)


def accuracy(estimate: ArrayLike, truth: ArrayLike) -> Accuracy:
    """Accuracies of ``(n,)`` values of one output of one person; NaN where the truth stands still.

    Raises ValueError for shapes that differ, no values or values that are not finite.
    """
    e, t = np.asarray(estimate, np.float64), np.asarray(truth, np.float64)
    if e.shape != t.shape or e.ndim != 1 or not e.size:
        raise ValueError(f"estimates {e.shape} of truths {t.shape}: pass (n,) of both, n > 0")
    if not (np.isfinite(e).all() and np.isfinite(t).all()):
        raise ValueError("estimates or truths are not finite: leave out frames without either")
    error, spread = float(np.mean((e - t) ** 2)), float(np.var(t))
    if not spread > 0:
        return Accuracy(np.nan, np.nan, np.nan)
    return Accuracy(
        a=100 * (1 - error / spread),
        b=100 * (1 - (error / spread) ** 0.5),
        c=100 * (1 - error**0.5 / float(np.ptp(t))),
    )


@dataclass(frozen=True)
class People:
    """Accuracies of one output on people who were held out: one value each, then over people."""

    output: str
    person: tuple[int, ...]
    each: tuple[Accuracy, ...]

    @property
    def mean(self) -> Accuracy:
        """Over people, each counting once."""
        return Accuracy(*np.mean(self.each, axis=0).tolist())

    @property
    def sd(self) -> Accuracy:
        """Over people, of a sample of them (n - 1); NaN for one person."""
        if len(self.each) < 2:
            return Accuracy(np.nan, np.nan, np.nan)
        return Accuracy(*np.std(self.each, axis=0, ddof=1).tolist())


def accuracies(
    outputs: Sequence[str], person: ArrayLike, estimate: ArrayLike, truth: ArrayLike
) -> list[People]:
    """Per output, the accuracy on each person over all their frames.

    ``estimate`` and ``truth`` are ``(n, outputs)``, ``person`` numbers ``(n,)``.  Raises as
    ``accuracy``.
    """
    e, t, who = np.asarray(estimate), np.asarray(truth), np.asarray(person)
    people = tuple(int(p) for p in np.unique(who))
    return [
        People(o, people, tuple(accuracy(e[who == p, k], t[who == p, k]) for p in people))
        for k, o in enumerate(outputs)
    ]


def coverage(estimate: ArrayLike, sd: ArrayLike, truth: ArrayLike) -> F64:
    """Share of truths within the central Gaussian interval of each of LEVELS: ``(19, outputs)``.

    All three are ``(n, outputs)``.  Raises ValueError for an sd that is not positive, no values or
    values that are not finite.
    """
    e, s, t = (np.asarray(v, np.float64) for v in (estimate, sd, truth))
    if not e.size or not (e.shape == s.shape == t.shape) or e.ndim != 2:
        raise ValueError(f"estimate {e.shape}, sd {s.shape}, truth {t.shape}: pass (n, outputs)")
    if not (np.isfinite(e).all() and np.isfinite(t).all() and np.all(s > 0)):
        raise ValueError("coverage needs finite estimates and truths and sd > 0")
    within = scipy.special.erf(np.abs(e - t) / s / 2**0.5)  # the level whose interval just holds it
    return np.stack([np.mean(within <= level, axis=0) for level in LEVELS])


def calibration_error(estimate: ArrayLike, sd: ArrayLike, truth: ArrayLike) -> F64:
    """Expected calibration error of a regression ``(outputs,)``: 0 = every interval keeps its word.

    Mean absolute difference between nominal and empirical coverage over LEVELS, after Kuleshov,
    Fenner & Ermon 2018 (arXiv 1807.00263; their intervals are one-sided, ours central).  Raises as
    ``coverage``.
    """
    found = coverage(estimate, sd, truth)
    return np.asarray(np.mean(np.abs(found - np.array(LEVELS)[:, None]), axis=0))
