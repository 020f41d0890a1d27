"""Recipe of ``mg-state``: one recorded leg, read by networks that know what they do not know.

Not shipped: on the evaluation clips it is not better than ``mg-frame`` yet.
"""

import logging
from pathlib import Path

from edge.bundle import MODEL, Bundle
from export.bundle import write_bundle
from export.onnx import export_onnx
from firmware_bridge.types import Output
from models.spec import ModelSpec
from training.card import Facts, card
from training.datasets import data_set
from training.evaluate import METRICS, metrics_json
from training.frames import IMAGE
from training.leg import FOLDS
from training.readers import MG
from training.real_leg import open_leg
from training.recipe_frames import score_baseline, score_frames
from training.splits import MG_EVAL, MG_TRAIN
from training.state_config import StateRun, load_run
from training.train_state_command import token

log = logging.getLogger(__name__)

# A value outside is no ankle, and a larger SD is no estimate: the device flags either FAULT.
OUTPUTS = (
    Output("ankle_angle", "deg", -50, 50, max_sd=12),
    Output("ankle_torque", "N m", -50, 250, max_sd=60),
)
SPEC = ModelSpec("mg-state", (IMAGE,), OUTPUTS, period_ms=1000 / 61, sd="sd", wearer="AGR003")
CONFIG = "leg"


def train_mg_state(folder: Path, quick: bool = False) -> Bundle:
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
        title="mg-state: ankle angle and torque from B-mode pictures of the calf",
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
        command="sonomyo train mg-state",
    )
    net = leg.settled(train).eval()
    examples = [{"image": image[None]} for image in test.images[:: max(1, len(test.images) // 8)]]
    worst = export_onnx(net, SPEC, examples, folder / MODEL)
    log.info("exported: ONNX Runtime and PyTorch differ by %.2g at most", worst)
    network = score_frames(write_bundle(folder, SPEC, "", {}), test)
    linear = score_baseline(train, test)
    text = card(facts, SPEC, network, linear)
    return write_bundle(folder, SPEC, text, {METRICS: metrics_json(network, linear)})


def _training(run: StateRun) -> str:
    fit = run.fit
    return (
        f"{fit.epochs} epochs of AdamW (rate {fit.rate:g}, weight decay {fit.decay:g}), pictures "
        "changed at random in gain, depth gain, position, scale and speckle; spoilt pictures "
        "teach it what it does not know. The settings were chosen by leaving out whole conditions; "
        "the head was chosen with the passive one left out. The standard deviations are scaled to "
        f"the errors of {FOLDS}-fold cross-validation by clip."
    )
