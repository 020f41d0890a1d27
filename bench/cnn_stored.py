"""What took hours: kept in ``bench/results/cnn`` with the command and the seed that made it.

==========================  =================================================================
``cohort_ours.json``        results.json of a 16-fold cross-validation, with command, seed and
``cohort_plain.json``       config; the participants are simulated
``cohort_residual.json``
``pretrained.npz``          what every fold of ours begins from; of people in none of the folds
``traces.npz``              estimates of ours on everybody held out, float16, for the figures
``real.json``               us_mg_dynamometer: clips and conditions left out
==========================  =================================================================
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.checkpoint import Weights
from training.cohort.dataset import cohort
from training.crossval_results import fold_arrays, write_json
from training.state_config import StateRun, load_run
from training.train_state_command import train_state

FOLDER = Path(__file__).parent / "results" / "cnn"
CONFIGS = {"ours": "state-cnn", "plain": "plain", "residual": "residual"}
REMEDY = "run: FULL=1 make bench-cnn (hours)"
# What a run may choose without changing its results.
FREE = (("data", "cache"), ("folds", "workers"), ("folds", "only"))

Json = dict[str, Any]
Traces = dict[str, NDArray[Any]]


def command(who: str) -> str:
    """The command behind a stored cross-validation."""
    return f"sonomyo train state-cnn --config {CONFIGS[who]}"


def stored(name: str) -> Json | None:
    """A stored JSON file; None where it is missing."""
    path = FOLDER / name
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else None


def stored_cohort(who: str) -> tuple[Json | None, tuple[str, ...]]:
    """A stored cross-validation, and what is wrong with it."""
    found = stored(name := f"cohort_{who}.json")
    if found is None:
        return None, (f"{name} is missing: {REMEDY}, which runs: {command(who)}",)
    now = load_run(CONFIGS[who])
    if _decisive(found["config"]) != _decisive(asdict(now)):
        return found, (f"{name} was made with other settings than {CONFIGS[who]}.toml: {REMEDY}",)
    if len(found["folds"]) != now.folds.count:
        return found, (f"{name} has {len(found['folds'])} of {now.folds.count} folds: {REMEDY}",)
    return found, ()


def stored_start() -> Weights | None:
    """The weights that every fold of ours begins from; None where they are not stored."""
    path = FOLDER / "pretrained.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def stored_traces() -> Traces | None:
    """``person``, ``t_s`` ``(n,)``, ``truth``, ``values``, ``sd`` ``(n, 3)``; None if missing."""
    path = FOLDER / "traces.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name].astype(np.float64) for name in arrays.files}


def run_all() -> None:
    """Cross-validate every network and store what comes out; hours.

    Goes on with folds that are in ``out/train``: delete them to begin from nothing.  Raises
    RuntimeError where a cross-validation could not begin.
    """
    for who, config in CONFIGS.items():
        folder = Path("out/train") / config
        if train_state(config, folder, resume=True, quick=False):
            raise RuntimeError(f"{command(who)} failed, see above: nothing of it was stored")
        keep(who, folder, load_run(config))


def keep(who: str, folder: Path, run: StateRun) -> None:
    """Store the cross-validation in ``folder``, and for ours what it began from and its traces."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    results = json.loads((folder / "results.json").read_text("utf-8"))
    about = {"command": command(who), "seed": run.fit.seed, "simulated": True}
    write_json(FOLDER / f"cohort_{who}.json", about | results | {"config": asdict(run)})
    if who == "ours":
        if run.pretrain.people:
            weights: Weights = torch.load(folder / "pretrained.pt", weights_only=True)["weights"]
            arrays: Any = {name: tensor.numpy() for name, tensor in weights.items()}
            np.savez_compressed(FOLDER / "pretrained.npz", **arrays)
        arrays = traces(folder, run)
        np.savez_compressed(FOLDER / "traces.npz", **arrays)


def traces(folder: Path, run: StateRun) -> Traces:
    """The estimates of a cross-validation in order of person and time, small enough to keep."""
    d = run.data
    people = range(d.first, d.first + d.people)
    a = fold_arrays(folder, range(run.folds.count))
    order = np.argsort(a["rows"])
    t_s = cohort(people, d.frames, d.seed, Path(d.cache)).t_s[a["rows"][order]]
    short = {name: a[name][order].astype(np.float16) for name in ("truth", "values", "sd")}
    return {"person": a["person"][order].astype(np.int16), "t_s": t_s, **short}


def _decisive(config: Json) -> Json:
    """A configuration as JSON gives it back, without what does not change the results."""
    found: Json = json.loads(json.dumps(config))
    for table, key in FREE:
        found[table].pop(key, None)
    return found
