"""Muscle paths of an OpenSim model along a recorded motion, all samples at once."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import butter, savgol_filter, sosfiltfilt

from models.osim import OsimModel
from models.paths import Paths

F64 = NDArray[np.float64]

ANGLE_HZ = 10.0  # 6 Hz would take 1.1 deg and a third of the speed out of an ankle that runs
NO_ARM_MM = 1e-6  # rounding errors of muscles that do not cross a joint


class Motion(NamedTuple):
    """An angle and its speed, ``(n,)`` each, in rad and rad/s."""

    angle_rad: F64
    speed_rad_s: F64


class Along(NamedTuple):
    """Muscle-tendon lengths, moment arms about one coordinate, and path speeds ``(n, muscles)``."""

    length_mm: F64
    arm_mm: F64  # exactly 0 for muscles that do not cross it
    path_mm_s: F64  # lengthening > 0, by whichever joint


def smooth(raw_rad: F64, rate_hz: float, low_hz: float = ANGLE_HZ) -> Motion:
    """Zero-phase low-pass, then the slope of a local polynomial (Savitzky and Golay)."""
    angle = sosfiltfilt(butter(4, low_hz / (rate_hz / 2), output="sos"), raw_rad).copy()
    return Motion(angle, savgol_filter(angle, 11, 4, deriv=1, delta=1 / rate_hz))


def along(
    model: OsimModel, muscles: Sequence[str], motion: Mapping[str, Motion], about: str
) -> Along:
    """Geometry of ``muscles`` while the coordinates named in ``motion`` move; others rest.

    Raises OsimError for names that are not in the model.
    """
    names = list(motion)
    paths = Paths(model, muscles, names)
    q = torch.from_numpy(np.stack([m.angle_rad for m in motion.values()], 1))
    speed = np.stack([m.speed_rad_s for m in motion.values()], 1)
    with torch.no_grad():
        length, arms = (x.numpy() for x in paths.lengths_and_arms_mm(q))
    arm = arms[..., names.index(about)]
    arm = np.where(np.abs(arm).max(0) > NO_ARM_MM, arm, 0.0)
    return Along(length, arm, -np.einsum("nmc,nc->nm", arms, speed))
