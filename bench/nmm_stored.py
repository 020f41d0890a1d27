"""What took an hour: every method on every simulated person and load, in ``bench/results/nmm``.

``V1_0kg.json`` is person V1 with the trials of 0 kg held out.  Settings were chosen on V6, who is
not among them; on V6 NMM is also trained without some of its parts (``V6_0kg_no_kin.json``), and a
short training on V6 is repeated at every run of the bench.

The kept files of version 4 are not of one run: networks and static optimisation were kept from
version 3, whose code for them is the same, and the synergies with cheaper activity added; those of
the reference's price came out equal again.
"""

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from bench.kept import read_kept
from training.crossval_results import write_json
from training.gait_study import RUN, gait_study
from training.nmm_config import NmmRun
from training.nmm_study import study, without
from training.virtual_people import LOADS_KG, PEOPLE, TUNED_ON

FOLDER = Path(__file__).parent / "results" / "nmm"
REAL = FOLDER / "gait_soleus.json"
REMEDY = "run: FULL=1 make bench-nmm (an hour)"
SHORT_EPOCHS = 10
VERSION = 4  # of what these results depend on besides the settings; raise it when that changes

# What NMM is trained without, on the person that settings were chosen on.
PARTS = {
    "whole": "all of it",
    "no_moment": "without the moment among its inputs",
    "no_kin": "without its neighbours' likeness",
    "no_physics": "without torque and motion in the loss",
}
PART_LOADS_KG = (min(LOADS_KG), max(LOADS_KG))

Json = dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """One person with one load held out; ``part`` of ``PARTS``: NMM alone."""

    person: str
    held_kg: float
    short: bool = False
    part: str = ""

    @property
    def file(self) -> Path:
        """Where its result is kept."""
        return FOLDER / f"{self.person}_{self.held_kg:g}kg{self.suffix}.json"

    @property
    def suffix(self) -> str:
        """Of its file's name, besides person and load."""
        return "_short" if self.short else f"_{self.part}" if self.part else ""

    @property
    def run(self) -> NmmRun:
        """Its settings: the defaults, less what it does without."""
        run = replace(NmmRun(), epochs=SHORT_EPOCHS) if self.short else NmmRun()
        if self.part == "no_kin":
            return replace(run, loss=replace(run.loss, kin=0.0))
        if self.part == "no_physics":
            return replace(run, loss=replace(run.loss, moment=0.0, motion=0.0))
        return run

    @property
    def settings(self) -> Json:
        """What decides its result, as JSON gives it back."""
        plain = asdict(self.run) | {"version": VERSION, "part": self.part}
        found: Json = json.loads(json.dumps(plain))
        return found


SHORT = Unit(TUNED_ON, 4.0, short=True)


def units() -> Iterator[Unit]:
    """All of them."""
    yield from people()
    yield from parts()
    yield SHORT


def people() -> Iterator[Unit]:
    """Every person and load, every method."""
    yield from (Unit(name, kg) for name in PEOPLE for kg in LOADS_KG)


def parts() -> Iterator[Unit]:
    """NMM with and without its parts."""
    yield from (Unit(TUNED_ON, kg, part=part) for part in PARTS for kg in PART_LOADS_KG)


def stored(unit: Unit) -> tuple[Json | None, tuple[str, ...]]:
    """What is kept of a unit, and what is wrong with it."""
    return read_kept(unit.file, unit.settings, REMEDY)


def fit(unit: Unit) -> Json:
    """Study a unit now; minutes."""
    torch.set_num_threads(1)
    if unit.part:
        found = without(unit.person, unit.held_kg, unit.run, unit.part != "no_moment")
    else:
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
    if real_stored()[1]:
        keep_real()
    missing = [u for u in units() if stored(u)[1]]
    gentle = partial(os.nice, 5)
    with ProcessPoolExecutor(workers, get_context("spawn"), gentle) as pool:
        for unit in pool.map(_kept, missing):
            print(f"kept {unit.file.name}", file=sys.stderr, flush=True)


def _kept(unit: Unit) -> Unit:
    write_json(unit.file, fit(unit))
    return unit
