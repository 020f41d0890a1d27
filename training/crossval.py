"""Leave-participants-out cross-validation of the state CNN; a killed run goes on where it was.

Everybody is held out once.  Each fold is saved as soon as it is done: ``fold_00.npz`` (estimates),
``fold_00.json`` (how it went), ``fold_00.pt`` (the network).  ``results.json`` sums them up.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.state_cnn import StateCnn, StateCnnConfig
from training.checkpoint import Weights, digest
from training.crossval_results import fold_file, summarise, write_json
from training.fit_state import Epoch, fit_state
from training.folds import Fold, Folds, folds
from training.kept import keep
from training.outliers import NOBODY, Spoilt
from training.predict_state import Rows, predict
from training.state_data import Pictures, StateData
from training.state_epoch import StateFit

FoldReport = Callable[[int, Epoch], None]


@dataclass(frozen=True)
class Material:
    """What every fold is cut from."""

    data: StateData
    shown: Spoilt | None  # spoilt pictures to train on
    probes: Spoilt | None  # others, to test on: kinds that were shown, and kinds that were not
    routine: StateData | None = None  # the calibration routine of the same people, looked at only


def cross_validate(
    material: Material,
    model: StateCnnConfig,
    fit: StateFit,
    how: Folds,
    folder: Path,
    outputs: Sequence[str],
    report: FoldReport = lambda fold, epoch: None,
    start: Weights | None = None,
) -> dict[str, Any]:
    """Fit and test every fold that ``folder`` does not have yet; the summary, as in results.json.

    ``start`` are weights that every fold begins from, of people in none of the folds.
    ``report`` hears of every epoch, and only of those worked on in this process.  Raises
    ValueError for a folder with folds of other settings, ModuleNotFoundError when more workers
    are asked for than one and Ray is not installed.
    """
    material = _kept(material, model, fit)  # once, not once a fold
    key = _key(material, model, fit, how, start)
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder / "key.json", key)
    wanted = [
        f for f in folds(material.data.person.tolist(), how) if not how.only or f.number in how.only
    ]
    todo = [f for f in wanted if not fold_file(folder, f.number, "json").exists()]
    if how.workers > 1 and len(todo) > 1:
        _on_ray(material, model, fit, todo, folder, how.workers, start)
    else:
        for fold in todo:
            run_fold(material, model, fit, fold, folder, start, report)
    return summarise(folder, [f.number for f in wanted], outputs)


def run_fold(
    material: Material,
    model: StateCnnConfig,
    fit: StateFit,
    fold: Fold,
    folder: Path,
    start: Weights | None = None,
    report: FoldReport = lambda fold, epoch: None,
) -> None:
    """Fit one fold and save what the network says about the people it has never seen."""
    began = time.monotonic()
    data = material.data
    checkpoint = fold_file(folder, fold.number, "checkpoint")
    done = fit_state(
        data,
        _rows(data.person, fold.train),
        _rows(data.person, fold.validate),
        material.shown,
        model,
        fit,
        checkpoint=checkpoint,
        start=start,
        report=lambda epoch: report(fold.number, epoch),
    )
    arrays = _named("", data, done.net, fold)
    if material.routine is not None:
        arrays |= _named("routine_", material.routine, done.net, fold)
    if material.probes is not None:
        rows = _rows(material.probes.person, (*fold.test, NOBODY))
        seen = predict(done.net, material.probes, rows)
        kinds = np.array(material.probes.kinds)[material.probes.kind[rows]]
        arrays |= {"probe_kind": kinds, "probe_sd": seen.sd, "probe_gate": seen.gate}
    # NumPy's stubs take any array here for the flag allow_pickle.
    np.savez_compressed(fold_file(folder, fold.number, "npz"), **arrays)  # type: ignore[arg-type]
    torch.save(
        {"config": asdict(model), "weights": done.net.state_dict()},
        fold_file(folder, fold.number, "pt"),
    )
    note = {
        **asdict(fold),
        "epochs": [e._asdict() for e in done.epochs],
        "best": done.best,
        "seconds": round(time.monotonic() - began, 1),
    }
    # Last: a fold with its note is complete.
    write_json(fold_file(folder, fold.number, "json"), note)
    checkpoint.unlink(missing_ok=True)


def fold_net(folder: Path, number: int) -> StateCnn:
    """The network of a fold, in eval mode.  Raises FileNotFoundError."""
    found = torch.load(fold_file(folder, number, "pt"), weights_only=True)
    net = StateCnn(StateCnnConfig(**found["config"]))
    net.load_state_dict(found["weights"])
    return net.eval()


def _kept(m: Material, model: StateCnnConfig, fit: StateFit) -> Material:
    """What is only looked at needs no changed copies."""
    change = (model, fit.augment, fit.copies, fit.seed)
    same = (model, fit.augment, 0, fit.seed)
    return Material(
        keep(m.data, *change),
        m.shown and keep(m.shown, *change),
        m.probes and keep(m.probes, *same),
        m.routine and keep(m.routine, *same),
    )


def _rows(person: NDArray[np.intp], people: Sequence[int]) -> Rows:
    return np.flatnonzero(np.isin(person, people))


def _named(prefix: str, data: StateData, net: StateCnn, fold: Fold) -> dict[str, NDArray[Any]]:
    rows = _rows(data.person, fold.test)
    found: dict[str, NDArray[Any]] = predict(net, data, rows)._asdict()
    found |= {"rows": rows, "person": data.person[rows], "truth": data.targets[rows]}
    found["anatomy_truth"] = data.anatomy[rows]
    return {prefix + name: array for name, array in found.items()}


def _key(
    material: Material, model: StateCnnConfig, fit: StateFit, how: Folds, start: Weights | None
) -> dict[str, Any]:
    """Everything the folds depend on."""
    division = {"count": how.count, "validation": how.validation, "seed": how.seed}
    key = {
        "data": contents(material.data, material.shown, material.probes, material.routine),
        "start": digest(start),
        "model": asdict(model),
        "fit": asdict(fit),
        "folds": division,
    }
    return dict(json.loads(json.dumps(key)))  # tuples as JSON gives them back


def contents(*parts: Pictures | None) -> str:
    """What tells pictures, their maps and truths from others."""
    found = hashlib.sha256()
    for part in parts:
        for name, array in sorted(vars(part).items()) if part is not None else ():
            if name == "kept":  # made of the others and the settings
                continue
            found.update(name.encode())
            found.update(array.data if isinstance(array, np.ndarray) else repr(array).encode())
    return found.hexdigest()


def claim(path: Path, key: dict[str, Any]) -> None:
    """Note what a folder's results depend on, or find the same note there.

    Raises ValueError for another one.
    """
    if not path.exists():
        write_json(path, key)
        return
    found = json.loads(path.read_text("utf-8"))
    if other := [k for k in key if found.get(k, "") != key[k]]:
        raise ValueError(
            f"{path.parent} has results of another {' and '.join(other)}: choose another folder, "
            "or delete it"
        )


def _on_ray(
    material: Material,
    model: StateCnnConfig,
    fit: StateFit,
    todo: Sequence[Fold],
    folder: Path,
    workers: int,
    start: Weights | None,
) -> None:
    """The same folds in processes of their own; the arrays are shared, not copied."""
    import ray

    env = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ray.init(
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": env},
    )
    try:
        shared = ray.put(material)
        task = ray.remote(num_cpus=1)(run_fold)
        ray.get([task.remote(shared, model, fit, fold, folder.absolute(), start) for fold in todo])
    finally:
        ray.shutdown()
