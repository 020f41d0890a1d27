"""How far the device's network is off on what it was not trained on: trials, or a load, left out.

Networks of the folds run over their held-out trials as the device would, sample by sample.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import torch

from models.nmm_doubt import Doubt, seen
from models.nmm_step import SPOKEN
from training.causal_trials import causal_trial
from training.fit_nmm import Fitted, fit
from training.nmm_asked import Asked, Line, device_step, say, truth
from training.nmm_config import NmmRun
from training.nmm_study import elbow_joint
from training.virtual_arm import Trial
from training.virtual_measure import measure

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fold:
    """One training and the trials it does not see; none: the network that ships."""

    name: str
    held: tuple[int, ...]  # places among the trials
    away_kg: float = 0.0  # from the load of these to the nearest in training


@dataclass(frozen=True)
class Outcome:
    """Of one fold."""

    fold: Fold
    fitted: Fitted
    asked: tuple[Asked, ...]


def folds(trials: Sequence[Trial]) -> list[Fold]:
    """Every trial once held out while its load and its tempo stay in training; every load once
    held out; nothing held out.  Raises ValueError for fewer than two loads or tempos.
    """
    loads = sorted({t.load_kg for t in trials})
    tempos = sorted({t.tempo_s for t in trials})
    if min(len(loads), len(tempos)) < 2:
        raise ValueError("one load or one tempo alone cannot be left out: give trials of two")
    count = max(len(loads), len(tempos))
    group = [(loads.index(t.load_kg) + tempos.index(t.tempo_s)) % count for t in trials]
    squares = [
        Fold(f"trials {k + 1} of {count}", tuple(n for n, g in enumerate(group) if g == k))
        for k in range(count)
    ]
    without = [
        Fold(
            f"without {kg:g} kg",
            tuple(n for n, t in enumerate(trials) if t.load_kg == kg),
            min(abs(kg - other) for other in loads if other != kg),
        )
        for kg in loads
    ]
    return [*squares, *without, Fold("all", ())]


def run_folds(trials: Sequence[Trial], run: NmmRun, workers: int = 0) -> list[Outcome]:
    """Train and ask every fold of one person's trials, in order; 0 workers: one for each core."""
    jobs = [(fold, trials, run) for fold in folds(trials)]
    outcomes = []
    for o in _outcomes(jobs, min(workers or os.cpu_count() or 1, len(jobs))):
        off = np.concatenate([a.off for a in o.asked] or [np.zeros((0, len(SPOKEN) + 1))])
        rmse = ", ".join(f"{e:.2f}" for e in np.sqrt((off**2).mean(0))) if len(off) else "-"
        log.info("%s: %.0f s; RMSE of %s, torque: %s", o.fold.name, o.fitted.seconds,
                 ", ".join(SPOKEN), rmse)  # fmt: skip
        outcomes.append(o)
    return outcomes


Job = tuple[Fold, Sequence[Trial], NmmRun]


def _outcomes(jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
    if workers == 1:
        yield from map(run_fold, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run_fold, jobs)


def run_fold(job: Job) -> Outcome:
    """Train one fold and ask it."""
    fold, every, run = job
    torch.set_num_threads(1)  # the other cores have folds of their own
    measured = [measure(t) for t in every]
    trials = [causal_trial(m) for m in measured]
    train = [t for k, t in enumerate(trials) if k not in fold.held]
    person = every[0].person
    fitted = fit(train, elbow_joint(person), run)
    if not fold.held:
        return Outcome(fold, fitted, ())
    features = torch.tensor(np.concatenate([t.features for t in train]))
    one = torch.ones(len(fitted.loads_kg), len(SPOKEN) + 1)  # its doubt is what is being measured
    step = device_step(fitted, person, Doubt(one, one[0], seen(features, fitted.loads_kg)))
    said = say(step, [measured[k] for k in fold.held])
    line, after = Line(train), slice(step.settle_steps, None)
    asked = tuple(
        Asked(
            every[k].load_kg, fold.away_kg,
            values[after], line(trials[k])[after], truth(every[k], measured[k])[after],
        )
        for k, (values, _) in zip(fold.held, said, strict=True)
    )  # fmt: skip
    return Outcome(fold, fitted, asked)
