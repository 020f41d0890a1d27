"""Population-based training of LFADS on Ray: nobody sets a filter or a penalty by hand.

After Jaderberg et al. 2017 with the rules of AutoLFADS (Keshtkaran & Pandarinath 2019): many
networks train side by side; after each generation they meet in random pairs, each loser takes the
winner's weights, optimiser and settings, and then changes the settings a little.  The same code on
a laptop with two workers and on a Ray cluster.
"""

import math
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.lfads import Lfads, LfadsConfig
from training.fit_lfads import EmgWindows, Hyper, LfadsFit, LfadsTraining

TRIES = 99  # draws of a change before the value is moved to the bound that it leaves
LEAST = 0.002  # of the largest change, the smallest
STILL = 5e-4  # relative gain of the best score over PATIENCE generations that counts as none
PATIENCE = 4
METRIC = "smooth"


class Range(NamedTuple):
    """How one setting is searched: drawn first between ``low`` and ``high``, but for one member."""

    low: float
    high: float
    weight: float  # largest relative change when a loser explores
    enforced: bool  # whether the bounds hold later, too; else only zero or more


# Table 2.8 of what is known of the method: the laboratory's ranges for EMG.
RANGES: dict[str, Range] = {
    "rate": Range(1e-5, 5e-3, 0.3, True),
    "dropout": Range(0.0, 0.6, 0.3, True),
    "hidden": Range(0.01, 0.7, 0.3, True),
    "kl_co": Range(1e-7, 1e-4, 0.8, False),
    "kl_ic": Range(1e-7, 1e-4, 0.8, False),
    "l2_gen": Range(1e-7, 1.0, 0.8, False),
    "l2_con": Range(1e-7, 1.0, 0.8, False),
}


@dataclass(frozen=True)
class Search:
    """A population.  Raises ValueError for one that has no pairs."""

    members: int = 8
    generation: int = 25  # epochs
    burn_in: int = 80  # epochs before the first generation
    generations: int = 40  # at most
    settle: int = 20  # epochs of the best member after the last, its rate falling to nothing
    seed: int = 1

    def __post_init__(self) -> None:
        if self.members < 2 or self.members % 2:
            raise ValueError(f"search.members must be even, 2 or more, is {self.members}")
        if min(self.generation, self.generations) < 1 or min(self.burn_in, self.settle) < 0:
            raise ValueError("search.generation and generations must be 1 or more, others 0")


class Found(NamedTuple):
    """What a population came to."""

    net: Lfads  # of the best member, in eval mode
    hyper: Hyper  # its last settings
    score: float  # smoothed validation likelihood
    history: list[dict[str, float]]  # one row per member and generation: settings, scores


def first_settings(member: int, search: Search, usual: Hyper) -> Hyper:
    """Where a member begins: the first as a single run does, the others drawn, log-uniform where
    a range is wide.
    """
    if member == 0:
        return usual
    rng = random.Random(f"{search.seed} {member}")
    drawn = {}
    for name, r in RANGES.items():
        wide = r.low > 0 and r.high / r.low > 100
        drawn[name] = (
            math.exp(rng.uniform(math.log(r.low), math.log(r.high)))
            if wide
            else rng.uniform(r.low, r.high)
        )
    return Hyper(**drawn)


def explored(settings: Mapping[str, float], rng: random.Random) -> dict[str, float]:
    """A winner's settings as its loser takes them: each changed by up to its weight, up or down."""
    found = {}
    for name, old in settings.items():
        r = RANGES[name]
        low, high = (r.low, r.high) if r.enforced else (0.0, math.inf)
        for _ in range(TRIES):
            change = rng.uniform(LEAST * r.weight, r.weight) * rng.choice((-1, 1))
            if low <= (new := old * (1 + change)) <= high:
                break
        found[name] = min(max(new, low), high)
    return found


def pairs(members: Sequence[Any], rng: random.Random) -> list[tuple[Any, Any]]:
    """Everybody once, in random pairs; who is left over meets nobody."""
    order = list(members)
    rng.shuffle(order)
    return list(zip(order[::2], order[1::2], strict=False))


def stands_still(best: Sequence[float], patience: int = PATIENCE, least: float = STILL) -> bool:
    """Whether the last ``patience`` generations gained nothing on the best score before them."""
    if len(best) <= patience:
        return False
    before, now = min(best[:-patience]), min(best[-patience:])
    return (before - now) <= least * abs(before)


def search_lfads(
    data: EmgWindows,
    config: LfadsConfig,
    fit: LfadsFit,
    search: Search,
    folder: Path,
    *,
    workers: int = 2,
    address: str | None = None,
    report: Callable[[dict[str, float]], None] = lambda row: None,
) -> Found:
    """Run a population, or go on with the one that ``folder`` has; every generation is kept there.

    ``address`` of a Ray cluster, ``auto`` for the one this machine belongs to, None for this
    machine alone.  A worker that dies begins its generation again.  ``report`` hears of every
    member's every generation.  Raises ModuleNotFoundError without Ray, and ValueError for data
    that cannot be fitted, or for a folder with another search.
    """
    from training.pbt_ray import run

    # What is wrong with the data is said here, and not by a worker.
    LfadsTraining(data, config, replace(fit, device="cpu"), schedule=False)
    return run(data, config, fit, search, folder.absolute(), workers, address, report)


def draw_schedules(history: Sequence[dict[str, float]], path: Path) -> None:
    """The settings of every member over the generations, and their scores, as a figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = [f.name for f in fields(Hyper)]
    figure, axes = plt.subplots(4, 2, figsize=(10, 10), sharex=True, constrained_layout=True)
    members = sorted({int(row["member"]) for row in history})
    best = min(history, key=lambda row: row[METRIC])["member"]
    for axis, name in zip(axes.ravel(), [METRIC, *names], strict=True):
        for m in members:
            rows = sorted((r for r in history if r["member"] == m), key=lambda r: r["generation"])
            style = {"color": "C3", "linewidth": 2} if m == best else {"color": "0.6"}
            axis.plot([r["generation"] for r in rows], [r[name] for r in rows], **style)
        axis.set_title(name if name != METRIC else "validation likelihood, smoothed: -log p")
        if name not in (METRIC, "dropout", "hidden"):
            axis.set_yscale("log")
    for axis in axes[-1]:
        axis.set_xlabel("generation")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def settings_of(row: Mapping[str, float]) -> dict[str, float]:
    """The part of a row, or of a worker's configuration, that is searched."""
    return {name: float(row[name]) for name in RANGES}


def environment() -> dict[str, str]:
    """What workers need to find this program and to leave the other cores alone."""
    return {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def first_population(search: Search, usual: Hyper) -> list[dict[str, float]]:
    """Settings of every member before the first generation; ``usual`` are a single run's."""
    return [asdict(first_settings(m, search, usual)) for m in range(search.members)]


def best_of(history: Sequence[dict[str, float]]) -> list[float]:
    """The best score of each generation, in order."""
    last = int(max((row["generation"] for row in history), default=0))
    found = []
    for g in range(1, last + 1):
        scores = [row[METRIC] for row in history if row["generation"] == g]
        found.append(float(np.min(scores)) if scores else math.inf)
    return found
