"""``sonomyo train real-leg``: efforts of one recorded person left out in turn."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from edge.bundle import BundleError
from edge.config import ConfigError
from training.datasets import DataMissing
from training.real_leg import OUTPUTS, UNITS, open_leg, study
from training.state_config import load_run
from training.train_state_command import check_folder, token


def study_leg(config: str, out: Path | None, resume: bool, quick: bool) -> int:
    """Exit codes: 0 every fit is done, 2 it could not begin.

    Estimates and ``results.json`` go to ``out``, default out/train/NAME.  A folder that has fits
    is gone on with only when asked to.
    """
    console = Console()
    folder = out or Path("out/train") / Path(config).stem
    try:
        run = load_run(config)
        check_folder(folder, resume)
        with console.status("recordings") as status:
            leg = open_leg(token(run) if quick else run)
            results = study(leg, folder, status.update)
    except (ConfigError, BundleError, DataMissing, ValueError) as e:
        print(f"sonomyo train: {e}", file=sys.stderr)
        return 2
    console.print(table(results))
    console.print(f"one real person; everything is in {folder}")
    return 0


def table(results: dict[str, Any]) -> Table:
    """Errors on what was left out, ours and PCA + ridge."""
    t = Table("left out", "network", *(f"{o}: RMSE, {UNITS[o]} (R2)" for o in OUTPUTS))
    for kind in ("clip", "condition"):
        for who, of in results[kind].items():
            t.add_row(f"every {kind} in turn", who, *_cells(of["all"]))
        for name in results[kind]["ours"]["each"]:
            for who, of in results[kind].items():
                t.add_row(name, who, *_cells(of["each"][name]))
    return t


def _cells(of: dict[str, dict[str, float | None]]) -> list[str]:
    found = []
    for o in OUTPUTS:
        r2 = of[o]["r2"]
        found.append(f"{of[o]['rmse']:.2f}" + ("" if r2 is None else f" ({r2:.3f})"))
    return found
