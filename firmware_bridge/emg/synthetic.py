"""Simulated EMG of a simulated wearer, with known activation and the usual faults.

Address: ``synthetic:?<parameters>``, all optional:

    synthetic:?fs_hz=2000&channels=MG,TA&seed=1
    synthetic:?hum_uv=50&hum_hz=60&drift_uv=300&pop_hz=0.2&dropout_hz=0.1&clip_uv=1000

``channels`` are MG, LG, SOL (they follow the wearer's calf) and TA.  ``emg_uv`` is the root mean
square at full activation, ``noise_uv`` that of the amplifier, ``hum_uv`` the amplitude of the
mains at ``hum_hz`` with odd harmonics, ``drift_uv`` that of the baseline.  ``pop_hz`` electrode
pops of ``pop_uv`` and ``dropout_hz`` losses of contact (NaN for 50 ms) come that often on average,
``clip_uv`` is where the amplifier saturates (0 = never).
"""

import time

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.address import Address
from firmware_bridge.emg.electrodes import CALF, Electrodes, Sound
from firmware_bridge.emg.pacing import SampleClock
from firmware_bridge.parameters import names, not_negative, positive, whole
from firmware_bridge.types import Chunk, DeviceError

CHANNELS: tuple[str, ...] = ("MG", "TA")


class SyntheticEmg:
    """``Electrodes`` in real time from opening on; time stands for the sample number, no drift."""

    live = False

    def __init__(
        self, address: str, fs_hz: float, channels: tuple[str, ...], seed: int, sound: Sound
    ):
        self.address, self.fs_hz, self.channels = address, fs_hz, channels
        self.counters = {"nan_samples": 0}
        self.electrodes = Electrodes(fs_hz, channels, seed, sound)
        self._seq = 0
        self._clock = SampleClock(fs_hz, time.monotonic_ns())

    def read(self, timeout_s: float) -> Chunk | None:
        """All samples that are due, or None within ``timeout_s``; the data are the caller's own."""
        due = self._clock.wait(self._seq + self._clock.step, timeout_s)
        if due <= self._seq:
            return None
        data = self.electrodes.take(due - self._seq)
        self.counters["nan_samples"] += int(np.isnan(data).any(axis=1).sum())
        chunk = Chunk(self._clock.due_ns(due), self._seq, self.fs_hz, data)
        self._seq = due
        return chunk

    def truth(self, chunk: Chunk) -> NDArray[np.float64]:
        """The activation behind each sample of a chunk: ``(samples, channels)``, 0..1."""
        return self.electrodes.activation(chunk.seq, len(chunk.data))

    def close(self) -> None:
        """Nothing to release."""


def open_synthetic(address: str) -> SyntheticEmg:
    """Start the simulation.  Raises DeviceError for a parameter that is not one."""
    parsed = Address(address)
    fs_hz = parsed.take("fs_hz", 2000.0, positive)
    channels = parsed.take("channels", CHANNELS, names)
    seed = parsed.take("seed", 1, whole)
    levels = vars(Sound()).items()
    sound = Sound(**{key: parsed.take(key, level, not_negative) for key, level in levels})
    if parsed.target:
        raise DeviceError(f"{address!r}: write parameters as synthetic:?key=value")
    parsed.done()
    if unknown := [name for name in channels if name not in (*CALF, "TA")]:
        raise DeviceError(f"{address!r}: no channel {unknown}; known: {[*CALF, 'TA']}")
    if fs_hz < 100:
        raise DeviceError(f"{address!r}: fs_hz={fs_hz:g} is too slow for EMG; 100 at least")
    return SyntheticEmg(address, fs_hz, channels, seed, sound)
