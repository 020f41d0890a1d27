import os

import pytest

from models.spec import Step
from training.frames import IMAGE
from training.recipe_leg import OUTPUTS, train_mg_state, train_sim_state


@pytest.mark.parametrize(
    ("recipe", "pictures"),
    [
        (train_sim_state, 96),
        pytest.param(
            train_mg_state,
            79,
            marks=pytest.mark.skipif(
                not os.environ.get("SONOMYO_DATA"),
                reason="set SONOMYO_DATA to the folder of recordings",
            ),
        ),
    ],
)
def test_a_quick_recipe_gives_a_bundle_that_can_doubt_and_a_card_that_tells(
    recipe, pictures, tmp_path
):
    bundle = recipe(tmp_path / "quick", quick=True)
    assert bundle.spec.inputs == (IMAGE,)
    assert bundle.spec.outputs == OUTPUTS
    assert all(o.max_sd is not None and o.max_sd < 100 for o in bundle.spec.outputs)
    card = (bundle.path / "CARD.md").read_text()
    assert "Not for clinical use" in card
    assert f"| all | {pictures} |" in card
    assert "1 epochs" in card


def test_the_input_crops_in_millimetres():
    assert IMAGE.steps[0] == Step(
        "physical_crop",
        {"depth0_mm": 0, "depth_mm": 50, "width_mm": 60, "lines": 128, "samples": 128},
    )
