"""The elbow's muscles on the device: from trainings with trials left out to a bundle."""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edge.bundle import MODEL, Bundle
from export.bundle import write_bundle
from export.onnx import export_onnx, input_names, output_names
from firmware_bridge.types import Output
from models.elbow import MUSCLES
from models.nmm_doubt import Doubt, Seen, seen
from models.nmm_step import SPOKEN, NmmStep
from models.spec import Input, ModelSpec, State
from training.card import Facts, card
from training.causal_trials import causal_trial
from training.evaluate import METRICS, metrics_json
from training.metrics import Score, scores
from training.nmm_asked import Asked, device_step
from training.nmm_folds import Outcome
from training.virtual_arm import Trial
from training.virtual_measure import Measured, measure

OUTPUTS = (*(f"{name}_activation" for name in SPOKEN), "elbow_torque")
LEAST_PER_KG = 0.5  # DEFAULT, of the base SD: no untrained load is trusted like a trained one
USEFUL = 0.25  # DEFAULT, of the greatest value there was: with a larger SD an output says little
LEAST_USEFUL_PCT = 5.0  # DEFAULT: of a muscle that hardly works, so much doubt still is useful
ANGLES_DEG = (-5.0, 135.0)  # the joint's range, and what an encoder may be off
BEYOND_KG = 1.0  # the largest load in training
LENGTHENING = 1.5  # DEFAULT: muscles resist with so many times what they hold
REFERENCE, REFERENCE_S = "reference.npz", 6.0
EXAMPLES = 8
LEAST_R2 = 0.5  # DEFAULT: an output that explains less is named in the card


def write_elbow(
    folder: Path, name: str, outcomes: Sequence[Outcome], trials: Sequence[Trial], facts: Facts
) -> Bundle:
    """Export the network of the last outcome, with the doubt that the others measured.

    ``reference.npz`` in the bundle holds an angle and a load, and what PyTorch says of them.
    Raises ExportError.
    """
    measured = [measure(t) for t in trials]
    asked = [a for o in outcomes for a in o.asked]
    doubt = Doubt(*sds(asked), where_of(measured))
    step = device_step(outcomes[-1].fitted, trials[0].person, doubt)
    spec = spec_of(name, step, trials)
    middle = measured[len(measured) // 2]
    steps = list(_steps(step, spec, middle, round(REFERENCE_S * step.rate_hz)))
    chosen = steps[:: max(1, len(steps) // EXAMPLES)]
    examples = [{n: given[n] for n in input_names(spec)} for given in chosen]
    export_onnx(step, spec, examples, folder / MODEL)
    told = replace(facts, split=f"{facts.split} {calibration(outcomes, where_of(measured))}")
    tables = _scores(asked, "said"), _scores(asked, "linear")
    told = replace(told, limits=f"{told.limits} {weak(*tables)}".strip())
    extra: dict[str, str | bytes] = {
        METRICS: metrics_json(*tables),
        REFERENCE: _reference(steps, step.rate_hz),
    }
    return write_bundle(folder, spec, card(told, spec, *tables), extra)


def sds(asked: Sequence[Asked]) -> tuple[Tensor, Tensor]:
    """Base SD ``(loads, outputs)`` of held-out trials at each trained load, ascending; SD per kg
    ``(outputs,)``: the most that any load cost beyond, in squares, when it was left out.
    """
    near, far = ([a for a in asked if bool(a.away_kg) == away] for away in (False, True))
    loads = sorted({a.load_kg for a in near})
    base = np.stack([_rms([a for a in near if a.load_kg == kg]) for kg in loads])
    slopes = [LEAST_PER_KG * base.max(0)]
    for kg in sorted({a.load_kg for a in far}):
        left = [a for a in far if a.load_kg == kg]
        here = [np.interp(kg, loads, column) for column in base.T]
        extra = np.sqrt(np.maximum(_rms(left) ** 2 - np.square(here), 0))
        slopes.append(extra / left[0].away_kg)
    return torch.tensor(base).float(), torch.tensor(np.max(slopes, axis=0)).float()


def where_of(measured: Sequence[Measured]) -> Seen:
    """Where training was; ``measured`` is all of it."""
    features = np.concatenate([causal_trial(m).features for m in measured])
    return seen(torch.tensor(features), sorted({m.load_kg for m in measured}))


def _rms(asked: Sequence[Asked]) -> np.ndarray:
    found: np.ndarray = np.sqrt(np.mean(np.concatenate([a.off for a in asked]) ** 2, axis=0))
    return found


def spec_of(name: str, step: NmmStep, trials: Sequence[Trial]) -> ModelSpec:
    """The contract; ``trials``, of one person, say how much of what is usual."""
    top_pct = 100 * np.max([t.activation.max(0) for t in trials], axis=0)
    useful = [max(USEFUL * top_pct[MUSCLES.index(m)], LEAST_USEFUL_PCT) for m in SPOKEN]
    useful_nm = USEFUL * max(float(np.abs(t.moment_nm).max()) for t in trials)
    extends, flexes = (LENGTHENING * nm for nm in step.strength_nm())
    most_kg = max(t.load_kg for t in trials) + BEYOND_KG
    period_ms = 1000 / step.rate_hz
    return ModelSpec(
        name,
        (
            Input("angle", (1, 1), "angle", min=ANGLES_DEG[0], max=ANGLES_DEG[1]),
            Input("load", (1, 1), "load", min=0.0, max=most_kg),
        ),
        (
            *(
                Output(o, "%", 0.0, 100.0, round(s, 1))
                for o, s in zip(OUTPUTS, useful, strict=False)
            ),
            Output(OUTPUTS[-1], "N m", math.floor(extends), math.ceil(flexes), round(useful_nm, 1)),
        ),
        period_ms=period_ms,
        sd="sd",
        states=tuple(
            State(field, f"{field}_next", tuple(at.shape))
            for field, at in step.start()._asdict().items()
        ),
        wearer="",  # nobody has a simulated person's arm
        settle_ms=period_ms * step.settle_steps,
    )


def calibration(outcomes: Sequence[Outcome], where: Seen) -> str:
    """How often an SD kept its word on trials that it was not made from, for the card.

    Held-out trials are judged by the SD of the others; a left-out load by that of the other loads.
    """
    asked = [a for o in outcomes for a in o.asked]
    z: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for o in outcomes:
        for load_kg in sorted({a.load_kg for a in o.asked}):
            here = [a for a in o.asked if a.load_kg == load_kg]
            away_kg = here[0].away_kg
            if away_kg:
                known = [a for a in asked if a.load_kg != load_kg]
            else:
                known = [a for a in asked if not any(a is h for h in o.asked)]
            base, per_kg = sds(known)
            loads = sorted({a.load_kg for a in known if not a.away_kg})
            there = where._replace(loads_kg=torch.tensor(loads, dtype=torch.float32))
            sd = torch.hypot(
                Doubt(base, per_kg, there).base_at(torch.tensor(load_kg)), per_kg * away_kg
            )
            z[bool(away_kg)] += [a.off / sd.numpy() for a in here]
    shares = []
    for away, what in ((False, "held-out trials"), (True, "left-out loads")):
        one, two = (100 * np.mean(np.abs(np.concatenate(z[away])) <= k) for k in (1, 2))
        shares.append(f"{one:.0f} % within one SD and {two:.0f} % within two on {what}")
    base, per_kg = sds(asked)
    at = "; ".join(
        f"{kg:g} kg: {_listed(row)}" for kg, row in zip(where.loads_kg, base, strict=True)
    )
    return (
        f"SD in the order of the outputs: {at}; {_listed(per_kg)} more per kilogram "
        f"away from these loads (as squares add; no less than {LEAST_PER_KG:g} of the largest), "
        "wider where angle, speed or acceleration are outside of what training saw. Judged by the "
        "SD that the other trials, or the other loads, give, of the errors lie "
        f"{', and '.join(shares)} (normal: 68 %, 95 %)."
    )


def weak(said: Sequence[Score], linear: Sequence[Score]) -> str:
    """What the network does not know better than a linear map, or hardly at all, for the card."""
    lines = {(s.group, s.output): s for s in linear}
    every = [s for s in said if s.group == "all"]
    no_better = [s.output for s in every if s.rmse >= lines[s.group, s.output].rmse]
    hardly = [s.output for s in every if not s.r2 >= LEAST_R2]  # nor NaN
    told = f"A linear map does as well on: {', '.join(no_better)}." if no_better else ""
    more = (
        f"Hardly anything is known (R2 < {LEAST_R2:g}) of: {', '.join(hardly)}." if hardly else ""
    )
    return f"{told} {more}".strip()


def _listed(x: Tensor) -> str:
    return ", ".join(f"{v:.2g}" for v in x.tolist())


def _scores(asked: Sequence[Asked], who: str) -> list[Score]:
    """Of trials held out by their load, then of loads held out."""
    found = []
    for away, every, each in (
        (False, "all", "{:g} kg"),
        (True, "load left out", "{:g} kg left out"),
    ):
        parts = [a for a in asked if bool(a.away_kg) == away]
        names = [each.format(a.load_kg) for a in parts for _ in a.truth]
        said, truth = (np.concatenate([getattr(a, k) for a in parts]) for k in (who, "truth"))
        table = scores(OUTPUTS, names, said, truth)
        found += [replace(s, group=every) if s.group == "all" else s for s in table]
    # As the file keeps them: the card must not round what the file rounded otherwise.
    return [replace(s, rmse=round(s.rmse, 4), r2=round(s.r2, 4)) for s in found]


@torch.inference_mode()
def _steps(step: NmmStep, spec: ModelSpec, m: Measured, n: int) -> Iterator[dict[str, np.ndarray]]:
    """Everything that goes in and comes out, by name, of the first ``n`` steps of a trial."""
    states: Sequence[Tensor] = step.start()
    load = torch.full((1, 1), m.load_kg)
    for angle_rad in m.raw_angle_rad[:n]:
        given = (torch.full((1, 1), math.degrees(angle_rad)), load, *states)
        said = step(*given)
        states = said[2:]
        names = (*input_names(spec), *output_names(spec))
        yield {k: x.numpy() for k, x in zip(names, (*given, *said), strict=True)}


def _reference(steps: Sequence[dict[str, np.ndarray]], rate_hz: float) -> bytes:
    """``angle`` (n,) deg, ``load`` kg, ``values`` and ``sd`` (n, 7): also for ``--encoder``."""
    rows = {k: np.concatenate([s[k] for s in steps]) for k in ("angle", "load", "values", "sd")}
    rows["angle"], rows["load"] = rows["angle"][:, 0], rows["load"][:, 0]
    file = io.BytesIO()
    np.savez_compressed(file, rate_hz=rate_hz, **rows)  # type: ignore[arg-type]
    return file.getvalue()
