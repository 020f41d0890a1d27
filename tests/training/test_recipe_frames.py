from models.spec import Input, Step
from training.frames import IMAGE
from training.recipe_frames import train_sim_frame


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
