"""Values of later ticks, from models that look ahead: sent when a tick has none of its own."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.estimate import Estimator

F32 = NDArray[np.float32]


class Carry:
    """``look``, once a tick, gives the values of all models one, two, ... ticks from now.

    Only as far as every model looks: a state that is half foreseen and half held would say neither.
    """

    def __init__(self, estimators: Sequence[Estimator], period_ms: float):
        self._estimators = estimators
        reach = [e.spec.ahead_ms[-1] if e.spec.ahead_ms else 0.0 for e in estimators]
        self.ticks = int(min(reach, default=0.0) / period_ms + 1e-9)
        self._since = [0] * len(estimators)  # ticks since each had new values
        at_ms = period_ms * np.arange(1, self.ticks + 1)
        # Rows of (values, ahead) are at 0 and ahead_ms; between them a straight line.
        self._weights = [
            np.stack([np.interp(at_ms, (0.0, *e.spec.ahead_ms), row) for row in _rows(e)], axis=1)
            for e in estimators
            if self.ticks
        ]
        self._low, self._high = (
            np.array([getattr(o, side) for e in estimators for o in e.spec.outputs], np.float32)
            for side in ("min", "max")
        )

    def look(self, stepped: Sequence[bool]) -> F32 | None:
        """``(ticks, values of all models)`` float32, a copy; None where some model does not look
        ahead, or not far enough from its last data.

        ``stepped``: which models had new values in this tick.  NaN in rows that are not plausible.
        """
        if not self.ticks:
            return None
        since = [0 if new else n + 1 for new, n in zip(stepped, self._since, strict=True)]
        self._since = since
        left = self.ticks - max(since)
        if left <= 0:
            return None
        parts = [
            w[n : n + left] @ np.concatenate([e.values[None], e.ahead])
            for w, e, n in zip(self._weights, self._estimators, since, strict=True)
            if e.ahead is not None
        ]
        rows = np.concatenate(parts, axis=1).astype(np.float32)
        rows[~((rows >= self._low) & (rows <= self._high)).all(1)] = np.nan
        return rows


def _rows(e: Estimator) -> NDArray[np.float64]:
    return np.eye(1 + len(e.spec.ahead_ms))


def foreseen(ahead: F32 | None, behind: int) -> F32 | None:
    """What a result says of ``behind`` ticks later, or the last that it says of before.

    Never older than that: the stream must not step back.  None where nothing plausible was seen.
    """
    if ahead is None or behind < 1:
        return None
    known = np.flatnonzero(~np.isnan(ahead[:behind, 0]))
    return ahead[known[-1]] if len(known) else None
