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

    ``dead`` and ``saturated`` are bit masks over the channels, of the latest hop.
    """

    def __init__(self, fs_hz: float, hop: int, channels: int, rail_uv: float = math.inf):
        self.dead = self.saturated = 0
        self._hop, self._rail_uv = hop, rail_uv
        self._dead_hops = math.floor(WINDOW_S * fs_hz / hop) + 1
        self._window_hops = math.ceil(WINDOW_S * fs_hz / hop)
        self._bits = 1 << np.arange(channels, dtype=np.int64)
        self._last = np.zeros(channels, np.float32)  # last good value
        self._hi, self._lo = self._last.copy(), self._last.copy()
        self._top = np.full(channels, -np.inf, np.float32)  # running extremes
        self._bottom = np.full(channels, np.inf, np.float32)
        self._still = np.zeros(channels, np.int64)  # hops without any change
        self._at_rail = np.zeros((self._window_hops, channels), np.int64)
        self._sum = np.zeros(channels, np.int64)
        self._finite = np.zeros((hop, channels), bool)
        self._high, self._low = self._finite.copy(), self._finite.copy()
        self._moved = np.zeros(channels, bool)
        self._flag = self._moved.copy()
        self._slot = 0

    def watch(self, x: NDArray[np.float32]) -> None:
        """Replace NaN and infinity by the channel's last good value, then judge the channels."""
        np.isfinite(x, out=self._finite)
        if not self._finite.all():
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
        np.maximum(self._top, self._hi, out=self._top)
        np.minimum(self._bottom, self._lo, out=self._bottom)
        if np.isfinite(self._rail_uv):
            np.minimum(self._top, self._rail_uv, out=self._hi)
            np.maximum(self._bottom, -self._rail_uv, out=self._lo)
        else:
            self._hi[...], self._lo[...] = self._top, self._bottom
        np.greater_equal(x, self._hi, out=self._high)
        np.less_equal(x, self._lo, out=self._low)
        np.logical_or(self._high, self._low, out=self._high)
        counts = self._at_rail[self._slot]
        np.sum(self._high, axis=0, out=counts)
        np.subtract(self._hi, self._lo, out=self._hi)
        np.greater(self._hi, RAILS_APART_UV, out=self._flag)
        counts *= self._flag
        self._slot = (self._slot + 1) % self._window_hops
        np.sum(self._at_rail, axis=0, out=self._sum)
        limit = SATURATED_SHARE * self._window_hops * self._hop
        np.greater(self._sum, limit, out=self._flag)
        self.saturated = int(self._bits.dot(self._flag))
