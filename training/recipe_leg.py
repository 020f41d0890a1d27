"""Recipes of ``mg-state``, one recorded leg, and ``sim-state``, simulated ones.

Networks that read the leg they were trained on, and know what they do not know.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.bundle import MODEL, REFERENCE, Bundle
from export.bundle import write_bundle
from export.onnx import export_onnx
from export.reference import torch_reference
from firmware_bridge.types import Output
from models.spec import ModelSpec
from training.augment import Augment
from training.baselines import picture_baseline
from training.card import Facts, card
from training.datasets import data_set
from training.evaluate import METRICS, metrics_json, run_bundle
from training.frames import IMAGE, Clips, mg_frames, simulated_frames
from training.leg import FOLDS, Leg
from training.metrics import Score, scores
from training.readers import MG
from training.splits import MG_EVAL, MG_TRAIN
from training.state_config import StateRun, load_run
from training.state_data import U8
from training.train_state_command import token

# A value outside is no ankle, and a larger SD is no estimate: the device flags either FAULT.
OUTPUTS = (
    Output("ankle_angle", "deg", -50, 50, max_sd=12),
    Output("ankle_torque", "N m", -50, 250, max_sd=60),
)
CONFIG = "leg"
# Other than in the study of leg.toml, these are asked for what they were trained on: brightness may
# tell, and is changed less; and they are few enough to afford more members.
CHANGE, MEMBERS = Augment(), 6
LEGS, FRAMES = (1, 2, 3, 4, 5, 6), 120  # simulated: pictures of each half of a session
HALVES_S, SIM_MEMBERS = ((60.0, 280.0), (280.0, 500.0)), 3


def train_mg_state(folder: Path, quick: bool = False) -> Bundle:
    """Fit on us_mg_dynamometer and write the bundle; some minutes.  Raises DataMissing."""
    run = _run(quick)
    # A token fit has no business with the held-out clips.
    known, asked = (MG_TRAIN[:2], MG_TRAIN[2:3]) if quick else (MG_TRAIN, MG_EVAL)
    about = data_set(MG)
    facts = Facts(
        title="mg-state: ankle angle and torque from B-mode pictures of the calf",
        purpose=f"{_purpose()} Pictures are of the medial gastrocnemius along its fascicles; angle "
        "is negative when dorsiflexed, torque positive when plantarflexing, as the dynamometer "
        "shows it: gravity and inertia not removed.",
        limits="One healthy adult, one session, one probe placement: it knows this person's leg. "
        "On anybody else's it is a demonstration. Training has one passive clip only.",
        data=f"{about.title}. Source: {about.source}.",
        split="Split by whole clip, so no picture of an evaluated push was trained on: "
        f"trained on {', '.join(known)}; evaluated on {', '.join(asked)}. The evaluated "
        "pushes are of the same person, day and conditions, and were among those by which the kind "
        "of network was chosen.",
        training=_training(run, "The settings were chosen on whole clips and conditions left out."),
        baseline="Linear = 80 principal components of the same pictures and ridge regression, its "
        "penalty chosen by leaving out one training clip at a time.",
        licence=f"Weights: Apache-2.0. Trained on recordings under {about.licence}: "
        f"{about.attribution}",
        command="sonomyo train mg-state",
    )
    train, test = (mg_frames(part, IMAGE) for part in (known, asked))
    return _make(folder, _spec("mg-state", "AGR003"), facts, run, train, test, MEMBERS)


def train_sim_state(folder: Path, quick: bool = False) -> Bundle:
    """Fit on the simulated wearer and write the bundle; needs no recordings."""
    run = _run(quick)
    legs, frames = (LEGS[:2], 24) if quick else (LEGS, FRAMES)
    facts = Facts(
        title="sim-state: ankle angle and torque from pictures of a simulated calf",
        purpose=f"{_purpose()} Pictures are of the project's own simulated wearer "
        "(`synthetic:calf`), for trying the rig without recordings.",
        limits="Simulated: it has never seen a person, and it reads only the legs it was trained "
        "on; its standard deviations are theirs, too.",
        data=f"{2 * frames} pictures of each of the simulated legs {legs}, at random moments later "
        "than a minute after opening.",
        split="Evaluated on the first minute of leg 1 and on a leg that was never trained on.",
        training=_training(run, "The settings are those of mg-state; nothing was tuned."),
        baseline="Linear = 80 principal components of the same pictures and ridge regression, its "
        "penalty chosen by leaving out one training leg at a time.",
        licence="Apache-2.0.",
        command="sonomyo train sim-state",
    )
    # Halves are clips of the same leg: what one fit leaves out, as another effort of a wearer.
    halves = [simulated_frames(IMAGE, (k,), frames, *span) for k in legs for span in HALVES_S]
    train = _one_after_the_other(halves)
    test = simulated_frames(IMAGE, (1, legs[-1] + 1), 2 * frames, first_s=0.0, last_s=60.0)
    spec = _spec("sim-state", "simulated")
    return _make(folder, spec, facts, run, train, test, SIM_MEMBERS)


def score_frames(bundle: Bundle, test: Clips) -> list[Score]:
    """The bundle on the device's engine, per condition."""
    values, _ = run_bundle(bundle, test.images)
    return _scores(values, test)


def score_baseline(train: Clips, test: Clips) -> list[Score]:
    """The linear model on the same pictures, per condition."""
    model = picture_baseline(train.images, train.targets, train.clip)
    return _scores(model(test.images.reshape(len(test.images), -1)), test)


def _make(
    folder: Path,
    spec: ModelSpec,
    facts: Facts,
    run: StateRun,
    train: Clips,
    test: Clips,
    members: int,
) -> Bundle:
    net = Leg(train, run, _unseen).settled(train, members).eval()
    examples = [{"image": image[None]} for image in test.images[:: max(1, len(test.images) // 8)]]
    export_onnx(net, spec, examples, folder / MODEL)
    (folder / REFERENCE).write_bytes(torch_reference(net, spec, examples))
    network = score_frames(write_bundle(folder, spec, "", {}), test)
    linear = score_baseline(train, test)
    text = card(facts, spec, network, linear)
    return write_bundle(folder, spec, text, {METRICS: metrics_json(network, linear)})


def _one_after_the_other(parts: Sequence[Clips]) -> Clips:
    """All of them; every part is one clip."""
    return Clips(
        tuple(p.names[0] for p in parts),
        tuple(p.conditions[0] for p in parts),
        np.concatenate([p.images for p in parts]),
        np.concatenate([p.targets for p in parts]),
        np.concatenate([np.full(len(p.images), k) for k, p in enumerate(parts)]),
    )


def _unseen(images: U8) -> U8:
    """No segmenter's maps: these networks see all of the picture."""
    return np.zeros((len(images), 3, *images.shape[1:]), np.uint8)


def _scores(estimate: np.ndarray, test: Clips) -> list[Score]:
    groups = [test.conditions[k] for k in test.clip]
    return scores([o.name for o in OUTPUTS], groups, estimate, test.targets)


def _run(quick: bool) -> StateRun:
    run = load_run(CONFIG)
    run = replace(run, fit=replace(run.fit, augment=CHANGE))
    return token(run) if quick else run


def _spec(name: str, wearer: str) -> ModelSpec:
    return ModelSpec(name, (IMAGE,), OUTPUTS, period_ms=1000 / 61, sd="sd", wearer=wearer)


def _purpose() -> str:
    return (
        "A few small convolutional networks look at one picture and estimate together angle "
        "and torque. A picture unlike those they were trained on gets a standard deviation that "
        "the device flags FAULT."
    )


def _training(run: StateRun, chosen: str) -> str:
    fit = run.fit
    return (
        f"{fit.epochs} epochs of AdamW (rate {fit.rate:g}, weight decay {fit.decay:g}) for each "
        "network, pictures changed at random in gain, depth gain, position, scale and speckle; "
        f"spoilt pictures teach afterwards what is strange. {chosen} The standard deviations are "
        f"scaled to the errors of {FOLDS}-fold cross-validation by clip."
    )
