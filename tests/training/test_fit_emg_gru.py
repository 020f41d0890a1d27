import os

import numpy as np
import pytest

from edge.bundle import MODEL
from export.bundle import write_bundle
from export.onnx import export_onnx
from training.emg_steps import Trial, emg_features, ta_steps
from training.evaluate import run_bundle
from training.fit_emg_gru import EmgFit, fit_emg_gru, predict_steps
from training.readers import TA_CHANNELS, ta_trial
from training.recipe_emg import FEATURES, ta_spec

FIT = EmgFit(epochs=6, batches=15, batch=4, steps=100, settle=10, inner=8, hidden=16)


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    """A torque that follows the envelope of simulated EMG with a lag."""
    rng = np.random.default_rng(1)
    made = []
    for k in range(2):
        effort = np.repeat(rng.uniform(0, 1, 8), 2000)
        emg_uv = (effort * rng.normal(0, 400, effort.shape))[:, None].astype(np.float32)
        x = emg_features(emg_uv, TA_CHANNELS, FEATURES)
        torque = 30 * np.convolve(effort, np.ones(200) / 200)[: len(effort)]
        made.append(Trial(f"t{k}", x, torque[19::20, None].astype(np.float32)))
    return made


def test_the_loss_falls_and_the_fit_repeats_from_its_seed(trials):
    net, losses = fit_emg_gru(trials, FIT)
    assert losses[-1] < 0.8 * losses[0]
    again, same = fit_emg_gru(trials, FIT)
    assert same == losses
    x = trials[0].features
    np.testing.assert_array_equal(predict_steps(net, x), predict_steps(again, x))


def test_the_bundle_steps_like_the_network_reads_the_sequence(trials, tmp_path):
    net, _ = fit_emg_gru(trials, FIT)
    net.doubt.fill_(1.5)
    spec = ta_spec(FIT)
    x = trials[0].features
    example = {"features": x[:1], "h": np.zeros((1, FIT.hidden), np.float32)}
    export_onnx(net, spec, [example], tmp_path / MODEL)
    values, sd = run_bundle(write_bundle(tmp_path, spec, "card", {}), x)
    want_values, want_sd = predict_steps(net, x)
    np.testing.assert_allclose(values, want_values, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(sd, want_sd, rtol=1e-3)


@pytest.mark.skipif(
    not os.environ.get("SONOMYO_DATA"), reason="set SONOMYO_DATA to the folder of recordings"
)
def test_targets_are_measured_at_the_last_sample_of_their_step():
    (trial,) = ta_steps(("PL_50_01",), FEATURES)
    torque_nm = ta_trial("PL_50_01").torque_nm
    assert len(trial.features) == len(trial.targets) == 1700
    assert trial.targets[3, 0] == np.float32(torque_nm[79])
