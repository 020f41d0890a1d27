"""What other people teach about a new wearer: how far to believe two minutes of data.

The strengths of the ridge are those with which the routines of other people, each fitted alone,
gave the smallest error on those people's own sessions (empirical choice, as by leaving people out).
``personal.json`` in a bundle carries it to the clinic.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.phases import CalibrationError
from calibration.ridge import LEAST_SPAN, Moments, mean_square, moments, products, solve, surprise
from calibration.routine import Routine
from firmware_bridge.types import Output

F64 = NDArray[np.float64]

FILE = "personal.json"  # in a bundle's folder
GAINS = (0.3, 3.0)  # beyond these the picture, the routine or the wearer is not what it should be
STRENGTHS_S = (math.inf, 3000.0, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
ENOUGH = 1.01  # of the smallest error: the strongest ridge within is taken
DEFAULT_S = (10.0, 30.0)  # offset, gain: DEFAULT where nobody was asked


@dataclass(frozen=True)
class Prior:
    """Per output, in the order of the model's outputs."""

    outputs: tuple[str, ...]
    centre: tuple[float, ...]  # usual value, in the output's unit
    scale: tuple[float, ...]  # usual spread, same unit
    offset_s: tuple[float, ...]  # strengths, see ``calibration.ridge``; inf = leave it alone
    gain_s: tuple[float, ...]
    doubt: tuple[float, ...]  # factor on the SD of personalised estimates, besides the gain
    activity: tuple[float, float] = (0.0, 1.0)  # rest and MVC, where an output is an activity
    people: int = 0  # whom it was learned from

    def __post_init__(self) -> None:
        columns = (self.centre, self.scale, self.offset_s, self.gain_s, self.doubt)
        if any(len(c) != len(self.outputs) for c in columns):
            raise CalibrationError("a prior has one number per output in every field")
        if not (
            all(map(math.isfinite, (*self.centre, *self.scale, *self.doubt, *self.activity)))
            and min((*self.scale, *self.offset_s, *self.gain_s, *self.doubt), default=1.0) > 0
        ):
            raise CalibrationError("scale, strengths and doubt of a prior are positive numbers")
        if len(self.activity) != 2:
            raise CalibrationError("activity is two numbers: at rest, and in an MVC")

    def to_json(self) -> str:
        """Pretty JSON; an infinite strength is null."""
        raw = {
            k: [None if isinstance(x, float) and math.isinf(x) else x for x in v]
            if isinstance(v, tuple) else v
            for k, v in dataclasses.asdict(self).items()
        }  # fmt: skip
        return json.dumps(raw, indent=1, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "Prior":
        """Raises CalibrationError."""
        try:
            raw = json.loads(text)
            parts: dict[str, Any] = {
                k: tuple(math.inf if x is None else x for x in v) if isinstance(v, list) else v
                for k, v in raw.items()
            }
            return Prior(**parts)
        except (ValueError, TypeError, AttributeError) as e:
            raise CalibrationError(f"{FILE} is not a prior ({e}): export the model again") from e


@dataclass(frozen=True)
class Taught:
    """Somebody whose session is known: estimates, SD and truth ``(n, outputs)`` of it.

    The network must not have seen this person either, or its errors are too small.
    """

    routine: Routine
    estimates: F64
    sd: F64 | None
    targets: F64


def default_prior(outputs: Sequence[Output]) -> Prior:
    """Where a bundle has no ``personal.json``: from the plausible ranges.  CalibrationError."""
    for o in outputs:
        if not math.isfinite(o.max - o.min):
            raise CalibrationError(
                f"the range of {o.name} is open and the bundle has no {FILE}: export it with one"
            )
    k = len(outputs)
    return Prior(
        tuple(o.name for o in outputs),
        tuple((o.min + o.max) / 2 for o in outputs),
        tuple((o.max - o.min) / 4 for o in outputs),
        (DEFAULT_S[0],) * k,
        (DEFAULT_S[1],) * k,
        (1.0,) * k,
    )


def learn(
    outputs: Sequence[str], people: Sequence[Taught], activity: tuple[float, float] = (0.0, 1.0)
) -> Prior:
    """The prior for somebody who is not among ``people``.  Raises CalibrationError for < 3.

    ``activity``: what rest and MVC are in the references of ``people``.
    """
    if len(people) < 3:
        raise CalibrationError(f"{len(people)} people teach no spread: at least 3 are needed")
    targets = np.concatenate([p.targets for p in people])
    centre, scale = targets.mean(axis=0), targets.std(axis=0)
    if not (scale > 0).all():
        raise CalibrationError("the truth of a session stands still: it teaches nothing")
    strengths, doubts = [], []
    for k in range(len(outputs)):
        found = [moments(p.routine, k, centre[k], scale[k]) for p in people]
        sessions = [
            products(x := p.estimates[:, k], p.targets[:, k], np.ones(len(x)), centre[k], scale[k])
            for p in people
        ]
        best = _strengths(found, sessions, scale[k])
        strengths.append(best)
        maps = [affine(shrunk(m, scale[k], *best), centre[k], scale[k]) for m in found]
        squares = [
            np.mean(_z(p, k, *ab) ** 2)
            for p, ab in zip(people, maps, strict=True) if p.sd is not None
        ]  # fmt: skip
        doubts.append(math.sqrt(float(np.mean(squares))) if squares else 1.0)
    return Prior(
        tuple(outputs),
        tuple(centre.tolist()),
        tuple(scale.tolist()),
        tuple(s[0] for s in strengths),
        tuple(s[1] for s in strengths),
        tuple(doubts),
        activity,
        len(people),
    )


def shrunk(m: Moments | None, scale: float, offset_s: float, gain_s: float) -> tuple[float, float]:
    """``(b0, b1)``, ``(0, 0)`` where the fit would be refused, b1 = 0 where the gain is unknown."""
    if m is None:
        return 0.0, 0.0
    b0, b1 = solve(m, offset_s, gain_s if m.span >= LEAST_SPAN * scale else math.inf)
    return (b0, b1) if GAINS[0] <= 1 + b1 <= GAINS[1] else (0.0, 0.0)


def affine(b: tuple[float, float], centre: float, scale: float) -> tuple[float, float]:
    """Gain and offset, in the output's unit, of the ridge's two numbers."""
    b0, b1 = b
    return 1 + b1, scale * b0 - b1 * centre


def _z(p: Taught, k: int, gain: float, offset: float) -> F64:
    """Errors of a person's session in the SDs that the map would claim."""
    assert p.sd is not None
    sd = p.sd[:, k] * gain * surprise(p.routine, k, gain, offset)
    return (p.targets[:, k] - gain * p.estimates[:, k] - offset) / sd


def _strengths(
    found: Sequence[Moments | None], sessions: Sequence[Moments], scale: float
) -> tuple[float, float]:
    """The strongest pair whose mean session error is within ENOUGH of the best."""
    errors = {
        pair: float(np.mean([
            mean_square(session, *shrunk(m, scale, *pair))
            for m, session in zip(found, sessions, strict=True)
        ]))
        for pair in itertools.product(STRENGTHS_S, STRENGTHS_S)
    }  # fmt: skip
    limit = ENOUGH * min(errors.values())
    return min(
        (pair for pair, e in errors.items() if e <= limit),
        key=lambda pair: sum(map(STRENGTHS_S.index, pair)),
    )
