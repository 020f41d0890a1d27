"""The simulated cohort: stored cross-validations, baselines fitted now, and a fold done again."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.cnn_methods import SHORT, Outputs, baselines, difference, margins, scored
from bench.cnn_stored import (
    CONFIGS,
    MEMBERS,
    REMEDY,
    Json,
    stored_cohort,
    stored_start,
    stored_traces,
)
from bench.part import NOTHING, Part, number
from models.state_cnn import STATE
from training.committee import combine
from training.crossval import Material, cross_validate
from training.state_config import StateRun, load_run, member_runs
from training.state_material import material

UNITS = {"ankle_angle": "deg", "emg": "share", "ankle_moment": "N m"}
PAPER = {"ankle_angle": (55, 8), "emg": (57, 11), "ankle_moment": (46, 9)}  # arXiv 1907.01649
NAMES = {
    "mean": "training mean",
    "ridge": "ridge on hand features",
    "plain": "plain CNN",
    "residual": "residual CNN",
    "looks": "fixed filters",
    "strided": "learned filters, strided",
    "ours": "ours: fixed and strided together",
}
AGAIN = 0  # the fold that is fitted again
TOLERANCE = 2.0  # points of A of one participant that the rounding of another CPU may cost
ROUNDING = 0.5  # the same for the float16 traces


def cohort_part() -> Part:
    """Accuracies of all on the people each had not seen.  Raises BundleError."""
    run = load_run(CONFIGS["ours"])
    wrong: list[str] = []
    found: dict[str, Outputs | None] = {}
    for who in CONFIGS:
        results, complaints = stored_cohort(who)
        found[who] = results["outputs"] if results else None
        wrong += complaints
    print("simulated people: generate, segment, fit the baselines", file=sys.stderr)
    # The routine and the spoilt pictures to test on change nothing that is compared here.
    m = material(replace(run.data, routine=0, probes=1))
    found.update(baselines(m.data, run.folds))
    worst, broken = _again(m, run, found["ours"])
    wrong += [*broken, *_traces_fit(found["ours"])]
    margin = margins(found["ours"], found["plain"], run.folds)
    numbers = {
        "cohort": {
            who: {SHORT[o]: of[o]["mean"]["a"] if (of := found[who]) else None for o in STATE}
            for who in NAMES
        },
        "cohort_detail": {who: _brief(found[who]) for who in NAMES},
        "cohort_ours_less_plain": margin,
        "fold_again": {"fold": AGAIN, "worst_points_of_a": worst, "tolerance": TOLERANCE},
    }
    rows = [row for output in STATE for row in _rows(output, found, margin)]
    name = f"ours, fold {AGAIN} fitted again: largest difference from the stored A"
    rows.append((name, f"{number(worst)} (limit {TOLERANCE:g})"))
    heads = ("A, %", "median A, %", "B, %", "C, %", "RMSE", "ECE")
    title = (
        f"{run.data.people} SIMULATED participants, each unseen by the network that reads them "
        f"({run.folds.count} folds), mean ± SD over participants; A = 100 (1 - SSE/SST), "
        "B = 100 (1 - RMSE/SD), C = 100 (1 - RMSE/range)"
    )
    return Part(title, heads, rows, numbers, tuple(wrong))


def _again(m: Material, run: StateRun, ours: Outputs | None) -> tuple[float | None, list[str]]:
    """Fit one fold once more: the largest difference from what is stored, and complaints."""
    if ours is None:
        return None, []
    starts = {name: stored_start(name) for name in MEMBERS}
    if missing := [name for name, start in starts.items() if start is None]:
        return None, [f"pretrained_{missing[0]}.npz is missing, no fold can be fitted: {REMEDY}"]
    print(f"simulated people: fit fold {AGAIN} again", file=sys.stderr)
    try:
        with TemporaryDirectory() as folder:
            folders = []
            for name, one in member_runs(run).items():
                how, fit = replace(one.folds, only=(AGAIN,), workers=1), one.fit
                folders.append(Path(folder) / name)
                cross_validate(m, one.model, fit, how, folders[-1], STATE, start=starts[name])
            fresh = combine(folders, Path(folder), (AGAIN,), STATE)
    except ValueError as e:  # the network is no longer the one whose weights are stored
        return None, [f"fold {AGAIN} cannot be fitted again: {e}; {REMEDY}"]
    worst = difference(fresh["outputs"], ours)
    if worst <= TOLERANCE:
        return worst, []
    return worst, [
        f"fold {AGAIN} came out {worst:.1f} points of A from the stored one, more than "
        f"{TOLERANCE:g}: what makes it has changed; {REMEDY}"
    ]


def _traces_fit(ours: Outputs | None) -> list[str]:
    """Whether the figures show what the table says."""
    traces = stored_traces()
    if traces is None:
        return [f"traces.npz is missing, there will be no figures of the cohort: {REMEDY}"]
    drawn = scored(traces["person"], traces["values"], traces["truth"])
    if ours is None or difference(drawn, ours) <= ROUNDING:
        return []
    return [f"traces.npz and cohort_ours.json are of different runs: {REMEDY}"]


def _rows(
    output: str, found: dict[str, Outputs | None], margin: dict[str, dict[str, float] | None]
) -> Iterator[tuple[str, ...]]:
    what = f"{output.replace('_', ' ')}, {UNITS[output]}"
    for who, name in NAMES.items():
        of = found[who]
        label = f"simulated, {what}: {name}{_others(who)}"
        if who == "ours":
            value, sd = PAPER[output]
            label += (
                f" [Cunningham & Loram 2019: {value} ± {sd} %, its reading (A, B or C) unknown; "
                "theirs are real people, ours simulated]"
            )
        if of is None:
            yield label, "not stored"
            continue
        one = of[output]
        cells = [f"{one['mean'][k]:.1f} ± {one['sd'][k]:.1f}" for k in "abc"]
        cells.insert(1, number(_median(one), 1))
        yield label, *cells, f"{one['rmse']:.3g}", number(one["ece"], 3)
    over = margin[SHORT[output]]
    shown = f"{over['mean']:.1f} ± {over['sd']:.1f}" if over else NOTHING
    yield f"simulated, {what}: ours less the plain CNN, mean ± SD over folds", shown


def _median(one: Json) -> float:
    """Of A over participants: one who is read badly moves the mean by many points."""
    return float(np.median([p["a"] for p in one["participants"].values()]))


def _others(who: str) -> str:
    """Whom a network met before the folds: a comparison that does not say so would flatter."""
    if who not in CONFIGS:
        return ""
    run = load_run(CONFIGS[who])
    if run.members:
        return ""
    return (
        f", {run.model.pixels} x {run.model.pixels} pixels, {run.pretrain.epochs} epochs on "
        f"{run.pretrain.people} further simulated people, {run.fit.epochs} on those of the other "
        "folds"
    )


def _brief(of: Outputs | None) -> Json | None:
    """Everything of a method but the single participants."""
    if of is None:
        return None
    return {
        SHORT[o]: {k: v for k, v in of[o].items() if k != "participants"}
        | {"median_a": _median(of[o])}
        for o in STATE
    }
