"""``sonomyo train``: reproduces the shipped bundles."""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from edge.bundle import Bundle
from training.datasets import DataMissing

MODELS = {"frame-cnn": "mg-frame", "emg-gru": "ta-emg", "sim-frame": "sim-frame"}


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo train``."""
    p.add_argument("model", choices=MODELS, help="which network, on which data")
    p.add_argument("--out", type=Path, help="folder of the bundle; default out/bundles/NAME")
    p.add_argument("--quick", action="store_true", help="a token fit, to try the way through")


def main(a: argparse.Namespace) -> int:
    """Exit codes: 0 a bundle was written, 2 the recordings are not here."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = a.out or Path("out/bundles") / MODELS[a.model]
    try:
        bundle = _recipe(a.model)(folder, a.quick)
    except DataMissing as e:
        print(f"sonomyo train: {e}", file=sys.stderr)
        return 2
    print((bundle.path / "CARD.md").read_text(encoding="utf-8"))
    print(f"{bundle.id} in {bundle.path}")
    return 0


def _recipe(model: str) -> Callable[[Path, bool], Bundle]:
    """The recipe of a model; torch loads only now."""
    if model == "emg-gru":
        from training.recipe_emg import train_ta_emg

        return train_ta_emg
    from training.recipe_frames import train_mg_frame, train_sim_frame

    return train_mg_frame if model == "frame-cnn" else train_sim_frame
