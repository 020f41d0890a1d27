"""How far a network with fewer bits may be off, in each output's own unit, and how far it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export.streams import Network, Played, Stream, play
from models.spec import ModelSpec

PART_OF_ERROR = 0.1  # DEFAULT: of what the model is off anyway; adds half a per cent to it
PART_OF_RANGE = 0.005  # DEFAULT, where that is not known
PART_OF_SD = 0.05  # DEFAULT: of the largest SD that is no fault
MAPS = 0.01  # DEFAULT: RMS of a probability


class BudgetError(ValueError):
    """A budget that cannot be read or kept; the message says what to do."""


@dataclass(frozen=True)
class Off:
    """How far one output is off: over all steps, in its unit."""

    output: str
    unit: str
    rms: float
    p99: float
    worst: float
    r2_loss: (
        float  # of R2 against the truth, where there is one; else 1 - R2 against full precision
    )


Budget = dict[str, float]  # RMS by output


def parse_budget(text: str, spec: ModelSpec) -> Budget:
    """``angle_deg=0.5,torque=1``: RMS that fewer bits may add, by output, with or without its unit.

    Raises BudgetError.
    """
    names = {o.name: o.name for o in spec.outputs} | {m: m for m in spec.map_names}
    names |= {f"{o.name}_{_plain_unit(o.unit)}": o.name for o in spec.outputs}
    names |= {name(o.name): name(o.name) for o in spec.outputs for name in (sd_name, ahead_name)}
    budget: Budget = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, number = part.partition("=")
        try:
            most = float(number)
        except ValueError:
            most = float("nan")
        if name.strip() not in names or not 0 < most < float("inf"):
            raise BudgetError(
                f"budget {part!r}: write OUTPUT=NUMBER with an output of {sorted(names)}"
            )
        budget[names[name.strip()]] = most
    return budget


def default_budget(spec: ModelSpec, rmse: dict[str, float]) -> Budget:
    """A tenth of what the model is off anyway (``rmse`` by output), else of its range."""
    budget = dict.fromkeys(spec.map_names, MAPS)
    for o in spec.outputs:
        span = o.max - o.min
        known = rmse.get(o.name, float("nan"))
        if np.isfinite(known) and known > 0:
            budget[o.name] = PART_OF_ERROR * known
        elif np.isfinite(span):
            budget[o.name] = PART_OF_RANGE * span
        else:
            raise BudgetError(f"{o.name} has no range: give --budget {o.name}=NUMBER")
        if spec.sd and np.isfinite(o.max_sd):
            budget[sd_name(o.name)] = PART_OF_SD * o.max_sd
        if spec.ahead:
            budget[ahead_name(o.name)] = budget[o.name]
    return budget


def sd_name(output: str) -> str:
    """What the SD of an output is called in a budget."""
    return f"{output}_sd"


def ahead_name(output: str) -> str:
    """What an output's values to come are called."""
    return f"{output}_ahead"


def off(
    spec: ModelSpec, streams: Sequence[Stream], full: Sequence[Played], other: Sequence[Played]
) -> list[Off]:
    """Of every output, its SD and its values to come, and of every map; over all streams together.

    A NaN counts as infinitely far off.
    """
    found = []
    for k, o in enumerate(spec.outputs):
        a, b = (np.concatenate([p.values[:, k] for p in ps]).astype(np.float64)
                for ps in (full, other))  # fmt: skip
        truth = np.concatenate(
            [np.full(len(s), np.nan) if s.truth is None else s.truth[:, k] for s in streams]
        )
        found.append(_off(o.name, o.unit, a, b, truth))
    for k, o in enumerate(spec.outputs):
        for side, name in (("sd", sd_name(o.name)), ("ahead", ahead_name(o.name))):
            one, two = _column(full, side, k), _column(other, side, k)
            if side == "sd":  # how far beyond its limit a doubt is makes no difference: FAULT
                one, two = np.minimum(one, o.max_sd), np.minimum(two, o.max_sd)
            if len(one):
                found.append(_off(name, o.unit, one, two, np.full_like(one, np.nan)))
    for k, name in enumerate(spec.map_names):
        a, b = (np.concatenate([p.maps[:, k].ravel() for p in ps if p.maps is not None])
                .astype(np.float64) for ps in (full, other))  # fmt: skip
        found.append(_off(name, "", a, b, np.full_like(a, np.nan)))
    return found


def _column(played: Sequence[Played], side: str, k: int) -> np.ndarray:
    """Of an output, what is beside its values: ``(n,)``; empty where there is no such side."""
    parts = [x[..., k].ravel() for p in played if (x := getattr(p, side)) is not None]
    return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)


def measure(
    network: Network, spec: ModelSpec, streams: Sequence[Stream], full: Sequence[Played]
) -> list[Off]:
    """Play the streams and compare with what full precision made of them."""
    return off(spec, streams, full, [play(network, spec, s) for s in streams])


def worst_share(found: Sequence[Off], budget: Budget) -> float:
    """The largest RMS over its budget: 1 or less is kept."""
    shares = [o.rms / budget[o.output] for o in found if o.output in budget]
    return float(np.max([0.0, *shares]))  # unlike max(), lets NaN through


def _off(name: str, unit: str, a: np.ndarray, b: np.ndarray, truth: np.ndarray) -> Off:
    finite = np.isfinite(a)  # full precision's own NaN: nothing to compare with
    a, b, truth = a[finite], b[finite], truth[finite]
    away = np.abs(np.where(np.isfinite(b), b - a, np.inf))
    if not len(away):
        inf = float("inf")  # nothing can be said for it
        return Off(name, unit, inf, inf, inf, float("nan"))
    known = np.isfinite(truth)
    if known.any():
        spread = float(np.var(truth[known]))
        loss = float(np.mean((b - truth)[known] ** 2) - np.mean((a - truth)[known] ** 2))
    else:
        spread, loss = float(np.var(a)), float(np.mean(away**2))
    rms, p99 = float(np.sqrt(np.mean(away**2))), float(np.quantile(away, 0.99, method="higher"))
    return Off(name, unit, rms, p99, float(away.max()), loss / spread if spread else float("nan"))


def _plain_unit(unit: str) -> str:
    """As it stands in names: ``N m`` is ``nm``, ``%`` is ``pct``."""
    return unit.lower().replace(" ", "").replace("%", "pct").replace("/", "_per_")
