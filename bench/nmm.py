"""``python -m bench.nmm``: the neural musculoskeletal model, its physics and its deep muscles.

Prints a table, draws ``out/nmm_*.png`` and ends with one line of JSON; some minutes.  Physics and
speed are measured now; the studies of every simulated person and of the recorded leg are kept in
``bench/results/nmm`` and made again with ``FULL=1`` (an hour), and a short training is repeated.
"""

import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.nmm_figures import draw_deep, draw_methods
from bench.nmm_physics import physics_part, speed_part
from bench.nmm_real import recordings_part
from bench.nmm_recovery import recovery_part
from bench.nmm_stored import (
    PARTS,
    SHORT,
    Json,
    fit,
    parts,
    people,
    real_stored,
    run_all,
    stored,
)
from bench.part import Part, number, plain, print_parts
from training.datasets import DataMissing
from training.virtual_measure import measured_of
from training.virtual_people import DEEP, LOADS_KG, PEOPLE

SYNERGIES = ("nmf", "pca", "nmf_cheaper", "pca_cheaper")
FULL = os.environ.get("FULL") == "1"
SAME = 0.03  # NRMSE that another machine's rounding may change a short training by
METHODS = {  # and what each reads of the trial that it is scored on
    "nmm": "NMM: motion, load, moment of inverse dynamics",
    "nmf": "synergy extrapolation, NMF: surface EMG",
    "pca": "synergy extrapolation, PCA: surface EMG",
    "nmf_cheaper": "... NMF, activity cheaper (chosen on V6)",
    "pca_cheaper": "... PCA, activity cheaper (chosen on V6)",
    "static": "static optimisation: motion, moment",
    "copy": "copy of the neighbours: surface EMG",
}


def main() -> int:
    """Exit codes: 0 all there and repeatable, 1 something missing or not as stored, 2 no data."""
    torch.set_num_threads(1)
    try:
        if FULL:
            run_all()
        tables = [
            *(physics_part(), speed_part(), *virtual_parts(), without_part()),
            *(real_part(), recordings_part(), again_part()),
        ]
    except DataMissing as e:
        print(f"bench.nmm: {e}", file=sys.stderr)
        return 2
    print_parts(tables, "bench.nmm")
    numbers = {k: v for p in tables for k, v in p.numbers.items()}
    figures: list[Path] = []
    if "deep_nrmse" in numbers:
        figures.append(draw_methods(numbers["deep_nrmse_by"], METHODS))
        figures.append(draw_deep())
    for figure in figures:
        print(f"figure {figure}")
    wrong = [text for p in tables for text in p.wrong]
    for text in wrong:
        print(f"bench.nmm: {text}", file=sys.stderr)
    print(json.dumps(plain(numbers)))
    return 1 if wrong else 0


def virtual_parts() -> list[Part]:
    """Deep muscles, torque and parameters of the simulated people, one load held out at a time."""
    kept = [stored(u) for u in people()]
    wrong = tuple(text for _, texts in kept for text in texts)
    found = [f for f, _ in kept if f is not None]
    if len(found) < len(PEOPLE) * len(LOADS_KG):
        return [Part("deep muscles of simulated people", (), [], {}, wrong)]
    return [_deep_part(found, wrong), _torque_part(found), recovery_part(found)]


def _deep_part(found: Sequence[Json], wrong: tuple[str, ...]) -> Part:
    rows, by_method = [], {}
    for method, title in METHODS.items():
        cells = [_cell([f[method][m] for f in found]) for m in DEEP]
        by_method[method] = {
            m: statistics.fmean(f[method][m]["nrmse"] for f in found) for m in DEEP
        }
        rows.append((title, *cells))
    mean = {method: statistics.fmean(by.values()) for method, by in by_method.items()}
    best = min(mean[m] for m in SYNERGIES)
    per_load = {
        f"{kg:g} kg": {
            method: statistics.fmean(
                f[method][m]["nrmse"] for f in found for m in DEEP if f["held_kg"] == kg
            )
            for method in METHODS
        }
        for kg in LOADS_KG
    }
    rows.append(
        ("NMM over the best synergy extrapolation", number(mean["nmm"] / best, 2), "<= 0.5")
    )
    rows.append(("NMM over the copy of the neighbours", number(mean["nmm"] / mean["copy"], 2)))
    surface = [s["nrmse"] for f in found for s in f["surface"].values()]
    rows.append(("NMM, muscles with an electrode: NRMSE", number(statistics.fmean(surface), 3)))
    numbers = {
        "deep_nrmse": {"nmm": mean["nmm"], "synergy": best, "static": mean["static"],
                       "copy": mean["copy"], **{m: mean[m] for m in SYNERGIES}},
        "deep_r": {
            method: statistics.fmean(f[method][m]["r"] for f in found for m in DEEP)
            for method in METHODS
        },
        "deep_nrmse_by": by_method, "deep_nrmse_by_load": per_load,
        "nmm_over_synergy": mean["nmm"] / best, "nmm_over_copy": mean["nmm"] / mean["copy"],
        "surface_nrmse": statistics.fmean(surface),
    }  # fmt: skip
    title = (
        f"SIMULATED: {len(PEOPLE)} people, each load held out: r, NRMSE (SD over people and loads)"
    )
    return Part(title, tuple(DEEP), rows, numbers, wrong)


def _torque_part(found: Sequence[Json]) -> Part:
    rows: list[tuple[str, ...]] = []
    by_load = {}
    peak_nm = {n: max(abs(m.moment_nm).max() for m in measured_of(n)) for n in PEOPLE}
    percent = [100 * f["torque"]["rmse_nm"] / peak_nm[f["person"]] for f in found]
    for kg in LOADS_KG:
        some = [(f["torque"], p) for f, p in zip(found, percent, strict=True) if f["held_kg"] == kg]
        means = {k: statistics.fmean(t[k] for t, _ in some) for k in ("rmse_nm", "rmse_pct", "r2")}
        of_person = number(statistics.fmean(p for _, p in some), 2)
        rows.append(
            (f"{kg:g} kg held out", number(means["rmse_nm"], 3), of_person,
             number(means["rmse_pct"], 2), number(means["r2"], 3))
        )  # fmt: skip
        by_load[f"{kg:g} kg"] = means["rmse_pct"]
    seconds = statistics.median(f["seconds"] for f in found)
    rows.append((f"training of one person: {seconds:.0f} s (median)",))
    return Part(
        "torque from motion and load: RMSE",
        ("N m", "% of the person's peak", "% of that load's peak", "R2"),
        rows,
        {"torque_rmse_pct": statistics.fmean(percent), "torque_rmse_pct_of_load": by_load,
         "train_s": seconds},
    )  # fmt: skip


def without_part() -> Part:
    """What NMM's parts are worth: trained without them, on the person settings were chosen on."""
    wrong, rows, numbers = [], [], {}
    for part, title in PARTS.items():
        kept = [stored(u) for u in parts() if u.part == part]
        wrong += [text for _, texts in kept for text in texts]
        found = [f for f, _ in kept if f is not None]
        if not found:
            continue
        deep = {m: statistics.fmean(f["nmm"][m]["nrmse"] for f in found) for m in DEEP}
        torque = statistics.fmean(f["torque"]["rmse_nm"] for f in found)
        rows.append((title, *(number(x, 3) for x in deep.values()), number(torque, 3)))
        numbers[part] = {"deep_nrmse": statistics.fmean(deep.values()), "torque_rmse_nm": torque}
    title = "SIMULATED: NMM without its parts, lightest and heaviest load held out: NRMSE, torque"
    return Part(title, (*DEEP, "N m"), rows, {"without": numbers}, tuple(wrong))


def real_part() -> Part:
    """Hidden soleus of a recorded leg: first part of each recording to train, the rest to score."""
    found, wrong = real_stored()
    if found is None:
        return Part("hidden soleus", (), [], {}, wrong)
    sets = ("walk36", "run81", "together")
    rows = [
        (title, *(f"{found[m][s]['r']:.3f}, {found[m][s]['nrmse']:.3f}" for s in sets))
        for m, title in METHODS.items()
    ]
    percent = {s: t["rmse_pct"] for s, t in found["torque"].items()}
    rows.append(("NMM's ankle moment, % of peak", *(number(percent.get(s), 1) for s in sets[:2])))
    nrmse = {m: found[m]["together"]["nrmse"] for m in METHODS}
    numbers = {
        "real_soleus_nrmse": {
            "nmm": nrmse["nmm"], "synergy": min(nrmse[m] for m in SYNERGIES),
            "static": nrmse["static"], "copy": nrmse["copy"],
        },
        "real_soleus": {m: found[m] for m in METHODS}, "real_moment_pct": percent,
    }  # fmt: skip
    return Part("hidden soleus of one person: r, NRMSE", sets, rows, numbers, wrong)


def again_part() -> Part:
    """A short training on the person that settings were chosen on, repeated and compared."""
    before, wrong = stored(SHORT)
    now = fit(SHORT)
    rows, worst = [], 0.0
    for method in METHODS:
        for m in DEEP:
            then = before[method][m]["nrmse"] if before else float("nan")
            worst = max(worst, abs(now[method][m]["nrmse"] - then))
            rows.append((f"{METHODS[method]}, {m}", number(now[method][m]["nrmse"], 4),
                         number(then, 4)))  # fmt: skip
    if before and worst > SAME:
        wrong = (*wrong, f"{SHORT.file.name}: done again, NRMSE differs by {worst:.3f}")
    title = "a short training, done again: NRMSE"
    return Part(title, ("now", "kept"), rows, {"again_nrmse_off": worst}, wrong)


def _cell(scores: Sequence[Json]) -> str:
    r = statistics.fmean(s["r"] for s in scores)
    errors = [s["nrmse"] for s in scores]
    return f"{r:.3f}, {statistics.fmean(errors):.3f} ({statistics.stdev(errors):.3f})"


if __name__ == "__main__":
    sys.exit(main())
