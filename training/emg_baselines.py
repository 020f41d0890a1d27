"""What LFADS has to beat: filters, Bayes, synergies.  Each turns EMG into activation estimates.

Low-passes and synergies work on rectified bins, the Bayesian filter on the high-passed signal
itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from edge.filters import design
from training.emg import BIN_HZ, EmgChain

F64 = NDArray[np.float64]

LOW_PASS_HZ = (40.0, 20.0, 10.0, 7.0, 2.0)  # the paper's
ORDER = 4
LEVELS = 100  # of the Bayesian filter's grid
DIFFUSION = tuple(10.0**k for k in range(-6, 0))
JUMP = (1e-24, 1e-12, 1e-6, 1e-2)


def low_pass(bins: F64, hz: float, causal: bool = False) -> F64:
    """Butterworth of order 4 at ``hz``, ``(bins, channels)``; without ``causal`` both ways.

    Both ways it lags nothing and is of twice the order, as in the paper.
    """
    sos = scipy.signal.butter(ORDER, hz, fs=BIN_HZ, output="sos")
    run = scipy.signal.sosfilt if causal else scipy.signal.sosfiltfilt
    return np.asarray(run(sos, bins, axis=0))


@dataclass(frozen=True)
class Bayes:
    """Sanger 2007: what amplitude makes these samples likely, if amplitudes drift and jump?

    ``diffusion`` per second as alpha of the paper; ``jump`` per second is the chance to go
    anywhere, beta times the levels of the grid.  ``hofmann`` takes the samples for
    Laplace-distributed, else Gaussian.
    """

    diffusion: float = 1e-3
    jump: float = 1e-12
    hofmann: bool = True

    def run(self, emg_uv: NDArray[np.floating], chain: EmgChain) -> F64:
        """Expected amplitude per bin, ``(bins, channels)`` microvolts, causal.

        From raw EMG ``(samples, channels)``, high-passed but not rectified.
        """
        x = np.asarray(emg_uv, np.float64)
        for f in chain.filters:
            x = scipy.signal.sosfilt(design(f, chain.fs_hz), x, axis=0)
        top = np.quantile(np.abs(x), 0.999, axis=0)
        x = x[: len(x) // chain.hop * chain.hop] / top
        blocks = x.reshape(-1, chain.hop, x.shape[1])
        return np.asarray(self._filter(blocks, chain.fs_hz) * top)

    def _filter(self, blocks: F64, fs_hz: float) -> F64:
        """``(bins, samples of a bin, channels)`` in units of the grid's top, to the expectation."""
        n, hop, channels = blocks.shape
        grid = np.arange(1, LEVELS + 1) / LEVELS
        dt = hop / fs_hz
        # More than this and the explicit scheme oscillates.
        spread = min(dt * self.diffusion * LEVELS**2, 0.49)
        jump = min(dt * self.jump, 1.0)
        power = (np.abs(blocks) if self.hofmann else 0.5 * blocks**2).sum(1)  # (n, channels)
        shape = -1 / grid if self.hofmann else -1 / grid**2
        constant = -hop * np.log(grid)
        p = np.full((channels, LEVELS), 1 / LEVELS)
        padded = np.empty((channels, LEVELS + 2))
        out = np.empty((n, channels))
        for k in range(n):
            padded[:, 1:-1] = p
            padded[:, 0], padded[:, -1] = p[:, 0], p[:, -1]
            p = p + spread * (padded[:, :-2] - 2 * p + padded[:, 2:])
            p = jump / LEVELS + (1 - jump) * p
            log_like = power[k][:, None] * shape + constant
            p = p * np.exp(log_like - log_like.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            out[k] = p @ grid
        return out


def bayes_grid(score: Callable[[Bayes], float]) -> Bayes:
    """The settings with the best score, of DIFFUSION and JUMP: on training data only."""
    every = [Bayes(d, j) for d in DIFFUSION for j in JUMP]
    return max(every, key=score)


@dataclass(frozen=True)
class Synergies:
    """Non-negative factors of envelopes: what a few commands to all muscles make of them."""

    weights: F64  # (synergies, channels)
    explained: float  # share of the sum of squares, on what it was fitted to

    @staticmethod
    def fit(envelopes: F64, count: int, seed: int = 0, steps: int = 300) -> "Synergies":
        """Lee & Seung 2001, multiplicative updates, on ``(bins, channels)`` zero or more."""
        x = np.maximum(envelopes, 0.0)
        rng = np.random.default_rng(seed)
        size = np.sqrt(x.mean() / count)
        h = size * rng.uniform(0.5, 1.5, (len(x), count))
        w = size * rng.uniform(0.5, 1.5, (count, x.shape[1]))
        for _ in range(steps):
            h *= (x @ w.T) / np.maximum(h @ (w @ w.T), 1e-12)
            w *= (h.T @ x) / np.maximum((h.T @ h) @ w, 1e-12)
        left = np.sum((x - h @ w) ** 2)
        return Synergies(w, float(1 - left / np.sum(x**2)))

    def run(self, envelopes: F64, steps: int = 100) -> F64:
        """Envelopes as the synergies make them, ``(bins, channels)``."""
        x = np.maximum(envelopes, 0.0)
        h = np.full((len(x), len(self.weights)), np.sqrt(x.mean()))
        gram = self.weights @ self.weights.T
        cross = x @ self.weights.T
        for _ in range(steps):
            h *= cross / np.maximum(h @ gram, 1e-12)
        return np.asarray(h @ self.weights)


def enough_synergies(envelopes: F64, share: float = 0.9) -> Synergies:
    """The fewest that explain ``share`` of the sum of squares (the field's usual 90 %)."""
    for count in range(1, envelopes.shape[1] + 1):
        found = Synergies.fit(envelopes, count)
        if found.explained >= share:
            break
    return found
