"""``sonomyo physiology``: whose muscles are these?  Hill parameters of one person from trials."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from calibration.physiology import Identification
    from training.fit_nmm import Joint
    from training.joint_data import JointTrial


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo physiology``."""
    p.add_argument("trials", help="TOML file that lists trials (docs/muscle-model.md), or V1 .. V6")
    p.add_argument("--fixed", default="", help="parameters that stay as usual: gain,shape,...")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")


def main(a: argparse.Namespace) -> int:
    """Exit codes: 0 all explained, 1 some parameter ended at a bound, 2 it could not be done."""
    from calibration.physiology import identify
    from edge.config import ConfigError
    from training.synergy import effort

    try:
        trials, joint = load_trials(a.trials)
        fixed = tuple(filter(None, a.fixed.split(",")))
        found = identify(
            [effort(t) for t in trials], joint.muscle, joint.names, trials[0].rate_hz,
            fixed, like=joint.neighbours,
        )  # fmt: skip
    except (ConfigError, OSError, ValueError) as e:
        print(f"sonomyo physiology: {e}", file=sys.stderr)
        return 2
    _show(found, len(trials))
    if a.json:
        a.json.write_text(json.dumps({"rmse_nm": found.rmse_nm, "parameters": found.table()}))
    return 1 if any(p.at_bound for p in found.parameters) else 0


def load_trials(name: str) -> "tuple[list[JointTrial], Joint]":
    """Trials of a TOML file, or of a simulated person.  Raises ConfigError, OSError, ValueError."""
    from training.virtual_people import EVERYBODY

    if name in EVERYBODY:
        from training.joint_data import elbow_trial
        from training.nmm_study import elbow_joint
        from training.virtual_measure import measured_of

        return [elbow_trial(m) for m in measured_of(name)], elbow_joint(name)
    from training.own_trials import load_own

    return load_own(Path(name))


def _show(found: "Identification", trials: int) -> None:
    table = Table("parameter", "muscle", "value", "SD", "range", "", title="one person's muscles")
    for row in found.table():
        known = "identified" if row["identified"] else "as usual: the data do not say"
        if row["at_bound"]:
            known = "AT ITS BOUND: the model lacks something"
        if row["together_with"]:
            known += f"; only together with {row['together_with']}"
        table.add_row(
            str(row["parameter"]), str(row["muscle"]), f"{row['value']:.4g}", f"{row['sd']:.2g}",
            f"{row['low']:g}..{row['high']:g}", known,
        )  # fmt: skip
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{trials} trials, moment explained to {found.rmse_nm:.2f} N m RMSE, {found.rounds} rounds"
    )
