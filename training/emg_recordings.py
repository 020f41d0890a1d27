"""EMG with what the muscles did, for judging estimates of activation: real sets and test beds.

=============  ================================================  ==================================
set            recordings                                        what is decoded
=============  ================================================  ==================================
``ta``         emg_torque_fascicle_ta: one muscle, one person     dorsiflexion torque
``knee``       leg_emg_knee_angle: four muscles, eight people     knee angle, velocity, acceleration
``gait``       gait_emg_raw_13ch: thirteen muscles, one person    phase of the stride
``bed:lorenz`` simulated, see ``training.emg_testbed``            the activation itself
``bed:gait``   simulated                                          the activation itself
``FILE.mcap``  what ``sonomyo record`` wrote                      nothing
=============  ================================================  ==================================
"""

from pathlib import Path

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from training.emg import BIN_HZ
from training.emg_recorded import Recording as Recording
from training.emg_recorded import recorded
from training.emg_testbed import FS_HZ, bed
from training.readers import (
    GAIT_CHANNELS,
    KNEE_CHANNELS,
    TA_CHANNELS,
    gait_emg,
    knee_recording,
    knee_recordings,
    ta_trial,
    ta_trials,
)

F64 = NDArray[np.float64]

SETS = ("ta", "knee", "gait", "bed:lorenz", "bed:gait")
BED_SECONDS, BED_CHANNELS = 120.0, 12
# Of kinematics, as the paper's: Savitzky-Golay derivatives, low-passed.
SMOOTH_BINS, SMOOTH_ORDER = 27, 5
KINEMATICS_HZ = 20.0  # the goniometer's own noise is above


def recordings(name: str, seed: int = 1) -> list[Recording]:
    """Everything of one set.

    Raises DataMissing, ValueError for a set that is not known, and what ``recorded`` raises.
    """
    if name.endswith(".mcap"):
        return recorded(Path(name))
    if name == "ta":
        return [_ta(t) for t in ta_trials() if not t.startswith("Pas")]
    if name == "knee":
        return [_knee(r) for r in knee_recordings()]
    if name == "gait":
        return [_gait()]
    if name.startswith("bed:") and name in SETS:
        return [bed_recording(name, seed, BED_SECONDS)]
    raise ValueError(f"no set {name!r}: take one of {', '.join(SETS)}, or a recording FILE.mcap")


def _ta(trial: str) -> Recording:
    one = ta_trial(trial)
    hop = round(one.fs_hz / BIN_HZ)
    torque = one.torque_nm[: len(one.torque_nm) // hop * hop].reshape(-1, hop).mean(1)
    return Recording(trial, "PL", round(one.fs_hz), TA_CHANNELS, one.emg_uv, {"torque": torque})


def _knee(name: str) -> Recording:
    one = knee_recording(name)
    low = scipy.signal.butter(4, KINEMATICS_HZ, fs=one.fs_hz, output="sos")
    angle = scipy.signal.sosfiltfilt(low, one.angle_deg)[:: round(one.fs_hz / BIN_HZ)]
    targets = {
        what: scipy.signal.savgol_filter(
            angle, SMOOTH_BINS, SMOOTH_ORDER, deriv=d, delta=1 / BIN_HZ
        )
        for d, what in enumerate(("angle", "velocity", "acceleration"))
    }
    return Recording(name, f"N{one.subject:02d}", one.fs_hz, KNEE_CHANNELS, one.emg_uv, targets)


def _gait() -> Recording:
    """No kinematics were published with it: its stride, as a point going round a circle."""
    one = gait_emg()
    t = np.arange(int(len(one.emg_uv) * BIN_HZ / one.fs_hz)) / BIN_HZ
    marks = one.touchdown_s
    # Before the first and after the last touchdown, strides of mean length.
    stride = np.diff(marks).mean()
    more = np.arange(1, 1 + int(t[-1] / stride))
    marks = np.concatenate([marks[0] - stride * more[::-1], marks, marks[-1] + stride * more])
    phase = 2 * np.pi * np.interp(t, marks, np.arange(len(marks)))
    targets = {"phase_cos": np.cos(phase), "phase_sin": np.sin(phase)}
    return Recording("walk", "ID0012", one.fs_hz, GAIT_CHANNELS, one.emg_uv, targets)


def bed_recording(name: str, seed: int, seconds: float) -> Recording:
    """A test bed ``bed:lorenz`` or ``bed:gait`` as a recording; the truth is what is decoded."""
    kind = name.removeprefix("bed:")
    one = bed(kind, seconds, BED_CHANNELS, seed)
    names = tuple(f"m{k + 1:02d}" for k in range(BED_CHANNELS))
    targets = {name: one.activation[:, k] for k, name in enumerate(names)}
    return Recording(f"{kind}_{seed}", "simulated", FS_HZ, names, one.emg_uv, targets, True)
