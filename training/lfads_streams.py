"""One person's LFADS in time: over a sliding window, and as lessons for its causal twin."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.lfads import Lfads
from models.streaming import Scaled, Twin, TwinConfig
from training.distil import Taught, TwinFit, fit_twin
from training.emg_windows import Windows
from training.lfads_person import Person, activation

F64 = NDArray[np.float64]
WHOLE, FIRST_HALF, SECOND_HALF = (0.0, 1.0), (0.0, 0.5), (0.5, 1.0)
Part = tuple[float, float]  # of every recording, as shares of its length


def lessons(net: Lfads, person: Person, how: Windows) -> list[Taught]:
    """Of every recording: what the device would hear, and what ``net`` says of it."""
    heard = [person.chain.bins(r.emg_uv, "device") for r in person.recordings]
    said = activation(net, person, how)
    return [Taught(x, a) for x, a in zip(heard, said, strict=True)]


def teach(taught: list[Taught], person: Person, fit: TwinFit, part: Part = WHOLE) -> Twin:
    """A twin that has seen this part of every recording.  Raises what ``fit_twin`` raises."""
    some = []
    for one in taught:
        start, stop = (round(share * len(one.bins)) for share in part)
        some.append(Taught(one.bins[start:stop], one.teacher[start:stop]))
    longest = max(len(one.bins) for one in some)
    fit = replace(fit, bins=min(fit.bins, longest))
    return fit_twin(some, person.scale, fit, TwinConfig(len(person.channels)))


def scaling(person: Person) -> Scaled:
    """The scale of a person's networks, as part of one."""
    scaled = Scaled(len(person.channels))
    scaled.clip.copy_(torch.from_numpy(person.scale.clip))
    scaled.unit.copy_(torch.from_numpy(person.scale.unit))
    return scaled


def slide(net: Lfads, person: Person, heard: F64, lag: int, hop_bins: int) -> F64:
    """LFADS over the last window, read ``lag`` bins before its end, one every ``hop_bins``.

    ``heard (bins, channels)`` microvolts of the device's chain, to activation of the same shape;
    NaN but for the bins that were read.
    """
    scaled, size = scaling(person), net.config.bins
    x = torch.from_numpy(heard.astype(np.float32))
    out = np.full(heard.shape, np.nan)
    if len(x) < size:
        return out
    windows = x.unfold(0, size, hop_bins).transpose(1, 2)
    at = hop_bins * np.arange(len(windows)) + size - 1 - lag
    with torch.inference_mode():
        said = [net(scaled(some)).activation[:, size - 1 - lag] for some in windows.split(256)]
    out[at] = torch.minimum(torch.cat(said), scaled.clip / scaled.unit).numpy()
    return out
