import json
import os

import numpy as np
import pytest
import torch

from edge.bundle import BundleError, list_bundles, load_bundle
from edge.runtime import open_engine
from models.segmenter import MAPS, Segmenter, SegmenterConfig
from training.datasets import DataMissing
from training.fit_segmenter import predict
from training.frames import IMAGE
from training.overlap import overlaps
from training.recipe_segmenter import engine_maps, segmenter_of, train_segmenter, weights_npz
from training.segments import EVAL_GROUP, GROUPS, drawn, simulated

needs_data = pytest.mark.skipif(
    not os.environ.get("SONOMYO_DATA"), reason="set SONOMYO_DATA to the folder of recordings"
)


needs_shipped = pytest.mark.skipif(
    "calf-segmenter" not in list_bundles(), reason="calf-segmenter does not ship yet"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return train_segmenter(tmp_path_factory.mktemp("quick"), quick=True)


@needs_data
def test_a_quick_recipe_gives_a_bundle_whose_card_tells_what_was_kept_out(bundle):
    card = (bundle.path / "CARD.md").read_text()
    assert "Not for clinical use" in card
    assert "simulated" in card
    assert all(f"apo_{n:05d}" in card for n in GROUPS[EVAL_GROUP])
    assert "| hand-drawn, last group | mg | 6 |" in card
    metrics = json.loads((bundle.path / "metrics.json").read_text())
    assert [o["map"] for o in metrics["overlap"]["simulated people"]] == list(MAPS)


@needs_data
def test_its_spec_has_maps_and_no_values(bundle):
    spec = load_bundle(str(bundle.path)).spec
    assert (spec.inputs, spec.outputs, spec.values) == ((IMAGE,), (), "")
    assert (spec.maps, spec.map_names) == ("maps", MAPS)
    engine = open_engine(bundle)
    assert engine.outputs["maps"].shape == (1, 3, 128, 128)
    engine.close()


@needs_data
def test_the_network_comes_back_as_the_device_runs_it(bundle):
    pictures = drawn(128).pictures[:3]
    net = segmenter_of(bundle)
    assert not net.training
    np.testing.assert_allclose(predict(net, pictures), engine_maps(bundle, pictures), atol=1e-4)


@pytest.mark.usefixtures("cache")
def test_without_the_drawn_masks_it_says_how_to_get_them(tmp_path):
    with pytest.raises(DataMissing, match="sonomyo data get us_masks_dltrack"):
        train_segmenter(tmp_path, quick=True)


def test_another_models_bundle_is_no_segmenter():
    with pytest.raises(BundleError, match="sonomyo train segmenter"):
        segmenter_of(load_bundle("sim-state"))


def test_equal_weights_are_equal_bytes_and_nothing_in_them_is_pickled():
    torch.manual_seed(1)
    net = Segmenter(SegmenterConfig(widths=(4, 8), fine=4, deepest=1))
    kept = weights_npz(net)
    assert kept == weights_npz(net)
    assert b"pickle" not in kept


@needs_data
@needs_shipped
def test_the_shipped_one_fits_held_out_drawings_as_well_as_its_card_says():
    shipped, pictures = load_bundle("calf-segmenter"), drawn(128)
    kept = pictures.part(pictures.group == EVAL_GROUP)
    stored = json.loads((shipped.path / "metrics.json").read_text())["overlap"]
    said = {o["map"]: o["jaccard"] for o in stored["hand-drawn, last group"]}
    found = overlaps(engine_maps(shipped, kept.pictures), kept)
    assert {o.map: o.jaccard for o in found if o.n} == pytest.approx(said, abs=0.01)


@needs_shipped
def test_the_shipped_one_finds_the_muscles_of_simulated_people_it_never_met():
    strangers = simulated([220, 221], 3)
    found = overlaps(engine_maps(load_bundle("calf-segmenter"), strangers.pictures), strangers)
    assert all(o.jaccard > 0.95 for o in found if o.map in ("mg", "sol"))


@needs_shipped
def test_the_shipped_one_finds_no_muscle_in_noise_or_in_the_dark():
    rng = np.random.default_rng(1)
    black = np.zeros((2, 128, 128), np.uint8)
    noise = rng.integers(0, 256, (2, 128, 128)).astype(np.uint8)
    maps = engine_maps(load_bundle("calf-segmenter"), np.concatenate([black, noise]))
    assert (maps > 0.5).mean(axis=(2, 3)).max() < 0.02
