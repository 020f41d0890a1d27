"""One person's EMG on its way through LFADS: recordings to windows, windows to activation."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.lfads import Lfads, LfadsConfig
from training.checkpoint import weights
from training.emg import EmgChain, Scale
from training.emg_baselines import low_pass
from training.emg_checks import Finding, examine, passed, pattern, swapped
from training.emg_recordings import Recording
from training.emg_windows import Windows
from training.fit_lfads import EmgWindows, infer
from training.lfads_config import Data

F64 = NDArray[np.float64]
PATTERN_HZ = 5.0  # of the envelopes that recordings are compared by


@dataclass(frozen=True)
class Person:
    """Everything that one network is trained on.  ``bins`` are scaled, one array a recording."""

    name: str
    channels: tuple[str, ...]
    chain: EmgChain
    scale: Scale
    recordings: tuple[Recording, ...]
    bins: tuple[NDArray[np.float32], ...]
    warnings: tuple[Finding, ...]


def people(recordings: Sequence[Recording], data: Data) -> list[Person]:
    """Recordings by person, examined, filtered and scaled.

    Raises EmgUnfit for recordings that cannot be learned from, with every reason, and ValueError
    for recordings of one person that do not belong together.
    """
    names = list(dict.fromkeys(r.person for r in recordings))
    return [_person(n, [r for r in recordings if r.person == n], data) for n in names]


def windows_of(person: Person, how: Windows) -> EmgWindows:
    """Training and validation windows of all of a person's recordings.

    Raises ValueError when they are too short for both.
    """
    each = [how.lessons(x) for x in person.bins]
    train, validate = (np.concatenate(side) for side in zip(*each, strict=True))
    if not len(train) or not len(validate):
        need = how.stride * how.every * how.block + how.overlap
        raise ValueError(
            f"{person.name}: {len(train)} windows to learn from and {len(validate)} to validate: "
            f"record {need * 2 / 1000:.1f} s or more in one piece"
        )
    return EmgWindows(train, validate)


def activation(net: Lfads, person: Person, how: Windows) -> list[F64]:
    """What LFADS says of every recording, ``(bins, channels)`` in the network's scale.

    Never more than the EMG itself was clipped at: the exponential at the network's end has no
    bound of its own that is of use.
    """
    found = []
    for x in person.bins:
        windows = how.cut(x)
        said = infer(net, windows) if len(windows) else windows
        found.append(how.merge(np.minimum(said, person.scale.clip / person.scale.unit), len(x)))
    return found


def save_lfads(path: Path, net: Lfads, person: Person, more: dict[str, Any]) -> None:
    """Weights, sizes, scale and channels: everything that using the network takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "config": asdict(net.config),
            "weights": weights(net),
            "clip": torch.from_numpy(person.scale.clip),
            "unit": torch.from_numpy(person.scale.unit),
            "channels": list(person.channels),
            "chain": asdict(person.chain),
            **more,
        },
        path,
    )


def load_network(path: Path) -> tuple[Lfads, Scale, EmgChain, tuple[str, ...]]:
    """What ``save_lfads`` wrote; the network in eval mode.  Raises FileNotFoundError."""
    found = torch.load(path, map_location="cpu", weights_only=True)
    net = Lfads(LfadsConfig(**found["config"]))
    net.load_state_dict(found["weights"])
    scale = Scale(found["clip"].numpy(), found["unit"].numpy())
    chain = EmgChain(**{**found["chain"], "harmonics": tuple(found["chain"]["harmonics"])})
    return net.eval(), scale, chain, tuple(found["channels"])


def _person(name: str, recordings: Sequence[Recording], data: Data) -> Person:
    first = recordings[0]
    for r in recordings:
        if (r.channels, r.fs_hz) != (first.channels, first.fs_hz):
            raise ValueError(
                f"{r.name} has other channels or another rate than {first.name}: one network "
                "reads one set of electrodes; train them apart"
            )
    chain = EmgChain(first.fs_hz, data.mains_hz)
    found = [
        replace(f, remedy=f"{r.name}: {f.remedy}")
        for r in recordings
        for f in examine(r.emg_uv, r.fs_hz, r.channels, data.mains_hz)
    ]
    warnings = passed(found)
    bins = [chain.bins(r.emg_uv) for r in recordings]
    first_pattern, *others = (low_pass(x, PATTERN_HZ) for x in bins)
    for r, envelopes in zip(recordings[1:], others, strict=True):
        found = swapped(envelopes, pattern(first_pattern), r.channels)
        warnings += [replace(f, remedy=f"{r.name}: {f.remedy}") for f in found]
    scale = Scale.of(np.concatenate(bins), data.clip)
    return Person(
        name,
        first.channels,
        chain,
        scale,
        tuple(recordings),
        tuple(scale.apply(b) for b in bins),
        tuple(warnings),
    )
