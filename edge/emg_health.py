"""Is an EMG channel believable?  Missing samples, dead electrodes, saturated amplifiers."""

import math

import numpy as np
from numpy.typing import NDArray

WINDOW_S = 0.1  # dead: constant for longer than this; saturated: judged over this
SATURATED_SHARE = 0.2  # of the window at a rail; clean sines touch their extremes in 3 % of it
# A channel's own extremes count as rails only when they are far apart: at rest a coarse
# converter also repeats its few codes.
RAILS_APART_UV = 500.0


class EmgHealth:
    """Watches hops of ``(hop, channels)`` float32 microvolts and repairs missing samples in place.

    ``dead``, ``saturated`` and ``missing`` (not one good sample) are bit masks over the channels,
    of the latest hop.
    """

    def __init__(self, fs_hz: float, hop: int, channels: int, rail_uv: float = math.inf):
        self.dead = self.saturated = self.missing = 0
        self._rail_uv = rail_uv
        self._dead_hops = math.floor(WINDOW_S * fs_hz / hop) + 1
        self._bits = 1 << np.arange(channels, dtype=np.int64)
        self._last = np.zeros(channels, np.float32)  # last good value
        self._hi, self._lo = self._last.copy(), self._last.copy()
        self._top = np.full(channels, -np.inf, np.float32)  # running extremes
        self._bottom = np.full(channels, np.inf, np.float32)
        self._still = np.zeros(channels, np.int64)  # hops without any change
        self._at_rail = np.zeros((math.ceil(WINDOW_S * fs_hz / hop), channels), np.int64)
        self._sum = np.zeros(channels, np.int64)
        self._finite = np.zeros((hop, channels), bool)
        self._railed, self._other = self._finite.copy(), self._finite.copy()
        self._size = np.zeros((hop, channels), np.float32)
        self._apart = self._last.copy()
        self._moved = np.zeros(channels, bool)
        self._flag = self._moved.copy()
        self._slot = 0

    def watch(self, x: NDArray[np.float32]) -> None:
        """Replace NaN and infinity by the channel's last good value, then judge the channels."""
        np.isfinite(x, out=self._finite)
        self.missing = 0
        if not self._finite.all():
            self.missing = int(self._bits.dot(~self._finite.any(axis=0)))
            self._hold(x)
        np.max(x, axis=0, out=self._hi)
        np.min(x, axis=0, out=self._lo)
        self._watch_still()
        self._watch_rails(x)
        self._last[...] = x[-1]

    def _hold(self, x: NDArray[np.float32]) -> None:
        for i in range(len(x)):
            before = self._last if i == 0 else x[i - 1]
            np.copyto(x[i], before, where=~self._finite[i])

    def _watch_still(self) -> None:
        np.not_equal(self._hi, self._lo, out=self._moved)
        np.not_equal(self._hi, self._last, out=self._flag)
        np.logical_or(self._moved, self._flag, out=self._moved)
        self._still += 1
        np.copyto(self._still, 0, where=self._moved)
        np.greater_equal(self._still, self._dead_hops, out=self._flag)
        self.dead = int(self._bits.dot(self._flag))

    def _watch_rails(self, x: NDArray[np.float32]) -> None:
        # A rail is an extreme that comes back exactly; one that is exceeded was none.
        np.equal(x, self._top, out=self._railed)
        np.equal(x, self._bottom, out=self._other)
        np.logical_or(self._railed, self._other, out=self._railed)
        np.subtract(self._top, self._bottom, out=self._apart)
        np.greater(self._apart, RAILS_APART_UV, out=self._flag)
        np.logical_and(self._railed, self._flag, out=self._railed)
        if math.isfinite(self._rail_uv):
            np.abs(x, out=self._size)
            np.greater_equal(self._size, self._rail_uv, out=self._other)
            np.logical_or(self._railed, self._other, out=self._railed)
        np.sum(self._railed, axis=0, out=self._at_rail[self._slot])
        self._slot = (self._slot + 1) % len(self._at_rail)
        np.sum(self._at_rail, axis=0, out=self._sum)
        np.greater(self._sum, SATURATED_SHARE * len(self._at_rail) * len(x), out=self._flag)
        self.saturated = int(self._bits.dot(self._flag))
        np.maximum(self._top, self._hi, out=self._top)
        np.minimum(self._bottom, self._lo, out=self._bottom)
