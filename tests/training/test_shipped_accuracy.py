"""The shipped bundles are as good as their cards say, through the device's own code."""

import os
from math import isnan

import numpy as np
import pytest

from edge.bundle import CARD, list_bundles, load_bundle
from training.emg import EmgChain
from training.emg_baselines import low_pass
from training.emg_steps import emg_features, ta_steps
from training.evaluate import run_bundle, stored_scores
from training.frames import IMAGE, mg_frames, simulated_frames
from training.readers import ta_trial
from training.recipe_emg import FEATURES, score_steps
from training.recipe_leg import score_frames
from training.splits import MG_EVAL, TA_EVAL

needs_data = pytest.mark.skipif(
    not os.environ.get("SONOMYO_DATA"), reason="set SONOMYO_DATA to the folder of recordings"
)


@needs_data
def test_mg_state_reads_a_held_out_push_as_well_as_its_card_says():
    bundle = load_bundle("mg-state")
    clip = next(c for c in MG_EVAL if "isokinetic500" in c)
    stored = {(s.group, s.output): s for s in stored_scores(bundle)}
    for found in score_frames(bundle, mg_frames((clip,), IMAGE))[2:]:
        assert found.rmse == pytest.approx(stored[found.group, found.output].rmse, rel=0.02)


@needs_data
def test_ta_emg_hears_held_out_trials_as_well_as_its_card_says():
    bundle = load_bundle("ta-emg")
    found = score_steps(bundle, ta_steps(TA_EVAL, FEATURES))
    assert [s.rmse for s in found] == pytest.approx(
        [s.rmse for s in stored_scores(bundle)], rel=0.02
    )


@needs_data
def test_ta_activation_follows_the_envelope_of_held_out_trials():
    bundle = load_bundle("ta-activation")
    source = bundle.spec.inputs[0]
    late = round(bundle.spec.delay_ms / bundle.spec.period_ms)
    for name in TA_EVAL:
        emg_uv = ta_trial(name).emg_uv
        said, _ = run_bundle(bundle, emg_features(emg_uv, source.channels, source))
        envelope = low_pass(EmgChain(source.rate_hz).bins(emg_uv), 5.0)
        assert np.corrcoef(said[late:, 0], envelope[: len(said) - late, 0])[0, 1] > 0.9


def test_sim_state_reads_the_simulated_wearer_the_demo_plays():
    bundle = load_bundle("sim-state")
    found = score_frames(bundle, simulated_frames(IMAGE, (1,), 120, 0.0, 60.0))
    limits = {"ankle_angle": 4.0, "ankle_torque": 8.0}
    assert all(s.rmse < limits[s.output] for s in found)


@pytest.mark.parametrize("name", list_bundles())
def test_cards_show_the_stored_numbers(name):
    bundle = load_bundle(name)
    card = (bundle.path / CARD).read_text("utf-8")
    assert "Not for clinical use" in card
    for who in ("network", "baseline"):
        for s in stored_scores(bundle, who):
            shown = f"{s.rmse:.2f}" + ("" if isnan(s.r2) else f" ({s.r2:.2f})")
            (row,) = (line for line in card.splitlines() if line.startswith(f"| {s.group} |"))
            assert shown in row


@pytest.mark.parametrize("name", ["mg-state", "ta-emg"])
def test_networks_beat_their_linear_baselines_on_held_out_recordings(name):
    bundle = load_bundle(name)
    pairs = zip(stored_scores(bundle), stored_scores(bundle, "baseline"), strict=True)
    for ours, linear in pairs:
        if ours.group == "all":
            assert ours.rmse < linear.rmse
