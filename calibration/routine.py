"""A routine as a model saw it, and what a clinic knows of the wearer meanwhile.

Only what is known is used: a resting muscle is silent and the moment at rest is nothing, a maximal
voluntary contraction (MVC) is activity 1, the ankle angle is what an encoder or a goniometer reads,
the moment is what a dynamometer reads.  Everything else stays NaN.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.phases import MVC, PASSIVE, PHASES, REST, CalibrationError, Interval
from firmware_bridge.types import Output

F64 = NDArray[np.float64]

NO_PHASE = -1
LEAST_S = {REST: 5.0, MVC: 2.0, PASSIVE: 10.0}
LEAST_FRAMES = 5  # in every phase
MOST_FLAGGED = 0.3  # of a phase
PLATEAU = 0.6  # of a push, in the middle: before and after, the muscle ramps
KINDS = {"deg": "angle", "1": "activity", "share": "activity", "N m": "moment"}


@dataclass(frozen=True)
class Routine:
    """A routine as a model saw it, frame by frame; rows in the order of ``t_s``.

    Estimates, SDs and references are float64 in the outputs' units; a reference is NaN where
    nothing is known.  ``sd`` is None for a network without.  Rows with ``flagged`` are not used.
    """

    t_s: F64  # (n,)
    phase: NDArray[np.int8]  # (n,) index into PHASES, or NO_PHASE
    estimates: F64  # (n, outputs)
    sd: F64 | None  # (n, outputs)
    references: F64  # (n, outputs)
    flagged: NDArray[np.bool_]  # (n,)

    @property
    def seconds(self) -> F64:
        """How long each row stands for ``(n,)``: until the next one, but not over a hole."""
        step = np.diff(self.t_s)
        usual = float(np.median(step)) if len(step) else 0.0
        held: F64 = np.minimum(np.append(step, usual), 3 * usual)
        return held


def check(r: Routine) -> None:
    """Raises CalibrationError where a routine is no ground for a calibration."""
    n, k = r.estimates.shape
    arrays = (r.references, *([] if r.sd is None else [r.sd]))
    if (
        any(a.shape != (n, k) for a in arrays)
        or not len(r.t_s) == len(r.phase) == len(r.flagged) == n
    ):
        raise CalibrationError("the arrays of the routine do not have the same rows and outputs")
    if not (np.diff(r.t_s) > 0).all():
        raise CalibrationError("the times of the routine do not rise: record it in one piece")
    seconds = r.seconds
    for number, phase in enumerate(PHASES):
        rows = r.phase == number
        if not rows.any():
            raise CalibrationError(f"the routine has no {phase} phase: record all of it again")
        share = float(np.mean(r.flagged[rows]))
        if share > MOST_FLAGGED:
            raise CalibrationError(
                f"{share:.0%} of the {phase} phase is flagged as unusable: check the probe's "
                "place, gel and depth, and record the routine again"
            )
        good = rows & ~r.flagged
        held = float(seconds[good].sum())
        if held < LEAST_S[phase] or good.sum() < LEAST_FRAMES:
            raise CalibrationError(
                f"the {phase} phase has {held:.1f} s of usable pictures ({good.sum()}), at least "
                f"{LEAST_S[phase]:g} s ({LEAST_FRAMES}) are needed: record the routine again"
            )
    used = ~r.flagged & (r.phase != NO_PHASE)
    for what, a in (("estimates", r.estimates), ("SDs", r.sd)):
        if a is not None and not np.isfinite(a[used]).all():
            raise CalibrationError(f"some {what} are no numbers: replay the recording")
    if np.isinf(r.references).any():
        raise CalibrationError("a reference is infinite: correct the table of phases")
    if not np.isfinite(r.references[used]).any():
        raise CalibrationError(
            "nothing is known in the routine that the model estimates: give angle_deg or moment_nm"
        )


def references(
    t_s: F64,
    intervals: Sequence[Interval],
    outputs: Sequence[Output],
    angle_deg: F64 | None = None,
    moment_nm: F64 | None = None,
    activity: tuple[float, float] = (0.0, 1.0),
) -> tuple[NDArray[np.int8], F64]:
    """Phase ``(n,)`` and what is known ``(n, outputs)`` at ``t_s``; outputs are told by unit.

    ``angle_deg`` and ``moment_nm`` ``(n,)`` are an encoder's and a dynamometer's readings, NaN
    where there is none; they come before the table's.  ``activity`` is what rest and MVC are in the
    model's unit.  Raises CalibrationError where two outputs
    have a unit in common.
    """
    kinds = [KINDS.get(o.unit, "") for o in outputs]
    if any(kinds.count(k) > 1 for k in kinds if k):
        raise CalibrationError(f"outputs {[o.name for o in outputs]}: two of them are {kinds}")
    phase = np.full(len(t_s), NO_PHASE, np.int8)
    known = {k: np.full(len(t_s), np.nan) for k in KINDS.values()}
    for i in intervals:
        rows = (t_s >= i.start_s) & (t_s <= i.end_s)
        if i.phase == MVC:
            edge_s = (1 - PLATEAU) / 2 * (i.end_s - i.start_s)
            rows &= (t_s >= i.start_s + edge_s) & (t_s <= i.end_s - edge_s)
            known["activity"][rows] = activity[1]
        if i.phase == REST:
            known["activity"][rows] = activity[0]
            known["moment"][rows] = 0.0
        phase[rows] = PHASES.index(i.phase)
        for kind, value in (("angle", i.angle_deg), ("moment", i.moment_nm)):
            if not math.isnan(value):
                known[kind][rows] = value
    for kind, reading in (("angle", angle_deg), ("moment", moment_nm)):
        if reading is not None:
            known[kind] = np.where(np.isnan(reading), known[kind], reading)
    nothing = np.full(len(t_s), np.nan)
    columns = [known.get(k, nothing) for k in kinds]
    return phase, np.stack(columns, axis=1) if columns else np.empty((len(t_s), 0))
