"""EMG trials as model steps: features as on the device, and the torque measured at each end."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.preprocess import EmgPipeline
from models.spec import Input
from training.readers import TA_CHANNELS, ta_trial


@dataclass(frozen=True)
class Trial:
    """One recording: ``features (steps, f)`` and ``targets (steps, outputs)`` float32."""

    name: str
    features: NDArray[np.float32]
    targets: NDArray[np.float32]


def emg_features(
    emg_uv: NDArray[np.float32], channels: Sequence[str], inp: Input
) -> NDArray[np.float32]:
    """A whole recording ``(samples, channels)`` at ``inp.rate_hz`` through the device's pipeline.

    ``(steps, f)`` float32: step k ends with sample ``(k + 1) * inp.hop - 1``.
    """
    pipeline = EmgPipeline(inp.rate_hz, channels, inp)
    steps = []
    for start in range(0, len(emg_uv) - inp.hop + 1, inp.hop):
        pipeline.push(emg_uv[start : start + inp.hop])
        step = pipeline.next_step()
        if step is not None:
            steps.append(step.ravel().copy())
    return np.stack(steps)


def ta_steps(names: Sequence[str], inp: Input) -> list[Trial]:
    """Trials of emg_torque_fascicle_ta; the target is dorsiflexion torque, N m.

    Raises DataMissing.
    """
    trials = []
    for name in names:
        one = ta_trial(name)
        features = emg_features(one.emg_uv, TA_CHANNELS, inp)
        torque_nm = one.torque_nm[inp.hop - 1 :: inp.hop][: len(features)]
        trials.append(Trial(name, features, torque_nm[:, None].astype(np.float32)))
    return trials
