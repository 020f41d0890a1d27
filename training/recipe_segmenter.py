"""Recipe of ``calf-segmenter``: fitted to hand-drawn and simulated maps, scored on both."""

import io
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge.bundle import MODEL, REFERENCE, Bundle, BundleError
from edge.runtime import open_engine
from export.bundle import write_bundle
from export.onnx import export_onnx
from export.reference import torch_reference
from models.segmenter import MAPS, Segmenter, SegmenterConfig
from models.spec import ModelSpec
from training.evaluate import METRICS
from training.fit_segmenter import SIDE, SegmenterFit, fit_segmenter, predict, standardised
from training.frames import IMAGE
from training.overlap import Overlap, overlaps, thickness
from training.segmenter_card import segmenter_card
from training.segments import EVAL_GROUP, GROUPS, Segments, drawn, simulated

log = logging.getLogger(__name__)

F32 = NDArray[np.float32]
WEIGHTS = "weights.npz"  # of the bundle: the network before its batch norms were folded
CONFIG = "config"  # entry of WEIGHTS beside the tensors: JSON of SegmenterConfig
SPEC = ModelSpec("calf-segmenter", (IMAGE,), (), 1000 / 61, values="", maps="maps", map_names=MAPS)
FIT = SegmenterFit()
QUICK = SegmenterFit(steps=4, batch=8)
TRAIN_PEOPLE, EVAL_PEOPLE = range(100, 180), range(200, 216)  # nobody of the cohort
FRAMES = 12  # simulated pictures of each
DRAWN = 0.4  # share of hand-drawn pictures in a batch
MM = 50 / SIDE  # a sample of a simulated picture


def train_segmenter(folder: Path, quick: bool = False) -> Bundle:
    """Fit on us_masks_dltrack and simulated people and write the bundle.  Raises DataMissing.

    One fit for each group of hand-drawn pictures, which it does not see; the bundle is the one
    without EVAL_GROUP.  ``quick`` makes that one only, a token.
    """
    fit, people, frames = (QUICK, TRAIN_PEOPLE[:2], 2) if quick else (FIT, TRAIN_PEOPLE, FRAMES)
    fine, coarse = drawn(), drawn(SIDE)
    made = simulated(people, frames)
    unseen = np.full(coarse.maps.shape, np.nan, np.float32)
    others = [] if quick else [g for g in range(len(GROUPS)) if g != EVAL_GROUP]
    for group in [*others, EVAL_GROUP]:  # the last network is the one we keep
        log.info("without group %d of the hand-drawn pictures", group + 1)
        out = coarse.group == group
        net, _ = fit_segmenter([(fine.part(fine.group != group), DRAWN), (made, 1 - DRAWN)], fit)
        unseen[out] = predict(net, coarse.pictures[out])
    bundle = _sealed(folder, net, coarse.pictures)

    kept = coarse.part(coarse.group == EVAL_GROUP)
    strangers = simulated(EVAL_PEOPLE[: 2 if quick else None], frames)
    found = engine_maps(bundle, strangers.pictures)
    rows = {
        "hand-drawn, last group": overlaps(engine_maps(bundle, kept.pictures), kept),
        "simulated people": overlaps(found, strangers),
    }
    if not quick:
        rows["hand-drawn, each group left out in turn"] = overlaps(unseen, coarse)
    known = coarse.part(coarse.group != EVAL_GROUP)
    baseline = {
        "hand-drawn, last group": overlaps(_mean_maps(known, kept), kept),
        "simulated people": overlaps(_mean_maps(made, strangers), strangers),
    }
    error_mm = MM * np.abs(thickness(found) - thickness(strangers.maps)).mean(axis=0)
    error = dict(zip(MAPS[1:], error_mm.tolist(), strict=True))
    text = segmenter_card(SPEC, fit, rows, baseline, error)
    metrics = metrics_json(rows, baseline, error)
    return write_bundle(folder, SPEC, text, {METRICS: metrics, WEIGHTS: weights_npz(net)})


def engine_maps(bundle: Bundle, pictures: NDArray[np.uint8]) -> F32:
    """Maps ``(n, 3, 128, 128)`` of brightness ``(n, 128, 128)``, by the engine the device uses."""
    engine = open_engine(bundle)
    found = np.empty((len(pictures), len(MAPS), SIDE, SIDE), np.float32)
    try:
        for k, picture in enumerate(pictures):
            engine.inputs[IMAGE.name][...] = _input(picture)
            engine.run()
            found[k] = engine.outputs[bundle.spec.maps][0]
    finally:
        engine.close()
    return found


def segmenter_of(bundle: Bundle) -> Segmenter:
    """The network of a segmenter's bundle, in eval mode, to be part of another or trained on.

    Raises BundleError for a bundle without WEIGHTS.
    """
    if WEIGHTS not in bundle.files:
        raise BundleError(
            f"{bundle.path} has no {WEIGHTS}: it is no segmenter, or of an older version; "
            "run: sonomyo train segmenter"
        )
    with np.load(io.BytesIO(bundle.files[WEIGHTS]), allow_pickle=False) as kept:
        config = json.loads(str(kept[CONFIG]))
        tensors = {k: torch.from_numpy(kept[k]) for k in kept.files if k != CONFIG}
    net = Segmenter(SegmenterConfig(**{**config, "widths": tuple(config["widths"])}))
    net.load_state_dict(tensors)
    return net.eval()


def weights_npz(net: Segmenter) -> bytes:
    """The bytes of WEIGHTS: tensors by name, nothing pickled; the same network, the same bytes."""
    arrays: dict[str, Any] = {name: t.numpy() for name, t in net.state_dict().items()}
    arrays[CONFIG] = np.array(json.dumps(asdict(net.config)))
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def metrics_json(
    rows: dict[str, list[Overlap]], baseline: dict[str, list[Overlap]], error_mm: dict[str, float]
) -> str:
    """What the card shows, for programs; a segmenter has no values to be scored as others are."""

    def plain(found: dict[str, list[Overlap]]) -> dict[str, list[dict[str, object]]]:
        return {k: [asdict(o) for o in v if o.n] for k, v in found.items()}

    parts = {
        "network": [],
        "baseline": [],
        "overlap": plain(rows),
        "mean_map": plain(baseline),
        "thickness_error_mm": error_mm,
    }
    return json.dumps(parts, indent=1) + "\n"


def _sealed(folder: Path, net: Segmenter, pictures: NDArray[np.uint8]) -> Bundle:
    examples = [{IMAGE.name: _input(p)} for p in pictures[::4]]
    export_onnx(net, SPEC, examples, folder / MODEL)
    (folder / REFERENCE).write_bytes(torch_reference(net, SPEC, examples))
    return write_bundle(folder, SPEC, "", {})


def _input(picture: NDArray[np.uint8]) -> F32:
    return standardised(torch.from_numpy(picture).float()).numpy()[None, None]


def _mean_maps(known: Segments, wanted: Segments) -> F32:
    """What ``known`` pictures show on the average, once per picture of ``wanted``."""
    seen = known.known.sum(axis=0, dtype=np.float32)
    mean = (known.maps * known.known).sum(axis=0, dtype=np.float32) / np.maximum(seen, 1)
    return np.broadcast_to(mean, wanted.maps.shape)
