"""From raw EMG to what LFADS is trained on: rectified, in bins of 2 ms, every muscle about 1.

Two chains of the same filters.  ``paper`` is that of Wimalasena et al. 2022, forwards and
backwards in time, for recordings that are studied afterwards.  ``device`` is causal and is the
code that runs on the device (``edge.preprocess``), so a network trained on it meets the same
numbers there, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from edge.filters import design
from models.spec import Input, Step
from models.streaming import BIN_MS
from training.emg_steps import emg_features

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Chain = Literal["paper", "device"]

BIN_HZ = 1000 / BIN_MS
HIGHPASS_HZ = 65.0
NOTCH_WIDTH_HZ = 2.0  # q = hz / 2
CLIP_QUANTILE, SCALE_QUANTILE = 0.999, 0.95


@dataclass(frozen=True)
class EmgChain:
    """Filters before the bins.  Raises ValueError where the rate does not allow them."""

    fs_hz: float
    mains_hz: float = 50.0  # of the country it was recorded in
    harmonics: tuple[int, ...] = (1, 2, 4, 5, 7)  # as the paper's 60, 120, 240, 300, 420 Hz

    def __post_init__(self) -> None:
        if self.hop * 1000 / self.fs_hz != BIN_MS:
            raise ValueError(
                f"{self.fs_hz:g} samples/s do not fill bins of {BIN_MS:g} ms evenly: resample to a "
                f"multiple of {BIN_HZ:g}, for example with scipy.signal.resample_poly"
            )

    @property
    def hop(self) -> int:
        """Samples of a bin."""
        return round(self.fs_hz * BIN_MS / 1000)

    @property
    def filters(self) -> tuple[Step, ...]:
        """Notches below half the rate, then a high-pass of order 4."""
        hum = [k * self.mains_hz for k in self.harmonics if k * self.mains_hz < 0.45 * self.fs_hz]
        notches = [Step("notch", {"hz": hz, "q": hz / NOTCH_WIDTH_HZ}) for hz in hum]
        return (*notches, Step("highpass", {"hz": HIGHPASS_HZ, "order": 4}))

    def input(self, channels: Sequence[str], name: str = "emg") -> Input:
        """What a bundle's spec says, for one bin a step: ``(1, channels)``."""
        return Input(
            name,
            (1, len(channels)),
            "emg",
            (*self.filters, Step("rectify"), Step("bin")),
            rate_hz=self.fs_hz,
            hop=self.hop,
            channels=tuple(channels),
        )

    def window(self, channels: Sequence[str], bins: int, hop_bins: int, name: str = "emg") -> Input:
        """The same for the last ``bins`` bins, a step every ``hop_bins``: ``(1, bins, channels)``.

        Raises ValueError when the steps do not fill a window.
        """
        if bins % hop_bins:
            raise ValueError(f"windows of {bins} bins: steps of {hop_bins} do not fill them")
        return Input(
            name,
            (1, bins, len(channels)),
            "emg",
            (
                *self.filters,
                Step("rectify"),
                Step("bin", {"rows": hop_bins}),
                Step("window", {"hops": bins // hop_bins}),
            ),
            rate_hz=self.fs_hz,
            hop=self.hop * hop_bins,
            channels=tuple(channels),
        )

    def bins(self, emg_uv: NDArray[np.floating], chain: Chain = "paper") -> F64:
        """``(samples, channels)`` microvolts to ``(bins, channels)``, zero or more.

        Raises ValueError for values that are not finite: say where they are with
        ``training.emg_checks``.
        """
        x = np.asarray(emg_uv, np.float64)
        if x.ndim != 2 or not np.isfinite(x).all():
            raise ValueError(
                f"EMG {x.shape} must be (samples, channels) and finite: fill or cut out its gaps"
            )
        if chain == "device":
            names = [str(k) for k in range(x.shape[1])]
            return emg_features(x.astype(np.float32), names, self.input(names)).astype(np.float64)
        for f in self.filters:
            x = scipy.signal.sosfiltfilt(design(f, self.fs_hz), x, axis=0)
        # The anti-alias filter rings: what it makes negative is folded back, as in the paper.
        return np.asarray(np.abs(scipy.signal.resample_poly(np.abs(x), 1, self.hop, axis=0)))


@dataclass(frozen=True)
class Scale:
    """Of each channel: where it is clipped, and what becomes 1.  Learned on training data only."""

    clip: F64  # (channels,) microvolts
    unit: F64  # (channels,) microvolts

    @staticmethod
    def of(bins: F64, clip: float = CLIP_QUANTILE, unit: float = SCALE_QUANTILE) -> "Scale":
        """From quantiles of ``bins (n, channels)``.  Raises ValueError for a flat channel."""
        top = np.quantile(bins, clip, axis=0)
        one = np.quantile(np.minimum(bins, top), unit, axis=0)
        if flat := np.flatnonzero(~(one > 0)).tolist():
            raise ValueError(f"channels {flat} have no EMG at all: leave them out")
        return Scale(top, one)

    def apply(self, bins: F64) -> F32:
        """``(n, channels)`` microvolts to the network's scale."""
        return np.asarray(np.minimum(bins, self.clip) / self.unit, np.float32)
