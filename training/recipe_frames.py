"""Recipes of the models of one leg: ``mg-frame``, recorded, and ``sim-frame``, simulated."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.bundle import MODEL, Bundle
from export.bundle import write_bundle
from export.onnx import export_onnx
from firmware_bridge.types import Output
from models.spec import ModelSpec
from training.baselines import picture_baseline
from training.card import Facts, card
from training.datasets import data_set
from training.evaluate import METRICS, metrics_json, run_bundle
from training.frames import IMAGE, Clips, simulated_frames
from training.leg import FOLDS, Leg
from training.metrics import Score, scores
from training.readers import MG
from training.real_leg import open_leg
from training.splits import MG_EVAL, MG_TRAIN
from training.state_config import StateRun, load_run
from training.state_material import maps_of
from training.train_state_command import token

log = logging.getLogger(__name__)

# A value outside is no ankle, and a larger SD is no estimate: the device flags either FAULT.
OUTPUTS = (
    Output("ankle_angle", "deg", -50, 50, max_sd=12),
    Output("ankle_torque", "N m", -50, 250, max_sd=60),
)
CONFIG = "leg"
SIM_EPOCHS = 10  # of sim-frame: a simulated leg is an easy one


def train_mg_frame(folder: Path, quick: bool = False) -> Bundle:
    """Fit on us_mg_dynamometer and write the bundle; some minutes.

    Raises DataMissing, and BundleError without the segmenter.
    """
    run = load_run(CONFIG)
    leg = open_leg(token(run) if quick else run)
    names = leg.clips.names
    # A token fit has no business with the held-out clips.
    known, asked = (MG_TRAIN[:2], MG_TRAIN[2:3]) if quick else (MG_TRAIN, MG_EVAL)
    train, test = (leg.clips.part([names.index(n) for n in part]) for part in (known, asked))
    about = data_set(MG)
    facts = Facts(
        title="mg-frame: ankle angle and torque from B-mode pictures of the calf",
        purpose="Three convolutional networks look at one picture of the medial gastrocnemius "
        "along its fascicles and estimate together angle (negative = dorsiflexed) and torque "
        "(positive = plantarflexion, as the dynamometer shows it: gravity and inertia not "
        "removed). A picture unlike those they were trained on gets a standard deviation that the "
        "device flags FAULT.",
        limits="One healthy adult, one session, one probe placement: it knows this person's leg. "
        "On anybody else's it is a demonstration. Training has one passive clip only.",
        data=f"{about.title}. Source: {about.source}.",
        split="Split by whole clip, so no picture of an evaluated push was trained on: "
        f"trained on {', '.join(known)}; evaluated on {', '.join(asked)}. The evaluated "
        "pushes are of the same person, day and conditions, and were among those by which the kind "
        "of network was chosen.",
        training=_training(run),
        baseline="Linear = 80 principal components of the same pictures and ridge regression, its "
        "penalty chosen by leaving out one training clip at a time.",
        licence=f"Weights: Apache-2.0. Trained on recordings under {about.licence}: "
        f"{about.attribution}",
        command="sonomyo train mg-frame",
    )
    return _make(folder, _spec("mg-frame", wearer="AGR003"), facts, leg, train, test)


def train_sim_frame(folder: Path, quick: bool = False) -> Bundle:
    """Fit on the simulated wearer and write the bundle; needs no recordings."""
    legs, frames = ((1, 2), 48) if quick else ((1, 2, 3, 4, 5, 6), 240)
    run = load_run(CONFIG)
    run = token(run) if quick else replace(run, fit=replace(run.fit, epochs=SIM_EPOCHS))
    facts = Facts(
        title="sim-frame: ankle angle and torque from pictures of a simulated calf",
        purpose="The network of mg-frame, fitted to the project's own simulated wearer "
        "(`synthetic:calf`), for trying the rig without recordings.",
        limits="Simulated: it has never seen a person, and it reads only the legs it was trained "
        "on. Its standard deviations fit legs it has not seen, so on the trained ones they are "
        "wide.",
        data=f"{frames} pictures of each of the simulated legs {legs}, at random moments later "
        "than a minute after opening.",
        split="Evaluated on the first minute of leg 1 and on a leg that was never trained on.",
        training=_training(run),
        baseline="Linear = 80 principal components of the same pictures and ridge regression, its "
        "penalty chosen by leaving out one training leg at a time.",
        licence="Apache-2.0.",
        command="sonomyo train sim-frame",
    )
    train = simulated_frames(IMAGE, legs, frames, first_s=60.0, last_s=500.0)
    test = simulated_frames(IMAGE, (1, legs[-1] + 1), frames, first_s=0.0, last_s=60.0)
    leg = Leg(train, run, maps_of(run.data))
    return _make(folder, _spec("sim-frame", wearer="simulated"), facts, leg, train, test)


def score_frames(bundle: Bundle, test: Clips) -> list[Score]:
    """The bundle on the device's engine, per condition."""
    values, _ = run_bundle(bundle, test.images)
    return _scores(values, test)


def score_baseline(train: Clips, test: Clips) -> list[Score]:
    """The linear model on the same pictures, per condition."""
    model = picture_baseline(train.images, train.targets, train.clip)
    return _scores(model(test.images.reshape(len(test.images), -1)), test)


def _make(
    folder: Path, spec: ModelSpec, facts: Facts, leg: Leg, train: Clips, test: Clips
) -> Bundle:
    net = leg.settled(train).eval()
    examples = [{"image": image[None]} for image in test.images[:: max(1, len(test.images) // 8)]]
    worst = export_onnx(net, spec, examples, folder / MODEL)
    log.info("exported: ONNX Runtime and PyTorch differ by %.2g at most", worst)
    network = score_frames(write_bundle(folder, spec, "", {}), test)
    linear = score_baseline(train, test)
    return write_bundle(
        folder,
        spec,
        card(facts, spec, network, linear),
        {METRICS: metrics_json(network, linear)},
    )


def _scores(estimate: np.ndarray, test: Clips) -> list[Score]:
    groups = [test.conditions[k] for k in test.clip]
    return scores([o.name for o in OUTPUTS], groups, estimate, test.targets)


def _spec(name: str, wearer: str) -> ModelSpec:
    return ModelSpec(
        name,
        (IMAGE,),
        OUTPUTS,
        period_ms=1000 / 61,
        sd="sd",
        wearer=wearer,
    )


def _training(run: StateRun) -> str:
    fit = run.fit
    return (
        f"{fit.epochs} epochs of AdamW (rate {fit.rate:g}, weight decay {fit.decay:g}), pictures "
        "changed at random in gain, depth gain, position, scale and speckle; spoilt pictures "
        "teach it what it does not know. The settings were chosen by leaving out whole conditions; "
        "the head was chosen with the passive one left out. The standard deviations are scaled to "
        f"the errors of {FOLDS}-fold cross-validation by clip."
    )
