"""A recording as overlapping windows, and windows as one recording again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Windows:
    """How recordings are cut.  Raises ValueError for what cannot be merged again."""

    bins: int = 250
    overlap: int = 60  # bins that a window shares with the next
    every: int = 5  # one in so many blocks validates
    block: int = 1  # windows of a block; more leave fewer bins that both sides see
    dense: int = 3  # training windows begin so much closer to each other: short recordings hold few

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= self.bins // 2:
            raise ValueError(
                f"windows.overlap must be 0 to half of the {self.bins} bins, is {self.overlap}"
            )
        if self.every < 2 or self.block < 1 or self.dense < 1:
            raise ValueError("windows.every must be 2 or more, windows.block and dense 1 or more")

    @property
    def stride(self) -> int:
        """Bins from one window to the next."""
        return self.bins - self.overlap

    def count(self, bins: int) -> int:
        """Windows that fit in a recording."""
        return max(0, (bins - self.overlap) // self.stride)

    def cut(self, x: NDArray[np.floating]) -> F32:
        """``(bins, channels)`` to ``(windows, bins of a window, channels)``, a copy."""
        starts = self.stride * np.arange(self.count(len(x)))
        return np.asarray(x[starts[:, None] + np.arange(self.bins)], np.float32)

    def validation(self, windows: int) -> NDArray[np.bool_]:
        """Which windows of one recording do not train: the last of every few blocks."""
        return np.asarray((np.arange(windows) // self.block) % self.every == self.every - 1)

    def lessons(self, x: NDArray[np.floating]) -> tuple[F32, F32]:
        """Training and validation windows of one recording, as ``cut``.

        Neither shares more than ``overlap`` bins with any of the other.
        """
        usual = self.cut(x)
        held = self.validation(len(usual))
        apart = self.stride * np.flatnonzero(held)
        step = max(1, self.stride // self.dense)
        starts = np.arange(0, max(0, len(x) - self.bins + 1), step)
        clear = np.abs(starts[:, None] - apart).min(1, initial=self.stride) >= self.stride
        picked = starts[clear][:, None] + np.arange(self.bins)
        return np.asarray(x[picked], np.float32), usual[held]

    def merge(self, windows: NDArray[np.floating], bins: int) -> F64:
        """Windows back to ``(bins, channels)``; what no window reaches is NaN.

        Where two meet, the later one takes over along a parabola: with x from 1/n to 1 - 1/n over
        the n bins that they share, the earlier weighs 1 - x^2 and the later x^2.
        """
        out = np.full((bins, windows.shape[2]), np.nan)
        n = self.overlap
        rise = np.linspace(1 / n, 1 - 1 / n, n)[:, None] ** 2 if n else np.empty((0, 1))
        for k, one in enumerate(np.asarray(windows, np.float64)):
            start = k * self.stride
            if k:
                before = out[start : start + n]
                one = np.concatenate([(1 - rise) * before + rise * one[:n], one[n:]])
            out[start : start + self.bins] = one
        return out
