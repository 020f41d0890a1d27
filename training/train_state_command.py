"""``sonomyo train state-cnn``: cross-validates a state CNN on the simulated cohort."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from edge.bundle import BundleError
from edge.config import ConfigError
from models.state_cnn import STATE
from training.committee import combine
from training.crossval import FoldReport, cross_validate
from training.fit_state import Epoch
from training.pretrain import pretrained
from training.state_config import StateRun, load_run, member_runs
from training.state_material import maps_of, material


def train_state(config: str, out: Path | None, resume: bool, quick: bool) -> int:
    """Exit codes: 0 every fold is done, 2 it could not begin.

    Estimates, networks and ``results.json`` go to ``out``, default out/train/NAME.  A folder that
    has folds is gone on with only when asked to.
    """
    console = Console()
    folder = out or Path("out/train") / Path(config).stem
    try:
        run = load_run(config)
        check_folder(folder, resume)
        if run.members:
            return _together(run, folder, resume, quick)
        run = token(run) if quick else run
        with _bar(run, console) as bar:
            folder.mkdir(parents=True, exist_ok=True)
            start = pretrained(
                run.model,
                run.fit,
                run.pretrain,
                run.data,
                maps_of(run.data),
                folder / "pretrained.pt",
                _pretraining(bar, run),
            )
            results = cross_validate(
                material(run.data),
                run.model,
                run.fit,
                run.folds,
                folder,
                STATE,
                _reporter(bar, run),
                start,
            )
    except (ConfigError, BundleError, ValueError) as e:
        print(f"sonomyo train: {e}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as e:
        if e.name != "ray":
            raise
        print("sonomyo train: folds.workers > 1 needs Ray: pip install ray", file=sys.stderr)
        return 2
    console.print(table(results))
    console.print(f"simulated participants; everything is in {folder}")
    return 0


def check_folder(folder: Path, resume: bool) -> None:
    """Raises ConfigError for results that nobody asked to go on with."""
    if folder.exists() and any(folder.iterdir()) and not resume:
        raise ConfigError(f"{folder} is not empty: add --resume, or choose another --out")


def _together(run: StateRun, folder: Path, resume: bool, quick: bool) -> int:
    """Every member in a folder of its own, then all of them as one."""
    for name in member_runs(run):
        if wrong := train_state(name, folder / name, resume, quick):
            return wrong
    how = token(run).folds if quick else run.folds
    numbers = how.only or tuple(range(how.count))
    results = combine([folder / name for name in run.members], folder, numbers, STATE)
    console = Console()
    console.print("together:")
    console.print(table(results))
    return 0


def token(run: StateRun) -> StateRun:
    """The same way through with next to nothing on it."""
    few = replace(run.data, people=4, frames=16, routine=8, shown=4, probes=4)
    fit = replace(run.fit, epochs=1, batch=16)
    more = replace(run.pretrain, people=min(run.pretrain.people, 2), frames=16, epochs=1)
    return replace(
        run,
        data=few,
        fit=fit,
        pretrain=more,
        folds=replace(run.folds, count=2, validation=1, only=()),
    )


def table(results: dict[str, Any]) -> Table:
    """Accuracies over held-out participants, in per cent."""
    t = Table("held-out", "A (variance)", "B (1 - RMSE/SD)", "C (1 - RMSE/range)", "RMSE", "ECE")
    for name, one in results["outputs"].items():
        cells = [f"{one['mean'][k]:.1f} ± {one['sd'][k]:.1f}" for k in "abc"]
        t.add_row(name, *cells, f"{one['rmse']:.3g}", f"{one['ece']:.3f}")
    return t


def _bar(run: StateRun, console: Console) -> Progress:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    folds = len(run.folds.only) or run.folds.count
    bar.add_task("simulated people", total=folds * run.fit.epochs)
    return bar


def _pretraining(bar: Progress, run: StateRun) -> Callable[[Epoch], None]:
    def report(epoch: Epoch) -> None:
        text = f"pretraining, epoch {epoch.number} of {run.pretrain.epochs}: "
        bar.update(bar.task_ids[0], description=f"{text}{epoch.error:.3f}")

    return report


def _reporter(bar: Progress, run: StateRun) -> FoldReport:
    """Moves the bar on; a fold that was stopped early counts in full once the next one begins."""
    order = run.folds.only or tuple(range(run.folds.count))

    def report(fold: int, epoch: Epoch) -> None:
        text = f"fold {fold}, epoch {epoch.number}: {epoch.error:.3f}, held {epoch.validation:.3f}"
        done = order.index(fold) * run.fit.epochs + epoch.number
        bar.update(bar.task_ids[0], completed=done, description=text)

    return report
