"""What took an hour: every method on every simulated person and load, in ``bench/results/nmm``.

``V1_0kg.json`` is person V1 with the trials of 0 kg held out.  Settings were chosen on V6, who is
not among them; a short training on V6 is repeated at every run of the bench.
"""

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from bench.kept import read_kept
from training.crossval_results import write_json
from training.gait_study import RUN, gait_study
from training.nmm_config import NmmRun
from training.nmm_study import study
from training.virtual_people import LOADS_KG, PEOPLE, TUNED_ON

FOLDER = Path(__file__).parent / "results" / "nmm"
REAL = FOLDER / "gait_soleus.json"
REMEDY = "run: FULL=1 make bench-nmm (an hour)"
SHORT_EPOCHS = 10
VERSION = 2  # of what these results depend on besides the settings; raise it when that changes

Json = dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """One person with one load held out."""

    person: str
    held_kg: float
    short: bool = False

    @property
    def file(self) -> Path:
        """Where its result is kept."""
        return FOLDER / f"{self.person}_{self.held_kg:g}kg{'_short' * self.short}.json"

    @property
    def run(self) -> NmmRun:
        """Its settings: the defaults."""
        return replace(NmmRun(), epochs=SHORT_EPOCHS) if self.short else NmmRun()

    @property
    def settings(self) -> Json:
        """What decides its result, as JSON gives it back."""
        found: Json = json.loads(json.dumps(asdict(self.run) | {"version": VERSION}))
        return found


SHORT = Unit(TUNED_ON, 4.0, short=True)


def units() -> Iterator[Unit]:
    """All of them."""
    yield from (Unit(name, kg) for name in PEOPLE for kg in LOADS_KG)
    yield SHORT


def stored(unit: Unit) -> tuple[Json | None, tuple[str, ...]]:
    """What is kept of a unit, and what is wrong with it."""
    return read_kept(unit.file, unit.settings, REMEDY)


def fit(unit: Unit) -> Json:
    """Study a unit now; minutes."""
    torch.set_num_threads(1)
    found = study(unit.person, unit.held_kg, unit.run)
    return {"command": "FULL=1 make bench-nmm", "simulated": True, **found,
            "settings": unit.settings}  # fmt: skip


def real_settings() -> Json:
    """What decides the recorded leg's result."""
    found: Json = json.loads(json.dumps(asdict(RUN) | {"version": VERSION}))
    return found


def real_stored() -> tuple[Json | None, tuple[str, ...]]:
    """What is kept of the recorded leg, and what is wrong with it."""
    return read_kept(REAL, real_settings(), REMEDY)


def keep_real() -> None:
    """Study the recorded leg and keep it.  Raises DataMissing."""
    torch.set_num_threads(1)
    found = {"command": "FULL=1 make bench-nmm", "simulated": False, **gait_study()}
    write_json(REAL, found | {"settings": real_settings()})


def run_all(workers: int = 2) -> None:
    """Study every unit that is not kept as the settings now are, and keep it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    missing = [u for u in units() if stored(u)[1]]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for unit in pool.map(_kept, missing):
            print(f"kept {unit.file.name}", file=sys.stderr, flush=True)
    if real_stored()[1]:
        keep_real()


def _kept(unit: Unit) -> Unit:
    os.nice(5)
    write_json(unit.file, fit(unit))
    return unit
