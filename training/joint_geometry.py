"""Muscle paths of an OpenSim model along a recorded motion, all samples at once.

Long tendons stretch by much of a fibre's length: an Achilles tendon by a centimetre in every step.
How far is known without knowing any muscle, since the tendons of one side carry the joint's moment:
``stretched`` takes it off the path, so that what is left may be read with tendons of one length.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import butter, savgol_filter, sosfiltfilt

from models.muscle import Muscle, inverse_tendon_force
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


def stretched(a: Along, muscle: Muscle, moment_nm: F64, rate_hz: float) -> Along:
    """The same paths less what their tendons give way under the joint's moment ``(n,)``.

    All muscles on the side of the moment bear the same part of their strength; on the other side
    tendons are at slack length.
    """
    smooth_nm = smooth(moment_nm, rate_hz).angle_rad  # the same filter; a moment here
    f_max, l_slack = (x.double().numpy() for x in (muscle.f_max_n, muscle.l_slack_mm))
    able_nm = f_max * a.arm_mm / 1000
    pulls = np.sign(able_nm) == np.sign(smooth_nm)[:, None]
    side_nm = np.abs(np.where(pulls, able_nm, 0.0)).sum(1)
    part = np.abs(smooth_nm) / np.maximum(side_nm, 1e-9)
    part = torch.from_numpy(np.where(side_nm > 0, part, 0.0))[:, None]
    tendon = inverse_tendon_force(part, muscle.tendon_strain.double()).numpy()
    stretch_mm = np.where(pulls, (tendon - 1) * l_slack, 0.0)
    speed = savgol_filter(stretch_mm, 11, 4, deriv=1, delta=1 / rate_hz, axis=0)
    return a._replace(length_mm=a.length_mm - stretch_mm, path_mm_s=a.path_mm_s - speed)
