"""Runs a bundle over prepared recordings with the engine the device uses, and scores it."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.runtime import open_engine
from training.metrics import Score

F32 = NDArray[np.float32]
METRICS = "metrics.json"  # in the bundle, beside the card that shows the same numbers


def run_bundle(bundle: Bundle, x: F32) -> tuple[F32, F32]:
    """Values and sd ``(n, outputs)`` of consecutive inputs ``x (n, ...)``, states carried on.

    Starts from zero states.  Raises EngineError.
    """
    spec = bundle.spec
    engine = open_engine(bundle)
    tensor = engine.inputs[spec.inputs[0].name]
    values = np.empty((len(x), len(spec.outputs)), np.float32)
    sd = np.full_like(values, np.nan)
    try:
        for k, one in enumerate(x):
            tensor[...] = one
            engine.run()
            for s in spec.states:
                engine.inputs[s.input][...] = engine.outputs[s.output]
            values[k] = engine.outputs[spec.values][0]
            if spec.sd:
                sd[k] = engine.outputs[spec.sd][0]
    finally:
        engine.close()
    return values, sd


def metrics_json(network: Sequence[Score], baseline: Sequence[Score]) -> str:
    """Both lists of scores as a JSON text."""
    parts = {
        who: [{k: _plain(v) for k, v in asdict(s).items()} for s in found]
        for who, found in (("network", network), ("baseline", baseline))
    }
    return json.dumps(parts, indent=1) + "\n"


def stored_scores(bundle: Bundle, who: str = "network") -> list[Score]:
    """The scores that were measured when the bundle was made.  Raises BundleError, KeyError."""
    rows = json.loads(bundle.text(METRICS))[who]
    return [Score(**{**row, "r2": np.nan if row["r2"] is None else row["r2"]}) for row in rows]


def _plain(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value
