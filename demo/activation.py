"""Activation in the demo: beside each model's estimate, the envelope that a filter makes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from demo.report import Track
from firmware_bridge.recording import Recording
from models.spec import ModelSpec

F64 = NDArray[np.float64]

ENDING = "_activation"  # of an output's name: nothing can measure it
HIGHPASS_HZ, CUT_OFF_HZ, ORDER = 65.0, 10.0, 4
BESIDE = f"low-pass {CUT_OFF_HZ:g} Hz, both ways, scaled"


def envelopes(
    recording: Recording, named: Sequence[tuple[str, ModelSpec, int]]
) -> dict[str, tuple[str, F64]]:
    """For every output of activation, the envelope of its channel at each EMG sample.

    As late as the model, so that the two are of the same moment.  ``named`` are the name of an
    output, its model, and its place among the model's outputs.
    """
    info, chunks = recording.emg_info, list(recording.chunks())
    if info is None or not chunks:
        return {}
    # Sample k at place k, as emg_seq counts; what was not recorded is 0.
    emg = np.zeros((chunks[-1].seq + len(chunks[-1].data), len(info.channels)))
    for c in chunks:
        emg[c.seq : c.seq + len(c.data)] = c.data
    high = scipy.signal.butter(ORDER, HIGHPASS_HZ, "high", fs=info.fs_hz, output="sos")
    low = scipy.signal.butter(ORDER, CUT_OFF_HZ, fs=info.fs_hz, output="sos")
    found = {}
    for name, spec, place in named:
        if name.endswith(ENDING):
            (source,) = (i for i in spec.inputs if i.source == "emg")
            x = emg[:, info.channels.index(source.channels[place])]
            rectified = np.abs(scipy.signal.sosfiltfilt(high, x))
            envelope = scipy.signal.sosfiltfilt(low, rectified)
            waits = round(spec.delay_ms * info.fs_hz / 1000)
            late = np.concatenate([np.zeros(waits), envelope])[: len(envelope)]
            found[name] = ("emg_seq", late)
    return found


def beside(track: Track) -> Track:
    """A track of activation with its envelope in the model's scale, and not as a measurement.

    The envelope gets the gain that fits best: the two have no scale in common.
    """
    if not track.name.endswith(ENDING):
        return track
    known = np.isfinite(track.measured) & np.isfinite(track.estimated)
    envelope = track.measured[known]
    gain = float(envelope @ track.estimated[known]) / max(float(envelope @ envelope), 1e-12)
    return replace(track, measured=gain * track.measured, label=BESIDE)
