"""us_mg_dynamometer: efforts of one person left out in turn, and how many of them it takes.

What is found here says nothing about other people.
"""

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import Weights
from training.crossval import claim, contents
from training.crossval_results import write_json
from training.frames import IMAGE, Clips, mg_frames
from training.leave_out import (
    F64,
    Fit,
    LeftOut,
    clips_out,
    conditions_out,
    group_scores,
    leave_out,
    pca_ridge,
    pooled_scores,
)
from training.leg import Leg
from training.metrics import Score
from training.pretrain import pretrained
from training.splits import MG_EVAL, MG_TRAIN
from training.state_config import StateRun, load_run
from training.state_material import maps_of

OUTPUTS = ("angle", "torque")
UNITS = {"angle": "deg", "torque": "N m"}
CURVE = (2, 5)  # clips to learn from, and all
DRAWS = 2  # choices of that many clips
CURVE_OF = "strided"  # configuration of the network that is pretrained for the curve, or not

Report = Callable[[str], None]


def leg_clips() -> Clips:
    """Every clip of us_mg_dynamometer.  Raises DataMissing."""
    return mg_frames(sorted((*MG_TRAIN, *MG_EVAL)), IMAGE)


def open_leg(run: StateRun) -> Leg:
    """The recordings.  Raises DataMissing, and BundleError without the segmenter."""
    return Leg(leg_clips(), run, maps_of(run.data))


def study(
    leg: Leg,
    folder: Path,
    report: Report = lambda text: None,
    known: Sequence[str] = MG_TRAIN,
    asked: Sequence[str] = MG_EVAL,
) -> dict[str, Any]:
    """Every clip and every condition left out in turn, then the learning curve; minutes each.

    Ours and PCA + ridge side by side; the curve is over clips of ``known``, judged on ``asked``.
    Fits that ``folder`` has already are read from there; raises ValueError when they are of other
    settings or recordings.
    Returns what it writes to ``results.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = {
        "data": contents(leg.data, leg.spoilt),
        "model": asdict(leg.run.model),
        "fit": asdict(leg.run.fit),
    }
    claim(folder / "key.json", dict(json.loads(json.dumps(key))))
    clips = leg.clips
    found: dict[str, Any] = {}
    for name, out in (("condition", conditions_out), ("clip", clips_out)):
        found[name] = {}
        for who, fit in (("ours", leg.estimate), ("pca", pca_ridge)):
            left = [
                _kept(folder / f"{name}_{k:02d}_{who}.npy", clips, one, fit, report)
                for k, one in enumerate(out(clips))
            ]
            found[name][who] = {
                "all": _plain(pooled_scores(clips, left, OUTPUTS)),
                "each": {o.name: _plain(group_scores(clips, [o], OUTPUTS)) for o in left},
            }
    found["curve"] = list(_curve(leg, folder, report, known, asked))
    write_json(folder / "results.json", found)
    return found


def _curve(
    leg: Leg, folder: Path, report: Report, known: Sequence[str], asked: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Errors by how many clips the cohort's learned network was shown, once alone and once after
    the simulated people that it was pretrained on.
    """
    other = load_run(CURVE_OF)
    names = leg.clips.names
    teach, judge = ([names.index(n) for n in part] for part in (known, asked))
    counts = [*(n for n in CURVE if n < len(teach)), len(teach)]
    model = replace(other.model, outputs=len(OUTPUTS))
    start = None
    for pretrain, count, draw in itertools.product((False, True), counts, range(DRAWS)):
        if pretrain and start is None:
            start = _start(other, folder, report)
        some = np.random.default_rng([count, draw]).permutation(teach)[:count].tolist()
        one_leg = leg.like(replace(leg.run, model=model), start if pretrain else None)
        fit = functools.partial(_fit_to, one_leg, leg.clips.part(some), draw)
        path = folder / f"curve_{count:02d}_{draw}_{'after' if pretrain else 'alone'}.npy"
        found = _kept(path, leg.clips, ("evaluation clips", judge), fit, report)
        scores = _plain(pooled_scores(leg.clips, [found], OUTPUTS))
        yield {"clips": count, "draw": draw, "pretrained": pretrain} | scores


def _start(run: StateRun, folder: Path, report: Report) -> Weights | None:
    return pretrained(
        run.model,
        run.fit,
        run.pretrain,
        run.data,
        maps_of(run.data),
        folder / "pretrained.pt",
        lambda e: report(f"simulated people, epoch {e.number}: {e.error:.3f}"),
    )


def _fit_to(leg: Leg, train: Clips, seed: int, _: Clips, test: Clips) -> F64:
    return leg.alone(train, test, seed)


def _kept(
    path: Path, clips: Clips, out: tuple[str, list[int]], fit: Fit, report: Report
) -> LeftOut:
    """Estimates of what is left out, from ``path`` or by a fit that is kept there."""
    name, group = out
    if path.exists():
        return LeftOut(name, np.flatnonzero(np.isin(clips.clip, group)), np.load(path))
    report(path.stem.replace("_", " "))
    (found,) = leave_out(clips, [out], fit)
    fresh = path.with_suffix(".new.npy")
    np.save(fresh, found.values)
    fresh.replace(path)
    return found


def _plain(scores: Sequence[Score]) -> dict[str, dict[str, float | None]]:
    """By output: RMSE in its unit, and R2 where the truth moves."""
    return {s.output: {"rmse": s.rmse, "r2": None if np.isnan(s.r2) else s.r2} for s in scores}
