"""Recipe of ``ta-emg``: dorsiflexion torque from raw EMG of tibialis anterior."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from edge.bundle import MODEL, REFERENCE, Bundle
from export.bundle import write_bundle
from export.onnx import export_onnx
from export.reference import torch_reference
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec, State, Step
from training.baselines import ENVELOPE, emg_baseline, lagged
from training.card import Facts, card
from training.datasets import data_set
from training.emg_steps import Trial, ta_steps
from training.evaluate import METRICS, metrics_json, run_bundle
from training.fit_emg_gru import EmgFit, fit_emg_gru, predict_steps
from training.metrics import Score, doubt, scores
from training.readers import TA
from training.splits import TA_EVAL, TA_TRAIN

log = logging.getLogger(__name__)

WINDOW = 5  # hops the network sees at once: 50 ms
FEATURES = Input(
    name="features",
    shape=(1, WINDOW),
    source="emg",
    steps=(
        Step("bandpass", {"low_hz": 20, "high_hz": 450}),
        Step("rectify"),
        Step("bin"),
        Step("log1p", {"gain": 0.05}),  # compresses above 20 uV, where this amplifier's noise ends
        Step("window", {"hops": WINDOW}),
    ),
    rate_hz=2000,
    hop=20,
    channels=("tibialis anterior",),
)
OUTPUTS = (Output("dorsiflexion_torque", "N m", -60, 80),)
FIT = EmgFit(epochs=40, inner=8, hidden=16)
QUICK = EmgFit(epochs=2, batches=4, inner=8, hidden=16)
FOLDS = 3


def train_ta_emg(folder: Path, quick: bool = False) -> Bundle:
    """Fit on emg_torque_fascicle_ta and write the bundle.  Raises DataMissing."""
    # A token fit has no business with the held-out trials.
    fit, names, test_names = (
        (QUICK, TA_TRAIN[:2], TA_TRAIN[2:3]) if quick else (FIT, TA_TRAIN, TA_EVAL)
    )
    spec = ta_spec(fit)
    about = data_set(TA)
    facts = Facts(
        title="ta-emg: dorsiflexion torque from the EMG of tibialis anterior",
        purpose="A small recurrent network follows the rectified EMG of one muscle and estimates "
        "the torque at the ankle, 100 times a second, from the past alone.",
        limits="One person, one electrode, 17 s trials of one protocol. Torque also depends on the "
        "ankle angle, through the passive tissue (-18 N m at one end of the range, -7 N m at the "
        "other) and the muscle's length, and EMG does not know the angle: at rest the estimate can "
        "be off by that much. In all three active training trials the ankle rotates the same way, "
        "so part of the offset is remembered, not sensed.",
        data=f"{about.title}. Source: {about.source}.",
        split=f"Trained on {', '.join(names)}; evaluated on {', '.join(test_names)}, which "
        "chose nothing. PL_50_02 repeats a trained effort; Ref_Long_01, without rotation, is "
        "unlike any trained trial.",
        training=f"{fit.epochs} epochs of {fit.batches} batches of {fit.batch} random excerpts of "
        f"{fit.steps} steps, AdamW (rate {fit.rate:g}). Features, sizes and the number of epochs "
        "were chosen by leaving out training trials; the standard deviation is scaled to the "
        f"errors of {FOLDS}-fold cross-validation by trial.",
        baseline="Linear = ridge regression on the 5 Hz envelope and its past half second, its "
        "penalty chosen by leaving out one training trial at a time.",
        licence=f"Weights: Apache-2.0. Trained on recordings under {about.licence}: "
        f"{about.attribution}",
        command="sonomyo train emg-gru",
    )
    train, test = ta_steps(names, FEATURES), ta_steps(test_names, FEATURES)
    net, _ = fit_emg_gru(train, fit)
    net.doubt.copy_(torch.from_numpy(_cross_doubt(train, fit)))
    examples = _examples(test, fit)
    export_onnx(net, spec, examples, folder / MODEL)
    (folder / REFERENCE).write_bytes(torch_reference(net, spec, examples))
    network = score_steps(write_bundle(folder, spec, "", {}), test)
    linear = score_baseline(ta_steps(names, ENVELOPE), ta_steps(test_names, ENVELOPE))
    return write_bundle(
        folder, spec, card(facts, spec, network, linear), {METRICS: metrics_json(network, linear)}
    )


def ta_spec(fit: EmgFit) -> ModelSpec:
    """The contract of a network of this size."""
    states = (State("h", "h_next", (1, fit.hidden)),)
    return ModelSpec(
        "ta-emg", (FEATURES,), OUTPUTS, period_ms=10, sd="sd", states=states, wearer="tecchio-ta"
    )


def score_steps(bundle: Bundle, test: Sequence[Trial]) -> list[Score]:
    """The bundle on the device's engine, per trial."""
    return _scores([run_bundle(bundle, t.features)[0] for t in test], test)


def score_baseline(train: Sequence[Trial], test: Sequence[Trial]) -> list[Score]:
    """The linear model, per trial; both take ``ENVELOPE`` features."""
    model = emg_baseline(train)
    return _scores([model(lagged(t.features)) for t in test], test)


def _examples(trials: Sequence[Trial], fit: EmgFit) -> list[dict[str, np.ndarray]]:
    """Real features with states as large as they get."""
    rng = np.random.default_rng(0)
    x = np.concatenate([t.features for t in trials])[::200]
    h = rng.uniform(-1, 1, (len(x), 1, fit.hidden)).astype(np.float32)
    return [{"features": a[None], "h": b} for a, b in zip(x, h, strict=True)]


def _cross_doubt(trials: Sequence[Trial], fit: EmgFit) -> np.ndarray:
    """How much more the network errs on trials it has not seen than it expects."""
    found = []
    folds = min(FOLDS, len(trials))
    for fold in range(folds):
        out = trials[fold::folds]
        net, _ = fit_emg_gru([t for t in trials if all(t is not o for o in out)], fit)
        found += [(*predict_steps(net, t.features), t.targets) for t in out]
    values, sd, truth = (np.concatenate(part) for part in zip(*found, strict=True))
    factor = doubt(values, sd, truth)
    log.info("sd is scaled by %s to fit the errors on left-out trials", np.round(factor, 2))
    return factor.astype(np.float32)


def _scores(estimates: Sequence[np.ndarray], test: Sequence[Trial]) -> list[Score]:
    groups = [t.name for t in test for _ in t.targets]
    truth = np.concatenate([t.targets for t in test])
    return scores([o.name for o in OUTPUTS], groups, np.concatenate(estimates), truth)
