"""What took hours: kept in ``bench/results/cnn`` with the command and the seed that made it.

==========================  =================================================================
``cohort_ours.json``        results.json of a 16-fold cross-validation, with command, seed and
``cohort_looks.json``       config; the participants are simulated
``cohort_strided.json``
``cohort_plain.json``
``cohort_residual.json``
``personal.json``           ours on everybody held out, personalised by their routine
``pretrained_looks.npz``    what every fold of a member of ours begins from; of people in none of
``pretrained_strided.npz``  the folds; the latter is what the real leg begins from, too
``traces.npz``              estimates of ours on everybody held out, float16, for the figures
``leg.json``                us_mg_dynamometer: clips and conditions left out, learning curve
==========================  =================================================================
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge.bundle import load_bundle
from edge.segment import SEGMENTER
from training.checkpoint import Weights
from training.cohort.dataset import cohort, generator_version, routine_cohort
from training.crossval_results import fold_arrays, write_json
from training.personal import compare, held_people, means
from training.real_leg_command import study_leg
from training.state_config import StateRun, load_run
from training.train_state_command import train_state

FOLDER = Path(__file__).parent / "results" / "cnn"
CONFIGS = {
    "ours": "state-cnn",
    "looks": "looks",
    "strided": "strided",
    "plain": "plain",
    "residual": "residual",
}
MEMBERS = load_run(CONFIGS["ours"]).members
LEG = "leg"
REMEDY = "run: FULL=1 make bench-cnn (hours)"
# What a run may choose without changing its results.
FREE = (("data", "cache"), ("folds", "workers"), ("folds", "only"))

Json = dict[str, Any]
Traces = dict[str, NDArray[Any]]


def command(who: str) -> str:
    """The command behind something stored."""
    return (
        f"sonomyo train state-cnn --config {CONFIGS[who]}"
        if who != LEG
        else ("sonomyo train real-leg")
    )


def stored(name: str) -> Json | None:
    """A stored JSON file; None where it is missing."""
    path = FOLDER / name
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else None


def stored_cohort(who: str) -> tuple[Json | None, tuple[str, ...]]:
    """A stored cross-validation, and what is wrong with it."""
    found, wrong = _checked(who, f"cohort_{who}.json", CONFIGS[who])
    if found is not None and len(found["folds"]) != (count := found["config"]["folds"]["count"]):
        wrong = (*wrong, f"cohort_{who}.json has {len(found['folds'])} of {count} folds: {REMEDY}")
    return found, wrong


def stored_leg() -> tuple[Json | None, tuple[str, ...]]:
    """The stored study of the real leg, and what is wrong with it."""
    return _checked(LEG, "leg.json", LEG)


def stored_start(member: str) -> Weights | None:
    """The weights that every fold of a member of ours begins from; None where not stored."""
    path = FOLDER / f"pretrained_{member}.npz"
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
    """Cross-validate every network, study the leg, and store what comes out; hours.

    Goes on with what is in ``out/train``: delete it to begin from nothing.  Raises RuntimeError
    where something could not begin.
    """
    for who, config in CONFIGS.items():
        if who not in MEMBERS and train_state(config, folder_of(who), resume=True, quick=False):
            raise RuntimeError(f"{command(who)} failed, see above: nothing of it was stored")
        keep(who, folder_of(who), load_run(config))
    folder = Path("out/train") / LEG
    if study_leg(LEG, folder, resume=True, quick=False):
        raise RuntimeError(f"{command(LEG)} failed, see above: nothing of it was stored")
    keep_leg(folder, load_run(LEG))


def folder_of(who: str) -> Path:
    """Where a cross-validation leaves its folds; a member of ours inside the folder of ours."""
    out = Path("out/train")
    return out / CONFIGS["ours"] / who if who in MEMBERS else out / CONFIGS[who]


def keep(who: str, folder: Path, run: StateRun) -> None:
    """Store the cross-validation in ``folder``; of members what they began from, of ours traces."""
    _keep(f"cohort_{who}.json", who, folder, run)
    if who in MEMBERS:
        _keep_start(who, folder)
    if who != "ours":
        return
    arrays: Any = traces(folder, run)
    np.savez_compressed(FOLDER / "traces.npz", **arrays)
    write_json(FOLDER / "personal.json", personal(folder, run))


def keep_leg(folder: Path, run: StateRun) -> None:
    """Store the study in ``folder``."""
    _keep("leg.json", LEG, folder, run)


def personal(folder: Path, run: StateRun) -> Json:
    """Accuracies by variant and output of everybody held out, before and after the routine."""
    d = run.data
    people, cache = range(d.first, d.first + d.people), Path(d.cache)
    held = held_people(
        folder,
        range(run.folds.count),
        cohort(people, d.frames, d.seed, cache),
        routine_cohort(people, d.routine, d.seed, cache),
    )
    rows = compare(held)
    found: Json = {"command": command("ours"), "simulated": True, "outputs": {}}
    for (output, variant), (mean, sd) in means(rows).items():
        one = {"mean": mean._asdict(), "sd": sd._asdict()}
        found["outputs"].setdefault(output, {})[variant] = one
    found["refused"] = sorted({r.person for r in rows if r.refused})
    return found


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


def _checked(who: str, name: str, config: str) -> tuple[Json | None, tuple[str, ...]]:
    """A stored file, and whether it is of the settings we have now."""
    found = stored(name)
    if found is None:
        return None, (f"{name} is missing: {REMEDY}, which runs: {command(who)}",)
    if _decisive(found["config"]) != _decisive(asdict(load_run(config))):
        return found, (f"{name} was made with other settings than {config}.toml: {REMEDY}",)
    if old := [k for k, v in _world().items() if found.get(k) != v]:
        return found, (f"{name} was made with another {' and '.join(old)}: {REMEDY}",)
    return found, ()


def _world() -> Json:
    """What every result rests on besides its own settings."""
    return {"generator": generator_version(), "segmenter": load_bundle(SEGMENTER).id}


def _keep(name: str, who: str, folder: Path, run: StateRun) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    results = json.loads((folder / "results.json").read_text("utf-8"))
    about = {"command": command(who), "seed": run.fit.seed, "simulated": who != LEG} | _world()
    write_json(FOLDER / name, about | results | {"config": asdict(run)})


def _keep_start(who: str, folder: Path) -> None:
    weights: Weights = torch.load(folder / "pretrained.pt", weights_only=True)["weights"]
    arrays: Any = {name: tensor.numpy() for name, tensor in weights.items()}
    np.savez_compressed(FOLDER / f"pretrained_{who}.npz", **arrays)
