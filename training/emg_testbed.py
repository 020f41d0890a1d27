"""EMG of known activation: what no recording of people can give.  Everything here is simulated.

``lorenz``  the three variables of a Lorenz system, mixed into every muscle and made positive: the
            classical test of LFADS.
``gait``    synergies that come on in turn in each stride, whose cadence, size and timing wander;
            they switch on fast and off slowly, as activation dynamics of muscle do.

Raw EMG is noise whose power follows the square of the activation, shaped like surface EMG, mixed
between neighbours (cross-talk), with every electrode's own gain and background.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray

from models.muscle import activate
from training.emg import BIN_HZ

F64 = NDArray[np.float64]

FS_HZ = 2000.0
BAND_HZ = (30.0, 350.0)  # of surface EMG


@dataclass(frozen=True)
class Bed:
    """A simulated recording."""

    activation: F64  # (bins, channels) at BIN_HZ, 0..1: the truth
    emg_uv: F64  # (samples, channels) at FS_HZ


@dataclass(frozen=True)
class Electrodes:
    """How activation becomes what is recorded."""

    size_uv: tuple[float, float] = (80.0, 300.0)  # SD at full activation, drawn per channel
    background: tuple[float, float] = (0.02, 0.12)  # share of that at rest, drawn per channel
    crosstalk: float = 0.15  # share of each neighbour's signal


def bed(
    kind: str, seconds: float, channels: int, seed: int, electrodes: Electrodes | None = None
) -> Bed:
    """A recording of ``kind`` lorenz or gait; the same seed gives the same one."""
    rng = np.random.default_rng([seed, *kind.encode()])
    truth = KINDS[kind](round(seconds * BIN_HZ), channels, rng)
    return Bed(truth, emg_of(truth, electrodes or Electrodes(), rng))


def emg_of(activation: F64, e: Electrodes, rng: np.random.Generator) -> F64:
    """Raw EMG ``(samples, channels)`` in microvolts of ``activation (bins, channels)``."""
    hop = round(FS_HZ / BIN_HZ)
    n, channels = len(activation) * hop, activation.shape[1]
    at = (np.arange(n) + 0.5) / hop - 0.5
    size = np.stack([np.interp(at, np.arange(len(a)), a) for a in activation.T], 1)
    sos = scipy.signal.butter(2, BAND_HZ, "bandpass", fs=FS_HZ, output="sos")
    carrier, quiet = (
        scipy.signal.sosfilt(sos, rng.standard_normal((n, channels)), axis=0) for _ in range(2)
    )
    carrier /= carrier.std()
    quiet /= quiet.std()
    muscle = size * carrier
    mixed = muscle + e.crosstalk * (np.roll(muscle, 1, 1) + np.roll(muscle, -1, 1))
    noise = rng.uniform(*e.background, channels) * quiet
    return np.asarray(rng.uniform(*e.size_uv, channels) * (mixed + noise))


def _lorenz(bins: int, channels: int, rng: np.random.Generator) -> F64:
    """Lorenz 1963 with the usual constants, about 2 turns a second; log-linear read-out."""
    step = 0.006  # of the system's time in a bin
    x = np.empty((bins + 500, 3))
    x[0] = rng.standard_normal(3) + (0, 0, 25)
    for k in range(1, len(x)):
        a, b, c = x[k - 1]
        for _ in range(4):
            a, b, c = (
                a + step / 4 * 10 * (b - a),
                b + step / 4 * (a * (28 - c) - b),
                c + step / 4 * (a * b - 8 / 3 * c),
            )
        x[k] = a, b, c
    x = x[500:]
    x = (x - x.mean(0)) / x.std(0)
    mix = rng.standard_normal((3, channels)) / 3**0.5
    return _unit(np.exp(1.2 * x @ mix))


def _gait(bins: int, channels: int, rng: np.random.Generator) -> F64:
    """Five commands a stride; every stride has its own duration and every burst its own size."""
    synergies, t = 5, np.arange(bins) / BIN_HZ
    starts = [0.0]
    while starts[-1] < t[-1] + 2:
        starts.append(starts[-1] + rng.normal(1.05, 0.06))
    phase = np.interp(t, starts, np.arange(len(starts)))
    stride = phase.astype(int)
    excitation = np.zeros((bins, synergies))
    centre = (np.arange(synergies) + rng.uniform(0, 0.5, synergies)) / synergies
    for s, half in enumerate(rng.uniform(0.04, 0.10, synergies)):
        size = np.minimum(0.6 * rng.gamma(12, 1 / 12, len(starts) + 2), 1.0)
        late = rng.normal(0, 0.015, len(starts) + 2)
        for near in (-1, 0, 1):
            k = np.clip(stride + near, 0, len(size) - 1)
            away = phase - (stride + near) - centre[s] - late[k]
            on = np.abs(away) < half
            excitation[on, s] = size[k][on]
    drive = activate(torch.from_numpy(excitation), 1 / BIN_HZ).numpy()
    # Not all of a muscle's activity is the synergies': a slow drift of its own.
    slow = scipy.signal.butter(2, 1.0, fs=BIN_HZ, output="sos")
    settle = round(4 * BIN_HZ)
    own = scipy.signal.sosfilt(slow, rng.standard_normal((settle + bins, channels)), axis=0)[
        settle:
    ]
    weight = rng.gamma(0.6, 0.5, (synergies, channels))
    weight[np.arange(channels) % synergies, np.arange(channels)] += 1.0  # nobody idles
    return _unit(drive @ weight * np.exp(0.2 * own / own.std()))


def _unit(x: F64) -> F64:
    """To 0..1, where 1 is passed in one bin of a thousand; what passes it stays at 1."""
    return np.asarray(np.minimum(x / np.quantile(x, 0.999, axis=0), 1.0))


KINDS: dict[str, Callable[[int, int, np.random.Generator], F64]] = {
    "lorenz": _lorenz,
    "gait": _gait,
}
