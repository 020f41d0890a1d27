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
from models.nmm_doubt import Doubt, seen
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


def write_elbow(
    folder: Path, name: str, outcomes: Sequence[Outcome], trials: Sequence[Trial], facts: Facts
) -> Bundle:
    """Export the network of the last outcome, with the doubt that the others measured.

    ``reference.npz`` in the bundle holds an angle and a load, and what PyTorch says of them.
    Raises ExportError.
    """
    measured = [measure(t) for t in trials]
    step = device_step(outcomes[-1].fitted, trials[0].person, doubt_of(outcomes, measured))
    spec = spec_of(name, step, trials)
    middle = measured[len(measured) // 2]
    steps = list(_steps(step, spec, middle, round(REFERENCE_S * step.rate_hz)))
    chosen = steps[:: max(1, len(steps) // EXAMPLES)]
    examples = [{n: given[n] for n in input_names(spec)} for given in chosen]
    export_onnx(step, spec, examples, folder / MODEL)
    asked = [a for o in outcomes for a in o.asked]
    told = replace(facts, split=f"{facts.split} {calibration(step, asked)}")
    tables = _scores(asked, "said"), _scores(asked, "linear")
    extra: dict[str, str | bytes] = {
        METRICS: metrics_json(*tables),
        REFERENCE: _reference(steps, step.rate_hz),
    }
    return write_bundle(folder, spec, card(told, spec, *tables), extra)


def doubt_of(outcomes: Sequence[Outcome], measured: Sequence[Measured]) -> Doubt:
    """From held-out trials of trained loads and of left-out loads; ``measured`` is all of training.

    A kilogram away from a trained load costs what leaving a load out cost beyond leaving a trial
    out, in squares.
    """
    asked = [a for o in outcomes for a in o.asked]
    near, far = ([a for a in asked if bool(a.away_kg) == away] for away in (False, True))
    base, left = (np.sqrt(np.mean(np.concatenate([a.off for a in x]) ** 2, 0)) for x in (near, far))
    away_kg = float(np.sqrt(np.mean([a.away_kg**2 for a in far])))
    per_kg = np.sqrt(np.maximum(left**2 - base**2, 0)) / away_kg
    features = np.concatenate([causal_trial(m).features for m in measured])
    return Doubt(
        torch.tensor(base).float(),
        torch.tensor(np.maximum(per_kg, LEAST_PER_KG * base)).float(),
        seen(torch.tensor(features), sorted({m.load_kg for m in measured})),
    )


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


def calibration(step: NmmStep, asked: Sequence[Asked]) -> str:
    """How often the SD that ships would have kept its word on what was left out, for the card."""
    shares = []
    for away, what in ((False, "held-out trials"), (True, "left-out loads")):
        parts = [a for a in asked if bool(a.away_kg) == away]
        z = np.concatenate([a.off / _sd(step.doubt, a.away_kg) for a in parts])
        one, two = (100 * np.mean(np.abs(z) <= k) for k in (1, 2))
        shares.append(f"{one:.0f} % within one SD and {two:.0f} % within two on {what}")
    base, slope = (_listed(x) for x in (step.doubt.base, step.doubt.per_kg))
    return (
        f"SD in the order of the outputs: {base} near a trained load, {slope} more per kilogram "
        f"away from it (as squares add; no less than {LEAST_PER_KG:g} of the first), wider where "
        "angle, speed or acceleration are outside of "
        f"what training saw. Of the errors lie {', and '.join(shares)} (normal: 68 %, 95 %)."
    )


def _sd(doubt: Doubt, away_kg: float) -> np.ndarray:
    return torch.hypot(doubt.base, doubt.per_kg * away_kg).numpy()


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
