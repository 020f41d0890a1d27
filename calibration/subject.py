"""The map of one wearer: an affine step after the network, from a two-minute routine.

People differ from those a network was trained on by anatomy and by where the probe sits; most of
that is an offset and a gain per output.  Both are shrunk towards "nothing to change" as far as
other people's data say (``calibration.prior``); what would have to reach too far is refused.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calibration.phases import CalibrationError
from calibration.prior import GAINS, Prior, affine
from calibration.ridge import LEAST_SPAN, Moments, mean_square, moments, solve, surprise, weights
from calibration.routine import Routine, check

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FORMAT = 1
FILE = "subject.json"  # in a personalised bundle's folder
MOST_SHIFT = 2.0  # scales: an offset beyond this is no difference between people
LEAST_MOTION = 0.1  # of the references' spread: estimates that move less stand still


@dataclass(frozen=True)
class Quality:
    """How the routine went, for one output; errors in its unit, every phase counts the same."""

    fitted: Literal["gain and offset", "offset", "nothing"]
    seconds: float  # of pictures with a reference
    span: float  # of the references
    correlation: float | None  # of estimates and references; None where those stand still
    rmse_before: float | None
    rmse_after: float | None


@dataclass(frozen=True)
class SubjectMap:
    """value = gain * value + offset, sd = sd_gain * sd; one number per output of ``model``."""

    wearer: str  # a code, never a name
    model: str  # id of the bundle it belongs to
    date: str  # ISO 8601
    outputs: tuple[str, ...]
    gain: tuple[float, ...]
    offset: tuple[float, ...]
    sd_gain: tuple[float, ...]
    quality: tuple[Quality, ...]

    def apply(self, values: F32, sd: F32 | None) -> tuple[F32, F32 | None]:
        """Personalised copies of ``(..., outputs)`` float32 values and SDs; as the bundle does."""
        gain, offset, sd_gain = self.float32()
        return values * gain + offset, None if sd is None else sd * sd_gain

    def float32(self) -> tuple[F32, F32, F32]:
        """Gain, offset and factor on the SD ``(outputs,)`` as the device computes with them."""
        gain, offset, sd_gain = (
            np.array(x, np.float32) for x in (self.gain, self.offset, self.sd_gain)
        )
        return gain, offset, sd_gain

    def to_json(self) -> str:
        """The map, and the SHA-256 of it."""
        body = dataclasses.asdict(self)
        return json.dumps({"format": FORMAT, "map": body, "sha256": _digest(body)}, indent=1)

    @staticmethod
    def from_json(text: str) -> "SubjectMap":
        """Raises CalibrationError for what ``to_json`` did not write, to the last digit."""
        try:
            raw: dict[str, Any] = json.loads(text)
            if raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']}, this version reads {FORMAT}")
            body = raw["map"]
            if raw["sha256"] != _digest(body):
                raise ValueError("it was changed after it was written")
            lists = {k: tuple(v) for k, v in body.items() if isinstance(v, list)}
            lists["quality"] = tuple(Quality(**q) for q in body["quality"])
            return SubjectMap(**(body | lists))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise CalibrationError(f"not a map of a wearer ({e}): personalise again") from e

    def save(self, path: Path) -> None:
        """Write the JSON file."""
        path.write_text(self.to_json() + "\n", encoding="utf-8")

    @staticmethod
    def load(path: Path) -> "SubjectMap":
        """Raises CalibrationError when it is not there or not whole."""
        try:
            return SubjectMap.from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as e:
            raise CalibrationError(f"cannot read {path}: {e}") from e


def identity(outputs: Sequence[str], wearer: str, model: str, date: str) -> SubjectMap:
    """The map that changes nothing."""
    k = len(outputs)
    nothing = Quality("nothing", 0.0, 0.0, None, None, None)
    ones = (1.0,) * k
    return SubjectMap(wearer, model, date, tuple(outputs), ones, (0.0,) * k, ones, (nothing,) * k)


def fit(r: Routine, prior: Prior, wearer: str, model: str, date: str) -> SubjectMap:
    """The map of a wearer from one routine.  Raises CalibrationError, which names the remedy.

    Ridge regression per output (``calibration.ridge``); the gain is only fitted where the
    references move.  ``sd_gain`` follows the gain, grows where the errors left over are larger than
    the network's SD says, and has ``prior.doubt`` as a factor.
    """
    if not wearer:
        raise CalibrationError("whose map is it? give a code for the wearer")
    check(r)
    if r.estimates.shape[1] != len(prior.outputs):
        raise CalibrationError(
            f"the model gives {r.estimates.shape[1]} values, its prior knows {prior.outputs}"
        )
    found = [_fit_one(r, prior, k) for k in range(len(prior.outputs))]
    gain, offset, quality = zip(*found, strict=True)
    sd_gain = tuple(g * surprise(r, k, g, offset[k]) * prior.doubt[k] for k, g in enumerate(gain))
    return SubjectMap(wearer, model, date, prior.outputs, gain, offset, sd_gain, quality)


def _fit_one(r: Routine, prior: Prior, k: int) -> tuple[float, float, Quality]:
    centre, scale = prior.centre[k], prior.scale[k]
    m = moments(r, k, centre, scale)
    if m is None:
        return 1.0, 0.0, Quality("nothing", 0.0, 0.0, None, None, None)
    moves = m.span >= LEAST_SPAN * scale
    correlation = _correlation(r, prior, k) if moves else None
    b0, b1 = solve(m, prior.offset_s[k], prior.gain_s[k] if moves else math.inf)
    gain, offset = affine((b0, b1), centre, scale)
    _guard(prior, k, b0, gain)
    quality = Quality(
        "gain and offset" if moves else "offset",
        m.seconds,
        m.span,
        correlation,
        _rmse(m, scale, 0.0, 0.0),
        _rmse(m, scale, b0, b1),
    )
    return gain, offset, quality


def _rmse(m: Moments, scale: float, b0: float, b1: float) -> float:
    return scale * math.sqrt(mean_square(m, b0, b1))


def _correlation(r: Routine, prior: Prior, k: int) -> float:
    """Of estimates and references that move.  Raises CalibrationError where it is hopeless."""
    name = prior.outputs[k]
    w = weights(r, np.isfinite(r.references[:, k]))
    rows = w > 0
    x, y = r.estimates[rows, k], r.references[rows, k]
    (xx, xy), (_, yy) = np.cov(x, y, aweights=w[rows], ddof=0)
    if xx < (LEAST_MOTION**2) * yy:
        raise CalibrationError(
            f"{name}: the estimates stand still while the wearer moves: check that the probe lies "
            "on the muscle and is not frozen"
        )
    correlation = float(xy / math.sqrt(xx * yy))
    if correlation <= 0:
        raise CalibrationError(
            f"{name}: the estimates move against what is known (correlation {correlation:.2f}): "
            "check that the probe is not turned round, and the signs and times of the references"
        )
    return correlation


def _guard(prior: Prior, k: int, b0: float, gain: float) -> None:
    name, (low, high) = prior.outputs[k], GAINS
    if not low <= gain <= high:
        raise CalibrationError(
            f"{name} would need a gain of {gain:.2f}, people differ by {low:g} to {high:g}: check "
            "the probe's place and depth, and the times and units of the references"
        )
    if not abs(b0) <= MOST_SHIFT:
        raise CalibrationError(
            f"{name} would be shifted by {b0 * prior.scale[k]:.3g}: check the probe's place, and "
            "the zero and units of the references"
        )


def _digest(body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
