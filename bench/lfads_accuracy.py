"""How much of activation each method finds: known activation of beds, movement of people."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench.lfads_stored import BEDS, REAL, SEEDS, SHORT, Unit, fit, stored
from bench.part import Part, number
from models.streaming import LAGS
from training.emg_baselines import LOW_PASS_HZ

SETS = tuple(REAL)
SAME = 0.02  # R2 that another machine's rounding may change a short fit by
LOW_PASSES = tuple(f"low-pass {hz:g} Hz" for hz in LOW_PASS_HZ)
CAUSAL = tuple(f"causal {name}" for name in LOW_PASSES)
TWINS = tuple(f"twin {2 * lag} ms" for lag in LAGS)
WINDOWS = tuple(f"window {2 * lag} ms" for lag in LAGS)
LISTED = ("lfads", *LOW_PASSES, "bayes", "synergies", *CAUSAL, *TWINS)

Row = dict[str, Any]


def truth_part() -> Part:
    """R2 of known activation by method: mean and spread over seeds."""
    wrong = _wrong(Unit(name, str(s)) for name in BEDS for s in SEEDS)
    by_bed = bed_rows()
    if not all(by_bed.values()):
        return Part("known activation", (), [], {}, wrong)
    rows = []
    for method in (*LISTED, *WINDOWS):
        cells = [_spread([row[method] for row in by_bed[name]]) for name in BEDS]
        rows.append((_title(method), *cells))
    best = {name: [max(row[m] for m in LOW_PASSES) for row in by_bed[name]] for name in BEDS}
    rows.append(("the best low-pass of each bed", *(_spread(best[name]) for name in BEDS)))

    def mean(of: Callable[[Row], float]) -> float:
        return statistics.fmean(statistics.fmean(map(of, by_bed[name])) for name in BEDS)

    def share(method: str) -> float:
        return mean(lambda row: row[method] / row["lfads"])

    beyond = {name: [row["lfads"] - _best_baseline(row) for row in by_bed[name]] for name in BEDS}
    numbers = {
        "truth_r2": {
            "lfads": mean(lambda row: row["lfads"]),
            "lowpass_best": mean(lambda row: max(row[m] for m in LOW_PASSES)),
            "bayes": mean(lambda row: row["bayes"]),
            "synergies": mean(lambda row: row["synergies"]),
            "twin_20ms": mean(lambda row: row["twin 20 ms"]),
        },
        "truth_r2_by_bed": {
            name: {m: statistics.fmean(row[m] for row in by_bed[name]) for m in LISTED}
            for name in BEDS
        },
        "truth_above_best_baseline": {
            name: {"mean": statistics.fmean(v), "sd": _sd(v)} for name, v in beyond.items()
        },
        "truth_share_of_smoother": {m: share(m) for m in (*TWINS, *WINDOWS)},
    }
    title = f"known activation, SIMULATED: R2, mean and SD of {len(SEEDS)} seeds, unseen quarter"
    return Part(title, tuple(name.removeprefix("bed:") for name in BEDS), rows, numbers, wrong)


def real_part() -> Part:
    """R2 of what is decoded, by method and set: mean over people, recordings and targets."""
    units = {name: [Unit(name, who) for who in people] for name, people in REAL.items()}
    wrong = _wrong(u for some in units.values() for u in some)
    by_person = {name: [r for u in some if (r := _rows(u))] for name, some in units.items()}
    if not all(by_person.values()):
        return Part("real EMG", (), [], {}, wrong)
    means = {
        name: {m: [statistics.fmean(r[m] for r in rows) for rows in people] for m in LISTED}
        for name, people in by_person.items()
    }
    hindsight = {
        name: [statistics.fmean(max(r[m] for m in LOW_PASSES) for r in rows) for rows in people]
        for name, people in by_person.items()
    }
    rows = [(_title(m), *(_spread(means[name][m]) for name in SETS)) for m in LISTED]
    rows.append(("the best low-pass of each target", *(_spread(hindsight[n]) for n in SETS)))
    over_sets = {m: statistics.fmean(statistics.fmean(means[n][m]) for n in SETS) for m in LISTED}
    numbers = {
        "real_r2": {
            "lfads": over_sets["lfads"],
            "lowpass_fixed_best": max(over_sets[m] for m in LOW_PASSES),
            "lowpass_hindsight": statistics.fmean(statistics.fmean(v) for v in hindsight.values()),
            "bayes": over_sets["bayes"],
            "synergies": over_sets["synergies"],
            "twin_20ms": over_sets["twin 20 ms"],
        },
        "real_r2_by_set": {
            n: {m: statistics.fmean(means[n][m]) for m in LISTED}
            | {"lowpass_hindsight": statistics.fmean(hindsight[n])}
            for n in SETS
        },
        "real_share_of_smoother": {m: over_sets[m] / over_sets["lfads"] for m in TWINS},
    }
    title = "real EMG: R2 of ridge, ten folds; mean of people (SD)"
    return Part(title, SETS, rows, numbers, wrong)


def again_part() -> Part:
    """A short bed, fitted again and compared with what is kept of it."""
    before, wrong = stored(SHORT)
    now = fit(SHORT)["rows"][0]
    rows, worst = [], 0.0
    for method in ("lfads", "twin 20 ms", "bayes", "low-pass 10 Hz"):
        then = before["rows"][0][method] if before else float("nan")
        worst = max(worst, abs(now[method] - then))
        rows.append((_title(method), number(now[method], 4), number(then, 4)))
    if before and worst > SAME:
        wrong = (*wrong, f"{SHORT.file.name}: fitted again, R2 differs by {worst:.3f}")
    return Part("a short bed fitted again", ("now", "kept"), rows, {"again_r2_off": worst}, wrong)


def bed_rows() -> dict[str, list[Row]]:
    """R2 by method of every bed that is kept, a row a seed."""
    return {name: [r for s in SEEDS for r in _rows(Unit(name, str(s)))] for name in BEDS}


def _rows(unit: Unit) -> list[Row]:
    found, _ = stored(unit)
    return list(found["rows"]) if found else []


def _wrong(units: Iterable[Unit]) -> tuple[str, ...]:
    return tuple(text for u in units for text in stored(u)[1])


def _best_baseline(row: Row) -> float:
    return max(float(row[m]) for m in (*LOW_PASSES, "bayes", "synergies"))


def _spread(values: Sequence[float]) -> str:
    sd = f" ({_sd(values):.3f})" if len(values) > 1 else ""
    return number(statistics.fmean(values), 3) + sd


def _sd(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else float("nan")


def _title(method: str) -> str:
    """A method's name, and in time or in hindsight."""
    if method == "lfads":
        return "LFADS, in hindsight"
    kind, _, rest = method.partition(" ")
    return {
        "twin": f"causal twin, {rest} late",
        "window": f"LFADS over the last window, {rest} late",
    }.get(kind, method)
