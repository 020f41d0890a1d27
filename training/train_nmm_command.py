"""``sonomyo train nmm``: network and person of one's own trials, loads left out in turn."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from calibration.physiology import identify
from edge.config import ConfigError
from models.physiology import BOUNDS, at_bounds
from training.crossval_results import write_json
from training.fit_nmm import Fitted, Joint, fit, read_trial
from training.joint_data import F64, JointTrial
from training.nmm_config import NmmRun
from training.nmm_study import correlation, moment_score
from training.physiology_command import load_trials
from training.synergy import effort

Json = dict[str, Any]


def train_nmm(data: str, out: Path | None, epochs: int | None, quick: bool) -> int:
    """Exit codes: 0 all is in the folder, 2 it could not be done.

    The folder, default out/train/nmm, gets ``results.json`` (scores of what was left out, the
    person), ``<trial>.sto`` (envelopes of every muscle and moment, read from motion and load by a
    network that had not seen the trial's load) and ``network.npz`` of all trials.
    """
    console, folder = Console(highlight=False), out or Path("out/train/nmm")
    torch.set_num_threads(1)
    try:
        trials, joint = load_trials(data)
        run = settings(trials, joint, epochs)
        if quick:
            run = replace(run, epochs=2, first_guess=False)
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for left, train, test in folds(trials):
            with console.status(f"without {left}"):
                fitted = fit(train, joint, run)
            read = [read_trial(fitted, t) for t in test]
            rows.append({"left_out": left, **_scores(joint, read, test)})
            for t, (envelope, moment_nm) in zip(test, read, strict=True):
                write_sto(folder / f"{t.name}.sto", joint.names, t, envelope, moment_nm)
        with console.status("all trials"):
            fitted = fit(trials, joint, run)
    except (ConfigError, OSError, ValueError, FloatingPointError) as e:
        print(f"sonomyo train: {e}", file=sys.stderr)
        return 2
    write_json(folder / "results.json", {"left_out": rows, **_person(fitted, trials, joint)})
    weights = {k: v.numpy() for k, v in fitted.model.state_dict().items()}
    np.savez(folder / "network.npz", mean=fitted.standard.mean, sd=fitted.standard.sd, **weights)
    _show(console, rows)
    console.print(f"everything is in {folder}")
    return 0


def settings(trials: Sequence[JointTrial], joint: Joint, epochs: int | None) -> NmmRun:
    """The defaults, in the sizes of these trials."""
    sizes = replace(NmmRun().network, inputs=trials[0].features.shape[1], muscles=len(joint.names))
    return replace(NmmRun(), network=sizes, epochs=epochs or NmmRun().epochs)


def folds(trials: Sequence[JointTrial]) -> Iterator[tuple[str, list[JointTrial], list[JointTrial]]]:
    """Each load left out in turn; each trial where there is one load.  Raises ValueError for one
    trial: there is nothing to leave out."""
    if len(trials) < 2:
        raise ValueError("one trial cannot be trained on and left out: give at least two")
    loads = sorted({t.load_kg for t in trials})
    for kg in loads if len(loads) > 1 else []:
        rest = [t for t in trials if t.load_kg != kg]
        yield f"{kg:g} kg", rest, [t for t in trials if t.load_kg == kg]
    for t in trials if len(loads) == 1 else []:
        yield t.name, [o for o in trials if o is not t], [t]


def write_sto(
    path: Path, names: Sequence[str], t: JointTrial, envelope: F64, moment_nm: F64
) -> None:
    """An OpenSim table of envelopes, 0..1, and the moment in N m, by the clock of the trial."""
    columns = ["time", *names, "moment"]
    head = f"sonomyo\nnRows={len(envelope)}\nnColumns={len(columns)}\ninDegrees=no\nendheader\n"
    time_s = t.start_s + np.arange(len(envelope)) / t.rate_hz
    body = "\n".join(
        "\t".join([f"{at:.15g}", *(f"{x:.6g}" for x in row)])  # a clock may count from 1970
        for at, row in zip(time_s, np.column_stack([envelope, moment_nm]), strict=True)
    )
    path.write_text(head + "\t".join(columns) + "\n" + body + "\n", encoding="utf-8")


def _scores(joint: Joint, read: Sequence[tuple[F64, F64]], test: Sequence[JointTrial]) -> Json:
    """r and NRMSE of measured muscles, moment's error; nobody knows the unmeasured ones."""
    said = np.concatenate([r[0] for r in read])
    measured = np.concatenate([t.envelope for t in test])
    muscles = {}
    for i, name in enumerate(joint.names):
        if not np.isnan(measured[:, i]).any():
            error = np.sqrt(np.mean((said[:, i] - measured[:, i]) ** 2))
            nrmse = float(error / max(np.ptp(measured[:, i]), 1e-9))
            muscles[name] = {"r": correlation(said[:, i], measured[:, i]), "nrmse": nrmse}
    return {"muscles": muscles, "torque": moment_score([r[1] for r in read], test)}


def _person(fitted: Fitted, trials: Sequence[JointTrial], joint: Joint) -> Json:
    """Parameters that the training found; doubt and partners as the identification sees them."""
    values = fitted.model.person()
    doubt = identify(
        [effort(t) for t in trials], joint.muscle, joint.names, trials[0].rate_hz,
        like=joint.neighbours,
    )  # fmt: skip
    hits = at_bounds(values)
    return {
        "person": {n: np.round(getattr(values, n).detach().numpy(), 5).tolist() for n in BOUNDS},
        "at_bounds": {n: hit for n, hit in hits.items() if any(hit)},
        "identification": doubt.table(),
        "muscles": list(joint.names),
        "loads_kg": list(fitted.loads_kg),
        "seconds": fitted.seconds,
    }


def _show(console: Console, rows: Sequence[Json]) -> None:
    table = Table("left out", "torque RMSE, N m", "% of its peak", "measured muscles: r, NRMSE")
    for row in rows:
        each = "; ".join(f"{n} {m['r']:.2f}, {m['nrmse']:.2f}" for n, m in row["muscles"].items())
        torque = row["torque"]
        table.add_row(
            row["left_out"], f"{torque['rmse_nm']:.2f}", f"{torque['rmse_pct']:.1f}", each
        )
    console.print(table)
