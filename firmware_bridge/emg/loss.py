"""Lost samples, seen as gaps in a board's package counter.

Only boards whose counter moves once per sample are watched.  Others (Ganglion, Explore, Galea)
repeat one number for all samples of a package, or send none; there loss shows in time alone.
A loss of whole turns of the counter (Cyton: 256 samples, 1.02 s) leaves no gap either.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Counter:
    """How a package counter moves from one sample to the next."""

    turn: int  # it wraps from turn - step to 0; 0 = never
    step: int = 1


# Facts of BrainFlow's drivers; Daisy joins two packages of the radio into one sample.
COUNTERS = {
    "ant_neuro_ee_214": Counter(0),
    "ant_neuro_ee_215": Counter(0),
    "ant_neuro_ee_223": Counter(0),
    "ant_neuro_ee_225": Counter(0),
    "ant_neuro_ee_410": Counter(0),
    "ant_neuro_ee_511": Counter(0),
    "biolistener": Counter(2**32),
    "cyton": Counter(256),
    "cyton_daisy": Counter(256, step=2),
    "cyton_wifi": Counter(256),
    "freeeeg128": Counter(256),
    "freeeeg32": Counter(256),
    "synthetic": Counter(256),
}


class LossWatch:
    """Remembers the last number of one stream."""

    def __init__(self, counter: Counter):
        self._counter = counter
        self._last = np.nan

    def lost_before(self, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many samples are missing before each of these.

        A number that is repeated, is no number, or runs backwards where it never wraps, tells
        nothing: no loss.
        """
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        moved = numbers - np.concatenate(([self._last], numbers[:-1]))
        self._last = float(numbers[-1])
        if self._counter.turn:
            moved %= self._counter.turn
        moved[np.isnan(moved)] = self._counter.step
        return np.maximum(moved // self._counter.step - 1, 0).astype(np.int64)
