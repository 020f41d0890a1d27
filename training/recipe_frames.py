"""Recipes of the picture models: ``mg-frame`` from recordings, ``sim-frame`` from a simulation."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from edge.bundle import MODEL, Bundle
from export.bundle import write_bundle
from export.onnx import export_onnx
from firmware_bridge.types import Output
from models.spec import ModelSpec
from training.baselines import picture_baseline
from training.card import Facts, card
from training.datasets import data_set
from training.evaluate import METRICS, metrics_json, run_bundle
from training.fit_frame_cnn import FrameFit, fit_frame_cnn, predict
from training.frames import IMAGE, Clips, mg_frames, simulated_frames
from training.metrics import Score, doubt, scores
from training.readers import MG
from training.splits import MG_EVAL, MG_TRAIN

log = logging.getLogger(__name__)

# A value outside is no ankle: the device flags it FAULT.
OUTPUTS = (
    Output("ankle_angle", "deg", -50, 50),
    Output("ankle_torque", "N m", -50, 250),
)
FIT = FrameFit(epochs=25)
QUICK = FrameFit(epochs=2)
FOLDS = 2


def train_mg_frame(folder: Path, quick: bool = False) -> Bundle:
    """Fit on us_mg_dynamometer and write the bundle.  Raises DataMissing."""
    # A token fit has no business with the held-out clips.
    train, test = (MG_TRAIN[:2], MG_TRAIN[2:3]) if quick else (MG_TRAIN, MG_EVAL)
    fit = QUICK if quick else FIT
    spec = _spec("mg-frame", wearer="AGR003")
    about = data_set(MG)
    facts = Facts(
        title="mg-frame: ankle angle and torque from B-mode pictures of the calf",
        purpose="A small convolutional network looks at one picture of the medial gastrocnemius "
        "along its fascicles and estimates angle (negative = dorsiflexed) and torque (positive = "
        "plantarflexion, as the dynamometer shows it: gravity and inertia not removed).",
        limits="One healthy adult, one session, one probe placement: it knows this person's leg. "
        "On anybody else's it is a demonstration. Training has one passive clip only.",
        data=f"{about.title}. Source: {about.source}.",
        split="Split by whole clip, so no picture of an evaluated push was trained on: "
        f"trained on {', '.join(train)}; evaluated on {', '.join(test)}. The evaluated "
        "pushes, which chose nothing here, are of the same person, day and conditions.",
        training=_training(fit),
        baseline="Linear = 80 principal components of the same pictures and ridge regression, its "
        "penalty chosen by leaving out one training clip at a time.",
        licence=f"Weights: Apache-2.0. Trained on recordings under {about.licence}: "
        f"{about.attribution}",
        command="sonomyo train frame-cnn",
    )
    return _make(folder, spec, facts, mg_frames(train, IMAGE), mg_frames(test, IMAGE), fit)


def train_sim_frame(folder: Path, quick: bool = False) -> Bundle:
    """Fit on the simulated wearer and write the bundle; needs no recordings."""
    legs, frames = ((1, 2), 48) if quick else ((1, 2, 3, 4, 5, 6), 240)
    fit = QUICK if quick else FIT
    spec = _spec("sim-frame", wearer="simulated")
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
        training=_training(fit),
        baseline="Linear = 80 principal components of the same pictures and ridge regression, its "
        "penalty chosen by leaving out one training leg at a time.",
        licence="Apache-2.0.",
        command="sonomyo train sim-frame",
    )
    train = simulated_frames(IMAGE, legs, frames, first_s=60.0, last_s=500.0)
    test = simulated_frames(IMAGE, (1, legs[-1] + 1), frames, first_s=0.0, last_s=60.0)
    return _make(folder, spec, facts, train, test, fit)


def score_frames(bundle: Bundle, test: Clips) -> list[Score]:
    """The bundle on the device's engine, per condition."""
    values, _ = run_bundle(bundle, test.images)
    return _scores(values, test)


def score_baseline(train: Clips, test: Clips) -> list[Score]:
    """The linear model on the same pictures, per condition."""
    model = picture_baseline(train.images, train.targets, train.clip)
    return _scores(model(test.images.reshape(len(test.images), -1)), test)


def _make(
    folder: Path, spec: ModelSpec, facts: Facts, train: Clips, test: Clips, fit: FrameFit
) -> Bundle:
    net, _ = fit_frame_cnn(train, fit)
    net.doubt.copy_(torch.from_numpy(_cross_doubt(train, replace(fit, seed=fit.seed + 1))))
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


def _cross_doubt(train: Clips, fit: FrameFit) -> np.ndarray:
    """How much more the network errs on clips it has not seen than it expects.

    Leaves out clips whose condition has another clip, where there are any: that is what the
    evaluation asks, too.
    """
    every = list(range(len(train.names)))
    repeated = [k for k in every if train.conditions.count(train.conditions[k]) > 1] or every
    folds = [repeated[j::FOLDS] for j in range(min(FOLDS, len(repeated)))]
    found = []
    for out in folds:
        kept = [k for k in every if k not in out]
        net, _ = fit_frame_cnn(train.part(kept), fit)
        values, sd = predict(net, train.part(out).images)
        found.append((values, sd, train.part(out).targets))
    values, sd, truth = (np.concatenate(part) for part in zip(*found, strict=True))
    factor = doubt(values, sd, truth)
    log.info("sd is scaled by %s to fit the errors on left-out clips", np.round(factor, 2))
    return factor.astype(np.float32)


def _scores(estimate: np.ndarray, test: Clips) -> list[Score]:
    groups = [test.conditions[k] for k in test.clip]
    return scores([o.name for o in OUTPUTS], groups, estimate, test.targets)


def _spec(name: str, wearer: str) -> ModelSpec:
    return ModelSpec(name, (IMAGE,), OUTPUTS, period_ms=1000 / 61, sd="sd", wearer=wearer)


def _training(fit: FrameFit) -> str:
    return (
        f"{fit.epochs} epochs of AdamW (rate {fit.rate:g}, weight decay {fit.decay:g}), pictures "
        "changed at random in gain, depth gain, position, scale and speckle. Two strengths of "
        "those changes were compared by leaving out training clips of mg-frame; nothing else was "
        f"tuned. The standard deviations are scaled to the errors of {FOLDS}-fold "
        "cross-validation by clip."
    )
