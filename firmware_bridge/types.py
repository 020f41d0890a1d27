"""The few types that cross the house: frames, sample chunks, muscle state, and who speaks them.

Time is an ``int`` of ``CLOCK_MONOTONIC`` nanoseconds called ``t_ns``, everywhere.
"""

from dataclasses import dataclass
from enum import IntFlag
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

UNKNOWN_NS = -1  # "there is no such time": a device without a clock, a state without data


class DeviceError(RuntimeError):
    """A device cannot be opened, or is gone.  The message names the remedy."""


class Flag(IntFlag):
    """What a receiver must know before it uses a state (u16 on the wire)."""

    STALE_US = 1  # newest ultrasound frame older than the limit, or none yet
    STALE_EMG = 2  # newest EMG sample older than the limit, or none yet
    LATE = 4  # this tick's inference missed its release: the values are carried forward
    PREDICTED = 8  # carried forward by the model's own dynamics, not held
    UNCALIBRATED = 16  # the model was not calibrated to this wearer
    THROTTLED = 32  # the machine reduces its clocks
    FAULT = 64  # do not use: sensor fault, engine failure, or the sender is stopping
    REPLAY = 128  # a recording or a simulation, not a wearer
    STALE_JOINT = 256  # joint angle or load older than its limit, or none yet


def flag_names(flags: int) -> str:
    """``LATE|REPLAY``; bits without a name as a number; ``-`` for none."""
    names = [f.name for f in Flag if flags & f and f.name]
    rest = flags & ~sum(Flag)
    return "|".join(names + [hex(rest)] * bool(rest)) or "-"


@dataclass(frozen=True, slots=True)
class Geometry:
    """Raster of a probe, constant while it is open.  A frame is ``(lines, samples)``."""

    kind: Literal["bmode", "rf"]
    lines: int
    samples: int
    dz_mm: float  # between samples, along depth
    dx_mm: float  # between lines, along the array; 0 for a single line
    depth0_mm: float = 0.0  # depth of sample 0
    tx_hz: float = 0.0  # centre frequency of the pulse; 0 = not known

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Pixel type: uint8 for B-mode, int16 for radio frequency."""
        return np.dtype(np.uint8 if self.kind == "bmode" else "<i2")


@dataclass(frozen=True, slots=True)
class Frame:
    """One ultrasound image or RF acquisition.

    ``data`` is ``(lines, samples)`` uint8 or int16, read-only.  Its buffer is never reused while
    somebody holds the frame, so it may be kept without copying.
    """

    t_ns: int  # last byte at the host
    seq: int  # device counter, unwrapped: a gap is a lost frame
    data: NDArray[Any]
    device_ns: int = UNKNOWN_NS  # the device's own clock, if it has one


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive EMG samples; ``data`` is ``(samples, channels)`` float32 in microvolts."""

    t_ns: int  # arrival of the newest sample at the host
    seq: int  # index of the first sample since opening: a gap is lost samples
    fs_hz: float
    data: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MuscleState:
    """What leaves the tick.  A value that is not known is NaN, and flagged."""

    seq: int  # the tick
    t_ns: int  # what the values are of: the most delayed input, less a model's own delay
    flags: int  # bits of Flag; plain, because IntFlag arithmetic is slow in the tick
    values: NDArray[np.float32]  # (n,), named by the info packet
    sd: NDArray[np.float32] | None = None  # (n,), same units


@dataclass(frozen=True, slots=True)
class Output:
    """Name, unit and plausible range of one value of a muscle state.

    ``max_sd``: a larger standard deviation says that the model itself does not know.
    """

    name: str
    unit: str
    min: float = float("-inf")
    max: float = float("inf")
    max_sd: float = float("inf")


class Device(Protocol):
    """What every driver has."""

    address: str  # opens this very device again, with its serial number where it has one
    live: bool  # False for recordings and simulations: their states carry Flag.REPLAY
    counters: dict[str, int]  # what went wrong, by name; grows only

    def close(self) -> None:
        """Leave the device in a safe state and release it; may be called twice."""


class Probe(Device, Protocol):
    """An ultrasound probe.  ``read`` is called by one thread."""

    geometry: Geometry

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or None within ``timeout_s``.  Raises DeviceError when it is gone."""


class Emg(Device, Protocol):
    """An EMG amplifier.  ``read`` is called by one thread."""

    fs_hz: float
    channels: tuple[str, ...]

    def read(self, timeout_s: float) -> Chunk | None:
        """All new samples, or None within ``timeout_s``.  Raises DeviceError when it is gone."""
