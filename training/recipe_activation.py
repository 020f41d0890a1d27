"""Recipe of ``ta-activation``: activation of tibialis anterior, 20 ms late, by a twin of LFADS."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.bundle import Bundle
from training.datasets import data_set
from training.emg_recordings import recordings
from training.fit_lfads import fit_lfads
from training.lfads_config import token, usual
from training.lfads_device import write_device
from training.lfads_person import people, windows_of
from training.readers import TA
from training.splits import TA_EVAL, TA_TRAIN

NAME = "ta-activation"
WEARER = "tecchio-ta"


def train_ta_activation(folder: Path, quick: bool = False) -> Bundle:
    """Fit on the active training trials of emg_torque_fascicle_ta.  Raises DataMissing."""
    run = usual("ta")
    run = token(run) if quick else run
    every = {r.name: replace(r, person=WEARER) for r in recordings("ta")}
    train = [every[name] for name in TA_TRAIN if name in every]
    # A token fit has no business with the held-out trials.
    test = train[-1:] if quick else [every[name] for name in TA_EVAL]
    (person,) = people(train[:1] if quick else train, run.data)
    bins = tuple(person.scale.apply(person.chain.bins(np.asarray(r.emg_uv))) for r in test)
    held = replace(person, recordings=tuple(test), bins=bins)
    config = run.model.config(len(person.channels), run.windows.bins)
    net, _ = fit_lfads(windows_of(person, run.windows), config, run.fit)
    about = data_set(TA)
    texts = {
        "data": f"{about.title}. Source: {about.source}.",
        "split": f"Trained on {', '.join(r.name for r in train)}; evaluated on "
        f"{', '.join(r.name for r in test)}, which chose nothing.",
        "limits": "One person, one electrode, 17 s trials of one protocol. One muscle alone has "
        "no others to learn from, which is what LFADS is for.",
        "licence": f"Weights: Apache-2.0. Trained on recordings under {about.licence}: "
        f"{about.attribution}",
        "command": "sonomyo train ta-activation",
    }
    return write_device(folder, net, person, run, NAME, held, texts)
