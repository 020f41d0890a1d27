import os

import pytest

from training.recipe_leg import OUTPUTS, train_mg_state


@pytest.mark.skipif(
    not os.environ.get("SONOMYO_DATA"), reason="set SONOMYO_DATA to the folder of recordings"
)
def test_a_quick_recipe_gives_a_bundle_that_can_doubt(tmp_path):
    bundle = train_mg_state(tmp_path / "quick", quick=True)
    assert bundle.spec.outputs == OUTPUTS
    assert all(o.max_sd < 100 for o in bundle.spec.outputs)
    card = (bundle.path / "CARD.md").read_text()
    assert "Not for clinical use" in card
    assert "| all | " in card
