"""The training: what is hidden stays hidden, physics teaches what no electrode shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import elbow
from models.hill_joint import Geometry
from models.nmm import Nmm, NmmConfig
from training.fit_nmm import Terms, Windows, fit, guess, read_trial
from training.joint_data import elbow_trial
from training.nmm_config import NmmLoss, NmmRun
from training.nmm_study import elbow_joint
from training.virtual_measure import measured_of
from training.virtual_people import TUNED_ON

SMALL = NmmRun(
    network=NmmConfig(width=16, heads=2, blocks=1, hidden=16, window=64), epochs=2, batch=8,
    first_guess=False, shoot_every=1,
)  # fmt: skip
DEEP = [2, 5]


@pytest.fixture(scope="module")
def trials():
    return [elbow_trial(m) for m in measured_of(TUNED_ON)]


@pytest.fixture(scope="module")
def joint():
    return elbow_joint(TUNED_ON)


def test_a_trial_with_another_load_knows_its_moment_and_no_emg(trials):
    light, heavy = (next(t for t in trials if t.load_kg == kg) for kg in (0.0, 4.0))
    again = light.loaded(4.0)
    assert np.isnan(again.envelope).all()
    assert np.isnan(again.truth).all()
    assert again.features[0, 3] == 4.0
    np.testing.assert_array_equal(again.features[:, 4], again.moment_nm)
    # What a kilogram adds does not depend on how many there are.
    np.testing.assert_allclose(again.loaded(0.0).moment_nm, light.moment_nm, atol=1e-9)
    assert np.abs(again.moment_nm).max() == pytest.approx(np.abs(heavy.moment_nm).max(), rel=0.3)


def test_windows_never_show_truth_and_other_loads_show_no_emg(trials):
    rng = np.random.default_rng(1)
    windows = Windows(trials[:3], replace(SMALL, other_loads=1.0))
    for batch in windows.epoch(rng):
        assert "truth" not in batch
        assert torch.isnan(batch["envelope"]).all()
        assert batch["features"].shape[0] == 64
        loads = batch["features"][0, :, 3]
        torch.testing.assert_close(loads, batch["load"][0])
        assert bool((loads <= windows.most_kg).all())


def test_loads_are_drawn_from_what_training_has_and_a_little_beyond(trials):
    light = [t for t in trials if t.load_kg < 4]
    assert Windows(light, SMALL).most_kg == pytest.approx(1.5 * 2 + 1)
    assert Windows(trials, SMALL).most_kg == pytest.approx(1.5 * 4 + 1)


def test_unmeasured_muscles_have_no_term_of_their_own_envelope(trials, joint):
    terms = Terms(joint, SMALL, trials[:3])
    assert terms.measured.tolist() == [i not in DEEP for i in range(6)]


def test_motion_is_compared_with_the_samples_it_leads_to(trials, joint):
    """Under a known acceleration the term is nothing, and one sample off it is something."""
    t = torch.arange(64)[:, None].expand(-1, 3) / 100
    angle, speed = 0.4 + 0.5 * t + 0.5 * 2.0 * t**2, 0.5 + 2.0 * t
    steady = replace(joint, accelerate=lambda kg: lambda q, nm: torch.full_like(q, 2.0))
    terms, model = Terms(steady, SMALL, trials[:3]), Nmm(SMALL.network, joint.muscle, 100.0)
    length, arm = elbow.paths(angle)
    read = model(torch.randn(3, 64, 5), Geometry(length, arm, -arm * speed[..., None]), speed)
    batch = {"angle": angle, "speed": speed, "moment": torch.zeros(64, 3),
             "envelope": torch.full((64, 3, 6), torch.nan), "load": torch.zeros(1, 3)}  # fmt: skip
    exact = float(terms(model, batch, read, True)["motion"])
    late = {**batch, "angle": torch.cat([angle[:1], angle[:-1]])}
    assert exact < 1e-9
    # Pieces begin on the measured angle, so a shift shows only in what the curve gains by then.
    assert float(terms(model, late, read, True)["motion"]) > 1e-6


def test_a_few_epochs_bring_every_term_down_and_repeat_bit_by_bit(trials, joint):
    run = replace(SMALL, epochs=4, alone=0.25)
    first, second = (fit(trials[:2], joint, run) for _ in range(2))
    assert first.history == second.history
    assert first.history[-1]["moment"] < first.history[1]["moment"]
    assert set(first.history[-1]) == {
        "envelope", "moment", "motion", "effort", "kin", "shares", "smooth", "person",
    }  # fmt: skip
    assert set(first.history[0]) == {"envelope", "smooth"}  # the person rests at first


def test_a_whole_trial_is_read_without_gaps_from_motion_alone(trials, joint):
    for causal in (False, True):
        run = replace(SMALL, network=replace(SMALL.network, causal=causal), epochs=1)
        fitted = fit(trials[:1], joint, run)
        blind = replace(trials[1], envelope=np.full_like(trials[1].envelope, np.nan))
        envelope, moment_nm = read_trial(fitted, blind)
        assert envelope.shape == (1150, 6)
        assert np.isfinite(envelope).all()
        assert np.isfinite(moment_nm).all()


def test_the_first_guess_lies_inside_all_bounds(trials, joint):
    values = guess(trials[::4], joint)
    fitted = fit(trials[:1], joint, replace(SMALL, epochs=1))
    fitted.model.person.set(**values._asdict())  # raises where one does not


def test_trials_shorter_than_a_window_are_named(trials, joint):
    with pytest.raises(ValueError, match="shorter than a window of 2000.*V6-0kg"):
        fit(trials[:1], joint, replace(SMALL, network=replace(SMALL.network, window=2000)))
    with pytest.raises(ValueError, match="none"):
        fit([], joint, SMALL)


def test_a_loss_that_is_no_number_is_an_error_that_says_what_to_do(trials, joint):
    wild = replace(SMALL, loss=NmmLoss(envelope=float("inf")))
    with pytest.raises(FloatingPointError, match="lower the rates"):
        fit(trials[:1], joint, wild)
