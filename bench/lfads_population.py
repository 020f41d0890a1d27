"""Whether a population finds better settings than ours: one search beside one single run."""

import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.lfads_stored import FOLDER, REMEDY, SHORT_SECONDS
from bench.part import Part, number
from models.lfads import Lfads
from training import emg_recordings
from training.crossval_results import write_json
from training.emg_decoding import LEARNED, truth_r2
from training.fit_lfads import fit_lfads
from training.lfads_config import LfadsRun, usual
from training.lfads_person import Person, activation, people, windows_of
from training.pbt import Search, search_lfads

FILE = FOLDER / "population.json"
BED, SEED = "bed:gait", 2
# No member has more epochs than the single run, settling included.
SEARCH = Search(members=4, generation=10, burn_in=10, generations=7, settle=20)
WORKERS = 2

Json = dict[str, Any]


def population_part() -> Part:
    """What is kept of the search and of the single run."""
    title = f"settings, on {SHORT_SECONDS:g} s of a bed (SIMULATED)"
    heads = ("validation: -log p", "R2 of known activation", "minutes")
    if not FILE.is_file():
        return Part(title, heads, [], {}, (f"{FILE.name} is missing: {REMEDY}",))
    kept = dict(json.loads(FILE.read_text("utf-8")))
    wrong: tuple[str, ...] = ()
    if kept["settings"] != _settings():
        wrong = (f"{FILE.name} is of other settings: {REMEDY}",)
    named = {
        "one run, default settings": kept["single"],
        f"population of {SEARCH.members}, {WORKERS} workers": kept["population"],
    }
    digits = {"validation": 4, "truth_r2": 4, "minutes": 1}
    rows = [(name, *(number(one[k], d) for k, d in digits.items())) for name, one in named.items()]
    numbers = {"pbt": {who: kept[who] for who in ("single", "population")}}
    return Part(title, heads, rows, numbers, wrong)


def study_population() -> None:
    """Search, run once with the defaults, and keep both.  Half an hour."""
    if FILE.is_file() and json.loads(FILE.read_text("utf-8"))["settings"] == _settings():
        return
    run = _run()
    recording = emg_recordings.bed_recording(BED, SEED, SHORT_SECONDS)
    truth = np.stack(list(recording.targets.values()), 1)
    (person,) = people([recording], run.data)
    windows = windows_of(person, run.windows)
    config = run.model.config(len(person.channels), run.windows.bins)
    start = time.monotonic()
    net, epochs = fit_lfads(windows, config, run.fit)
    single = _judged(net, person, truth, min(e.smooth for e in epochs), start)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = search_lfads(
            windows,
            config,
            run.fit,
            SEARCH,
            Path(folder),
            workers=WORKERS,
            report=lambda row: print(f"population: {row}", file=sys.stderr, flush=True),
        )
    population = _judged(found.net, person, truth, found.score, start)
    write_json(
        FILE,
        {
            "command": "FULL=1 make bench-lfads",
            "simulated": True,
            "single": single | {"hyper": asdict(run.fit.hyper)},
            "population": population | {"hyper": asdict(found.hyper)},
            "history": found.history,
            "settings": _settings(),
        },
    )


def _judged(net: Lfads, person: Person, truth: Any, validation: float, start: float) -> Json:
    said = activation(net, person, _run().windows)[0]
    known = np.arange(len(truth)) < LEARNED * len(truth)
    return {
        "validation": validation,
        "truth_r2": truth_r2(said, truth, known),
        "minutes": (time.monotonic() - start) / 60,
    }


def _run() -> LfadsRun:
    run = usual(BED)
    return replace(run, data=replace(run.data, seed=SEED), search=SEARCH)


def _settings() -> Json:
    asked = {k: v for k, v in asdict(_run()).items() if k not in ("twin", "device")}
    found: Json = json.loads(json.dumps(asked | {"bed_seconds": SHORT_SECONDS}))
    return found
