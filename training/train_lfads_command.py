"""``sonomyo train lfads``: muscle activation from EMG by LFADS, one network a person."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from edge.config import ConfigError
from models.lfads import Lfads
from training.crossval_results import write_json
from training.datasets import DataMissing
from training.emg_baselines import LOW_PASS_HZ, low_pass
from training.emg_decoding import LEARNED, decode, truth_r2
from training.emg_recordings import recordings
from training.fit_lfads import Hyper, fit_lfads
from training.lfads_config import LfadsRun, load_lfads, token
from training.lfads_device import write_device
from training.lfads_person import Person, activation, people, save_lfads, windows_of
from training.pbt import draw_schedules, search_lfads
from training.train_state_command import check_folder

F64 = NDArray[np.float64]
SHOWN_S = 3.0  # of a recording, in the figure


def train_lfads(
    config: Path | None,
    out: Path | None,
    data: str | None,
    pbt: bool,
    workers: int,
    address: str | None,
    resume: bool,
    quick: bool,
) -> int:
    """Exit codes: 0 every person has a network, 2 it could not begin, and why."""
    console = Console()
    try:
        run = load_lfads(config, data)
        folder = out or Path("out/lfads") / run.data.set.replace(":", "-")
        check_folder(folder, resume)
        run = token(run) if quick else run
        found = people(recordings(run.data.set, run.data.seed), run.data)
        rows = []
        for person in found[:1] if quick else found:
            for warning in person.warnings:
                console.print(f"[yellow]{person.name}: {warning}")
            rows += _train(person, run, folder / person.name, pbt, workers, address, console)
    except (ConfigError, DataMissing, ValueError, RuntimeError, ConnectionError) as e:
        print(f"sonomyo train: {e}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as e:
        if e.name != "ray":
            raise
        print("sonomyo train: --pbt needs Ray: pip install ray", file=sys.stderr)
        return 2
    if rows:
        console.print(_table(rows))
    console.print(f"everything is in {folder}")
    return 0


def _train(
    person: Person,
    run: LfadsRun,
    folder: Path,
    pbt: bool,
    workers: int,
    address: str | None,
    console: Console,
) -> list[dict[str, Any]]:
    windows = windows_of(person, run.windows)
    config = run.model.config(len(person.channels), run.windows.bins)
    hyper: Hyper = run.fit.hyper
    with _bar(console) as bar:
        if pbt:
            whole = run.search.members * run.search.generations + (run.search.settle > 0)
            task = bar.add_task(f"{person.name}: population", total=whole)
            found = search_lfads(
                windows,
                config,
                run.fit,
                run.search,
                folder / "pbt",
                workers=workers,
                address=address,
                report=lambda row: bar.update(
                    task, advance=1, description=f"{person.name}: {row['smooth']:.4f}"
                ),
            )
            net, hyper = found.net, found.hyper
            draw_schedules(found.history, folder / "schedules.png")
            write_json(folder / "history.json", {"rows": found.history})
        else:
            task = bar.add_task(person.name, total=run.fit.epochs)
            folder.mkdir(parents=True, exist_ok=True)
            net, epochs = fit_lfads(
                windows,
                config,
                run.fit,
                checkpoint=folder / "lfads.checkpoint",
                report=lambda e: bar.update(
                    task, completed=e.number, description=f"{person.name}: {e.smooth:.4f}"
                ),
            )
            write_json(folder / "history.json", {"rows": [e._asdict() for e in epochs]})
    save_lfads(folder / "lfads.pt", net, person, {"hyper": asdict(hyper)})
    bundle = write_device(folder / "bundle", net, person, run)
    console.print(f"{bundle.id} for the device in {bundle.path}")
    rows = _judge(net, person, run)
    settings = json.loads(json.dumps(asdict(run)))
    write_json(folder / "results.json", {"rows": rows, "config": settings})
    _draw(net, person, run, folder / "activation.png")
    return rows


def _judge(net: Lfads, person: Person, run: LfadsRun) -> list[dict[str, Any]]:
    """R2 of LFADS's activation and of each low-pass on the same bins; a row a recording and target.

    Against known activation on the last quarter, in units that the rest decides; else of what can
    be decoded.
    """
    rows = []
    said = activation(net, person, run.windows)
    for r, x, a in zip(person.recordings, person.bins, said, strict=True):
        methods: dict[str, F64] = {"lfads": a}
        methods |= {f"{hz:g} Hz": low_pass(np.asarray(x, np.float64), hz) for hz in LOW_PASS_HZ}
        row: dict[str, Any] = {"person": person.name, "recording": r.name}
        if r.simulated:
            truth = np.stack(list(r.targets.values()), 1)
            known = np.arange(len(truth)) < LEARNED * len(truth)
            found = {name: truth_r2(e, truth, known) for name, e in methods.items()}
            rows.append(row | {"target": "activation"} | found)
            continue
        valid = np.asarray(np.isfinite(a).all(1))
        for target, y in r.targets.items():
            found = {name: decode(e, y, valid).r2 for name, e in methods.items()}
            rows.append(row | {"target": target} | found)
    return rows


def _draw(net: Lfads, person: Person, run: LfadsRun, path: Path) -> None:
    """Rectified EMG, its 10 Hz envelope and LFADS's activation: the first channels, 3 seconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    x, a = person.bins[0], activation(net, person, run.windows)[0]
    some = slice(len(x) // 3, len(x) // 3 + int(SHOWN_S * 500))
    shown = min(6, len(person.channels))
    figure, axes = plt.subplots(
        shown, 1, figsize=(10, 1.6 * shown), sharex=True, squeeze=False, constrained_layout=True
    )
    t = np.arange(len(x))[some] / 500
    envelope = low_pass(np.asarray(x, np.float64), 10.0)
    for k, axis in enumerate(axes[:, 0]):
        axis.plot(t, x[some, k], color="0.8", linewidth=0.6, label="rectified EMG")
        axis.plot(t, envelope[some, k], color="C0", label="10 Hz")
        axis.plot(t, a[some, k], color="C3", label="LFADS")
        axis.set_ylabel(person.channels[k], fontsize=8)
    axes[0, 0].legend(loc="upper right", fontsize=8)
    simulated = ", SIMULATED" if person.recordings[0].simulated else ""
    axes[0, 0].set_title(f"{person.recordings[0].name}{simulated}; 1 = 95th percentile")
    axes[-1, 0].set_xlabel("s")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _table(rows: list[dict[str, Any]]) -> Table:
    names = [k for k in rows[0] if k not in ("person", "recording", "target")]
    t = Table("recording", "R2 of", *names)
    for row in rows:
        t.add_row(row["recording"], row["target"], *(f"{row[n]:.3f}" for n in names))
    return t


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
