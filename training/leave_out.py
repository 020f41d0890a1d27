"""What a network knows of a real leg: whole clips, and whole conditions, left out in turn.

``us_mg_dynamometer`` is one person, so this says how well the leg's owner is read on another
effort (a clip left out), or doing something never trained on (a condition left out, such as all
passive movements).  It says nothing about other people.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.baselines import picture_baseline
from training.frames import Clips
from training.metrics import Score, score

F64 = NDArray[np.float64]
Fit = Callable[[Clips, Clips], F64]  # train, test -> estimates (n, outputs) of the test frames


@dataclass(frozen=True)
class LeftOut:
    """Estimates of frames whose clip or condition was not trained on."""

    name: str  # of the clip or the condition
    frames: NDArray[np.intp]  # rows of the recordings
    values: F64  # (n, outputs)


def clips_out(clips: Clips) -> Iterator[tuple[str, list[int]]]:
    """Every clip by name, with its number."""
    for k, name in enumerate(clips.names):
        yield name, [k]


def conditions_out(clips: Clips) -> Iterator[tuple[str, list[int]]]:
    """Every condition by name, with the numbers of its clips."""
    for name in dict.fromkeys(clips.conditions):
        yield name, [k for k, c in enumerate(clips.conditions) if c == name]


def leave_out(clips: Clips, out: Sequence[tuple[str, list[int]]], fit: Fit) -> Iterator[LeftOut]:
    """Fit without each group in turn, and estimate it; one at a time, for it takes minutes."""
    for name, group in out:
        rest = [k for k in range(len(clips.names)) if k not in group]
        values = fit(clips.part(rest), clips.part(group))
        yield LeftOut(name, np.flatnonzero(np.isin(clips.clip, group)), values)


def pca_ridge(train: Clips, test: Clips) -> F64:
    """The linear model to beat: 80 principal components and ridge regression."""
    model = picture_baseline(train.images, train.targets, train.clip)
    return model(test.images.reshape(len(test.images), -1))


def pooled_scores(clips: Clips, found: Sequence[LeftOut], outputs: Sequence[str]) -> list[Score]:
    """One score per output over all frames that were left out, each by a fit without it."""
    rows = np.concatenate([f.frames for f in found])
    values = np.concatenate([f.values for f in found])
    return [score("all", o, values[:, k], clips.targets[rows, k]) for k, o in enumerate(outputs)]


def group_scores(clips: Clips, found: Sequence[LeftOut], outputs: Sequence[str]) -> list[Score]:
    """One score per group and output."""
    return [
        score(f.name, o, f.values[:, k], clips.targets[f.frames, k])
        for f in found
        for k, o in enumerate(outputs)
    ]
