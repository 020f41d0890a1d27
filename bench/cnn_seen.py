"""What the segmenter sees: overlap with drawn and simulated maps, architecture beside observers."""

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from bench.part import Part, number
from edge.bundle import load_bundle
from edge.measure_command import measure
from edge.segment import SEGMENTER, Segmentation
from training.evaluate import METRICS
from training.fit_segmenter import SIDE
from training.observers import Measures, Row, labelled, manual, observer_table, read
from training.overlap import Overlap, overlaps
from training.recipe_segmenter import EVAL_PEOPLE, FRAMES, engine_maps
from training.segments import EVAL_GROUP, Segments, drawn, simulated

HAND, SIMULATED = "hand-drawn, last group", "simulated people"  # as in the bundle's metrics
STORED = "hand-drawn, each group left out in turn"
TOLERANCE = 0.01  # of Dice: the bundle's own figures against those measured now

F64 = NDArray[np.float64]
Points = dict[str, tuple[F64, F64]]  # quantity: mean of the observers (n,), ours (n,)


def overlap_part() -> Part:
    """Dice and Jaccard of the shipped segmenter on what it never saw.  Raises BundleError."""
    print("segmenter: overlap", file=sys.stderr)
    bundle = load_bundle(SEGMENTER)
    kept = json.loads(bundle.text(METRICS))["overlap"]
    coarse = drawn(SIDE)
    shown: dict[str, Segments] = {
        HAND: coarse.part(coarse.group == EVAL_GROUP),
        SIMULATED: simulated(EVAL_PEOPLE, FRAMES),
    }
    found = {name: overlaps(engine_maps(bundle, s.pictures), s) for name, s in shown.items()}
    rows = [_row(name, o) for name, each in found.items() for o in each if o.n]
    rows += [_row(f"{STORED} (from the bundle)", Overlap(**o)) for o in kept.get(STORED, [])]
    wrong = [
        f"{bundle.id}: Dice of {o.map}, {name}, is {o.dice:.3f}, its metrics say {want:.3f}: "
        "run: sonomyo train segmenter"
        for name, each in found.items()
        for o in each
        for want in (w["dice"] for w in kept.get(name, []) if w["map"] == o.map)
        if abs(o.dice - want) > TOLERANCE
    ]
    numbers = {
        "dice": float(np.mean([o.dice for o in found[HAND] if o.n])),  # over the maps
        "segmentation": {name: [asdict(o) for o in each] for name, each in found.items()},
    }
    heads = ("pictures", "Dice", "Jaccard", "smallest Jaccard")
    return Part(f"segmentation, {bundle.id}", heads, rows, numbers, tuple(wrong))


def observers_part() -> tuple[Part, Points]:
    """Our RMSE beside that between observers, and the points behind it.  Raises BundleError."""
    print("segmenter: architecture beside observers", file=sys.stderr)
    with closing(Segmentation()) as segment:
        table, points = observer_table(segment), measured(segment)
    heads = ("fascicle angle, deg", "pennation, deg", "thickness", "fascicle length")
    rows = []
    for name in dict.fromkeys(r.set for r in table):
        of = [r for r in table if r.set == name]
        label = f"{name}, {of[0].measured} of {of[0].pictures} pictures measured"
        rows.append((label, *(_beside(of, k) for k in ("fascicle_deg", "pennation_deg",
                                                       "thickness_", "fascicle_"))))  # fmt: skip
    title = "RMSE against the mean of observers / of each observer against the others"
    return Part(title, heads, rows, {"observers": [asdict(r) for r in table]}), points


def measured(segment: Segmentation) -> Points:
    """Every picture of us_mg_dynamometer that observers labelled and we could measure."""
    ours, theirs = [], []
    for one in labelled(("us_mg_dynamometer",)):
        ((_, found),) = measure([one.picture], segment)
        ours.append(read(found, one.picture))
        theirs.append([np.mean(q) for q in manual(one)])
    a, b = np.array(ours, np.float64), np.array(theirs, np.float64)
    good = np.isfinite(a).all(axis=1)
    return {q: (b[good, k], a[good, k]) for k, q in enumerate(Measures._fields)}


def _row(name: str, o: Overlap) -> tuple[str, ...]:
    return f"{name}: {o.map}", str(o.n), *(number(v, 3) for v in (o.dice, o.jaccard, o.worst))


def _beside(rows: Sequence[Row], quantity: str) -> str:
    """Lengths are in mm, in pixels where a set has no scale: their last row is the one wanted."""
    r = next(r for r in rows[::-1] if r.quantity.startswith(quantity))
    unit = "" if r.unit == "deg" else f" {r.unit}"
    return f"{number(r.rmse)} / {number(r.observers_rmse)}{unit}"
