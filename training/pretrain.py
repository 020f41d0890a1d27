"""Pretraining: what muscles look like in many people, learned once before the folds."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.state_cnn import WINDOW, StateCnnConfig
from training.checkpoint import Weights, load, save, weights
from training.cohort.dataset import cohort, generator_version
from training.fit_state import Epoch, fit_state
from training.outliers import SHOWN, spoil
from training.state_config import Pretraining, SimulatedPeople
from training.state_data import MapsOf, StateData
from training.state_epoch import StateFit
from training.state_material import state_data

VALIDATION = 16  # every so many people one is not trained on, and sets the doubt
SPOILT = 3  # seed of the spoilt pictures; the folds have 1 and 2


def pretrained(
    model: StateCnnConfig,
    fit: StateFit,
    more: Pretraining,
    people: SimulatedPeople,
    maps_of: MapsOf,
    file: Path,
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> Weights | None:
    """Weights fitted to further simulated people, none of them of the cohort; None for none.

    Kept in ``file`` and read from there; a killed fit goes on from a ``.checkpoint`` beside it,
    whose name says what it depends on.
    Raises ValueError when ``file`` is of other settings, people or maps.
    """
    if not more.people:
        return None
    key = _key(model, fit, more, people, maps_of)
    if file.exists():
        kept: Weights = load(file, key)["weights"]
        return kept
    who = range(more.first, more.first + more.people)
    data = state_data(cohort(who, more.frames, people.seed, Path(people.cache)), maps_of)
    short = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    checkpoint = file.with_suffix(f".{short}.checkpoint")
    found = fit_people(data, model, fit, more, people.shown, maps_of, checkpoint, report)
    save(file, {"weights": found}, key)
    checkpoint.unlink(missing_ok=True)
    return found


def fit_people(
    data: StateData,
    model: StateCnnConfig,
    fit: StateFit,
    more: Pretraining,
    shown: int,
    maps_of: MapsOf,
    checkpoint: Path,
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> Weights:
    """Weights fitted to everybody in ``data``; ``shown`` spoilt pictures of each kind."""
    held = np.isin(data.person, np.unique(data.person)[::VALIDATION])
    done = fit_state(
        data,
        np.flatnonzero(~held),
        np.flatnonzero(held),
        spoil(data, list(SHOWN), shown, SPOILT, maps_of),
        model,
        replace(fit, epochs=more.epochs, rate=more.rate),
        checkpoint=checkpoint,
        report=report,
    )
    return weights(done.net)


def _key(
    model: StateCnnConfig,
    fit: StateFit,
    more: Pretraining,
    people: SimulatedPeople,
    maps_of: MapsOf,
) -> dict[str, Any]:
    """Everything the weights depend on; the segmenter by what it sees in one picture of noise."""
    noise = np.random.default_rng(1).integers(0, 256, (1, WINDOW, WINDOW), np.uint8)
    return {
        "model": asdict(model),
        "fit": asdict(replace(fit, epochs=more.epochs, rate=more.rate)),
        "pretrain": asdict(more),
        "people": [people.seed, people.shown, generator_version()],
        "maps": hashlib.sha256(maps_of(noise).tobytes()).hexdigest(),
    }
