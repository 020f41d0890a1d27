from dataclasses import replace

import numpy as np
import pytest
import torch

from models.spec import Input, Step
from training.augment import Augment, augment
from training.fit_frame_cnn import FrameFit, fit_frame_cnn, predict
from training.frames import Clips, simulated_frames
from training.recipe_frames import IMAGE, train_sim_frame

FIT = FrameFit(epochs=3, batch=16)


@pytest.fixture(scope="module")
def clips() -> Clips:
    return simulated_frames(IMAGE, (1,), 64, 0.0, 60.0)


def test_the_loss_falls_and_the_fit_repeats_from_its_seed(clips):
    net, losses = fit_frame_cnn(clips, FIT)
    assert losses[-1] < 0.8 * losses[0]
    again, same = fit_frame_cnn(clips, FIT)
    assert same == losses
    a, b = predict(net, clips.images[:4]), predict(again, clips.images[:4])
    np.testing.assert_array_equal(a, b)
    _, other = fit_frame_cnn(clips, replace(FIT, seed=2, epochs=1))
    assert other[0] != losses[0]


def test_changes_stay_within_their_limits():
    image = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    rng = torch.Generator().manual_seed(2)
    still = augment(image, Augment(0, 0, 0, 0, 0, 0), rng)
    torch.testing.assert_close(still, image, atol=1e-4, rtol=0)
    offset = augment(image, Augment(0, 0.2, 0, 0, 0, 0), rng) - image
    assert 0.01 < offset.abs().max() <= 0.2 + 1e-4
    moved = augment(image, Augment(0, 0, 0, 0.1, 0, 0), rng)
    assert (moved - image).abs().max() > 0.05
    assert moved.min() >= image.min() - 1e-4
    assert moved.max() <= image.max() + 1e-4


def test_a_quick_recipe_gives_a_bundle_whose_card_tells_its_errors(tmp_path):
    bundle = train_sim_frame(tmp_path / "quick", quick=True)
    assert bundle.spec.inputs == (IMAGE,)
    card = (bundle.path / "CARD.md").read_text()
    assert "Not for clinical use" in card
    assert "| all | 96 |" in card
    assert "2 epochs" in card


def test_the_input_crops_in_millimetres():
    assert isinstance(IMAGE, Input)
    assert IMAGE.steps[0] == Step(
        "physical_crop",
        {"depth0_mm": 0, "depth_mm": 50, "width_mm": 60, "lines": 128, "samples": 128},
    )
