"""``sonomyo train``: reproduces the shipped bundles, cross-validates the state CNN."""

import argparse
import importlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from edge.bundle import Bundle, BundleError
from training.datasets import DataMissing

# name: (bundle, module and function of its recipe); torch loads only with the module
RECIPES = {
    "mg-state": ("mg-state", "training.recipe_leg", "train_mg_state"),
    "emg-gru": ("ta-emg", "training.recipe_emg", "train_ta_emg"),
    "ta-activation": ("ta-activation", "training.recipe_activation", "train_ta_activation"),
    "segmenter": ("calf-segmenter", "training.recipe_segmenter", "train_segmenter"),
    "calf-state": ("calf-state", "training.recipe_calf_state", "train_calf_state"),
    "sim-state": ("sim-state", "training.recipe_leg", "train_sim_state"),
    "elbow-nmm": ("elbow-nmm", "training.recipe_elbow_nmm", "train_elbow_nmm"),
}
# No bundle: a study or a search, from a configuration.
STATE_CNN, REAL_LEG, LFADS, NMM = "state-cnn", "real-leg", "lfads", "nmm"
ELBOW = "elbow-nmm"


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo train``."""
    studies = [STATE_CNN, REAL_LEG, LFADS, NMM]
    p.add_argument("model", choices=[*RECIPES, *studies], help="which network, on which data")
    p.add_argument(
        "--data", metavar="SET",
        help=f"{LFADS}: ta, knee, gait, bed:lorenz, bed:gait, FILE.mcap; {NMM}: TRIALS.toml, "
        "or a simulated person V1 .. V6",
    )  # fmt: skip
    p.add_argument("--out", type=Path, help="folder of the result; default out/bundles/NAME")
    p.add_argument("--quick", action="store_true", help="a token fit, to try the way through")
    state = p.add_argument_group(
        f"{STATE_CNN}: cross-validation on simulated participants; "
        f"{REAL_LEG}: efforts of one recorded person left out in turn"
    )
    state.add_argument("--config", metavar="FILE", help="TOML file, or " + ", ".join(_shipped()))
    state.add_argument("--resume", action="store_true", help="go on in a folder that has results")
    lfads = p.add_argument_group(f"{LFADS}: muscle activation from EMG, one network a person")
    lfads.add_argument(
        "--pbt", action="store_true", help="let a population search the settings (Ray)"
    )
    lfads.add_argument("--workers", type=int, default=2, help="processes of the search")
    lfads.add_argument("--address", help="of a Ray cluster, auto for this machine's")
    elbow = p.add_argument_group(
        f"{ELBOW}, {NMM}: muscles and torque of a joint from motion and load"
    )
    elbow.add_argument("--epochs", type=int, metavar="N", help="of each training")
    elbow.add_argument(
        "--trial", type=Path, metavar="FILE.npz",
        help="train nothing: write a simulated movement for listen --encoder FILE.npz:angle",
    )  # fmt: skip


def _shipped() -> list[str]:
    return sorted(p.stem for p in (Path(__file__).parent / "configs").glob("*.toml"))


def main(a: argparse.Namespace) -> int:
    """Exit codes: 0 a result was written, 2 it could not be, and why."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if a.model == STATE_CNN:
        from training.train_state_command import train_state

        return train_state(a.config or STATE_CNN, a.out, a.resume, a.quick)
    if a.model == REAL_LEG:
        from training.real_leg_command import study_leg

        return study_leg(a.config or "leg", a.out, a.resume, a.quick)
    if a.model == LFADS:
        from training.train_lfads_command import train_lfads

        file = Path(a.config) if a.config else None
        return train_lfads(file, a.out, a.data, a.pbt, a.workers, a.address, a.resume, a.quick)
    if a.model == NMM:
        from training.train_nmm_command import train_nmm

        if not a.data:
            print("sonomyo train nmm: --data TRIALS.toml, or one of V1 .. V6", file=sys.stderr)
            return 2
        return train_nmm(a.data, a.out, a.epochs, a.quick)
    if a.data or a.pbt or a.address:
        print(f"sonomyo train: --data, --pbt and --address belong to {LFADS}", file=sys.stderr)
        return 2
    if a.config or a.resume:
        print(
            f"sonomyo train: --config and --resume belong to {STATE_CNN}, {REAL_LEG} and {LFADS}",
            file=sys.stderr,
        )
        return 2
    if a.model != ELBOW and (a.epochs or a.trial):
        print(f"sonomyo train: --epochs and --trial belong to {ELBOW}", file=sys.stderr)
        return 2
    if a.trial:
        from training.trial_file import write_trial

        print(write_trial(a.trial))
        return 0
    name, module, function = RECIPES[a.model]
    recipe: Callable[..., Bundle] = getattr(importlib.import_module(module), function)
    more = {"epochs": a.epochs} if a.epochs else {}
    try:
        bundle = recipe(a.out or Path("out/bundles") / name, a.quick, **more)
    except (DataMissing, BundleError, ValueError) as e:
        print(f"sonomyo train: {e}", file=sys.stderr)
        return 2
    print(bundle.text("CARD.md"))
    print(f"{bundle.id} in {bundle.path}")
    return 0
