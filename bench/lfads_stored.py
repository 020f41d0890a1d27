"""What took an hour: every method on every bed and person, kept in ``bench/results/lfads``.

One JSON file a unit: ``bed-lorenz_2.json`` is a bed of seed 2, ``knee_N01.json`` a person.  Seed 1
of the beds chose sizes and settings and is not among them.
"""

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.kept import read_kept
from training import emg_recordings
from training.crossval_results import write_json
from training.emg_recordings import Recording, recordings
from training.fit_lfads import Epoch
from training.lfads_config import LfadsRun, usual
from training.lfads_study import study

FOLDER = Path(__file__).parent / "results" / "lfads"
REMEDY = "run: FULL=1 make bench-lfads (an hour or two)"
BEDS, SEEDS = ("bed:lorenz", "bed:gait"), (2, 3, 4)
REAL = {
    "ta": ("PL",),
    "knee": ("N01", "N02", "N03", "N04", "N05", "N06", "N07", "N10"),
    "gait": ("ID0012",),
}
SHORT_SECONDS, SHORT_EPOCHS = 40.0, 20  # of the bed that every run of the bench fits again

Json = dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """One training: a bed of a seed, or a person of a set."""

    set: str
    who: str
    short: bool = False  # little of it, to be repeated in a minute

    @property
    def file(self) -> Path:
        """Where its result is kept."""
        name = f"{self.set.replace(':', '-')}_{self.who}{'_short' * self.short}.json"
        return FOLDER / name

    @property
    def run(self) -> LfadsRun:
        """Its settings: the defaults."""
        seed = int(self.who) if self.set in BEDS else 1
        run = usual(self.set)
        run = replace(run, data=replace(run.data, seed=seed))
        return replace(run, fit=replace(run.fit, epochs=SHORT_EPOCHS)) if self.short else run

    def recordings(self) -> list[Recording]:
        """Raises DataMissing."""
        if self.set in BEDS:
            seconds = SHORT_SECONDS if self.short else emg_recordings.BED_SECONDS
            return [emg_recordings.bed_recording(self.set, self.run.data.seed, seconds)]
        return [r for r in recordings(self.set) if r.person == self.who]

    @property
    def settings(self) -> Json:
        """What decides its result, as JSON gives it back."""
        asked = {k: v for k, v in asdict(self.run).items() if k not in ("search", "device")}
        seconds = {"bed_seconds": emg_recordings.BED_SECONDS} if self.set in BEDS else {}
        found: Json = json.loads(json.dumps(asked | seconds))
        return found


SHORT = Unit("bed:lorenz", "2", short=True)


def units() -> Iterator[Unit]:
    """All of them, the longest first."""
    yield from (Unit(name, str(seed)) for name in reversed(BEDS) for seed in SEEDS)
    yield from (Unit(name, who) for name, people in REAL.items() for who in people)
    yield SHORT


def stored(unit: Unit) -> tuple[Json | None, tuple[str, ...]]:
    """What is kept of a unit, and what is wrong with it."""
    return read_kept(unit.file, unit.settings, REMEDY)


def fit(unit: Unit) -> Json:
    """Study a unit now.  Raises what ``study`` raises."""
    start = time.monotonic()

    def report(epoch: Epoch) -> None:
        if epoch.number % 20 == 0:
            text = f"{unit.file.stem}: epoch {epoch.number}, validation {epoch.validation:.4f}"
            print(text, file=sys.stderr, flush=True)

    found = study(unit.recordings(), unit.run, report)
    return {
        "command": "FULL=1 make bench-lfads",
        "simulated": unit.set in BEDS,
        "epochs": len(found.epochs),
        "validation": min(e.smooth for e in found.epochs),
        "minutes": (time.monotonic() - start) / 60,
        "rows": found.rows,
        "settings": unit.settings,
    }


def run_all(workers: int = 2) -> None:
    """Study every unit that is not kept as the settings now are, and keep it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    missing = [u for u in units() if stored(u)[1]]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for unit in pool.map(_kept, missing):
            print(f"kept {unit.file.name}", file=sys.stderr, flush=True)


def _kept(unit: Unit) -> Unit:
    write_json(unit.file, fit(unit))
    return unit
