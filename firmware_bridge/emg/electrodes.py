"""What electrodes on a simulated wearer pick up: noise shaped by activation, and the usual faults.

Surface EMG is modelled as band-limited Gaussian noise whose standard deviation is proportional to
activation (Hogan & Mann, IEEE Trans. Biomed. Eng. 1980).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.wearer import truth

CALF = ("MG", "LG", "SOL")
BAND_HZ = (20.0, 450.0)  # where surface EMG has its power
HARMONICS = ((1, 1.0), (3, 0.3), (5, 0.15))  # of the mains
POP_DECAY_S = 0.15
DROPOUT_S = 0.05
BLOCK_S = 0.05  # samples are made in blocks of this, whatever the chunks: same seed, same signal


@dataclass(frozen=True)
class Sound:
    """How strong each part of the signal is."""

    emg_uv: float = 400.0  # root mean square at full activation
    noise_uv: float = 3.0  # root mean square of the amplifier's own noise
    hum_uv: float = 0.0  # amplitude of the mains
    hum_hz: float = 50.0
    drift_uv: float = 0.0  # amplitude of the baseline
    pop_hz: float = 0.0  # electrode pops, on average
    pop_uv: float = 2000.0
    dropout_hz: float = 0.0  # losses of contact (NaN), on average
    clip_uv: float = 0.0  # where the amplifier saturates; 0 = never


class Electrodes:
    """Samples one after the other: equal arguments give equal signals, however they are taken."""

    def __init__(self, fs_hz: float, channels: tuple[str, ...], seed: int, sound: Sound):
        from scipy.signal import butter, sosfilt

        self._fs_hz, self._channels, self._seed, self._sound = fs_hz, channels, seed, sound
        high_hz = min(BAND_HZ[1], 0.45 * fs_hz)
        self._sos = butter(2, (BAND_HZ[0], high_hz), "bandpass", fs=fs_hz, output="sos")
        self._filter = sosfilt
        self._memory = np.zeros((len(self._sos), 2, len(channels)))
        impulse = np.zeros(round(fs_hz))
        impulse[0] = 1.0
        self._gain = 1.0 / np.linalg.norm(sosfilt(self._sos, impulse))  # white in, unit power out
        self._block = max(1, round(fs_hz * BLOCK_S))
        self._made = 0  # blocks
        self._left = np.empty((0, len(channels)), np.float32)

    def take(self, samples: int) -> NDArray[np.float32]:
        """The next ``(samples, channels)`` in uV, the caller's own."""
        parts = [self._left]
        while sum(map(len, parts)) < samples:
            parts.append(self._make(self._made))
            self._made += 1
        made = np.concatenate(parts)
        self._left = made[samples:]
        return made[:samples].copy()

    def activation(self, first: int, samples: int) -> NDArray[np.float64]:
        """What is behind samples ``first`` on: ``(samples, channels)``, 0..1."""
        wearer = truth((first + np.arange(samples)) / self._fs_hz, self._seed)
        known = {"TA": wearer.activation_ta} | dict.fromkeys(CALF, wearer.activation)
        return np.stack([known[name] for name in self._channels], axis=1)

    def _make(self, block: int) -> NDArray[np.float32]:
        sound, first, shape = self._sound, block * self._block, (self._block, len(self._channels))
        t_s = ((first + np.arange(self._block)) / self._fs_hz)[:, None]
        rng = np.random.default_rng([self._seed, 10, block])
        noise, self._memory = self._filter(
            self._sos, rng.standard_normal(shape), axis=0, zi=self._memory
        )
        signal = sound.emg_uv * self._gain * noise * self.activation(first, self._block)
        signal += sound.noise_uv * rng.standard_normal(shape)
        signal += self._hum(t_s) + self._drift(t_s)
        for channel in range(shape[1]):
            for at_s, side in self._events(sound.pop_hz, 11 + 2 * channel, t_s, 10 * POP_DECAY_S):
                since = t_s[:, 0] - at_s
                decay = np.exp(-np.maximum(since, 0) / POP_DECAY_S)
                signal[:, channel] += np.where(since >= 0, side * sound.pop_uv * decay, 0.0)
        if sound.clip_uv:
            signal = np.clip(signal, -sound.clip_uv, sound.clip_uv)
        for channel in range(shape[1]):
            for at_s, _ in self._events(sound.dropout_hz, 12 + 2 * channel, t_s, DROPOUT_S):
                signal[(t_s[:, 0] >= at_s) & (t_s[:, 0] < at_s + DROPOUT_S), channel] = np.nan
        return np.asarray(signal, np.float32)

    def _hum(self, t_s: NDArray[np.float64]) -> NDArray[np.float64]:
        phase = 2 * np.pi * self._sound.hum_hz * t_s
        waves = [a * np.sin(k * phase) for k, a in HARMONICS]
        return np.asarray(self._sound.hum_uv * np.sum(waves, axis=0))

    def _drift(self, t_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Three slow sinusoids per channel that add up to the amplitude at most."""
        rng = np.random.default_rng([self._seed, 9])
        phases = rng.uniform(0, 2 * np.pi, (3, 1, len(self._channels)))
        waves = [
            a * np.sin(2 * np.pi * f_hz * t_s + phase)
            for a, f_hz, phase in zip((0.6, 0.3, 0.1), (0.11, 0.23, 0.7), phases, strict=True)
        ]
        return np.asarray(self._sound.drift_uv * np.sum(waves, axis=0))

    def _events(
        self, rate_hz: float, stream: int, t_s: NDArray[np.float64], length_s: float
    ) -> list[tuple[float, float]]:
        """Onset and sign of the random events felt in ``t_s``; drawn second by second."""
        if rate_hz == 0:
            return []
        found: list[tuple[float, float]] = []
        for second in range(max(0, int(t_s[0, 0] - length_s)), int(t_s[-1, 0]) + 1):
            rng = np.random.default_rng([self._seed, stream, second])
            for at in rng.uniform(0, 1, rng.poisson(rate_hz)):
                found.append((second + float(at), float(rng.choice((-1.0, 1.0)))))
        return found
