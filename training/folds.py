"""Who is held out when: participants divided into folds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Folds:
    """How people are divided, and how many folds are worked on at a time."""

    count: int = 16
    validation: int = 2  # people of the rest who may stop the fit, and set its standard deviations
    seed: int = 1
    workers: int = 1  # processes, by Ray when more than one
    only: tuple[int, ...] = ()  # these folds alone, for a look at the first; () = all

    def __post_init__(self) -> None:
        if self.count < 2 or self.validation < 0 or self.workers < 1:
            raise ValueError(
                f"folds need count >= 2, validation >= 0 and workers >= 1, not {self.count}, "
                f"{self.validation} and {self.workers}"
            )
        if wrong := [k for k in self.only if not 0 <= k < self.count]:
            raise ValueError(f"folds.only: there is no fold {wrong} of {self.count}")


@dataclass(frozen=True)
class Fold:
    """Participant numbers of one fold; nobody is in two of the three."""

    number: int
    train: tuple[int, ...]
    validate: tuple[int, ...]
    test: tuple[int, ...]


def folds(people: Sequence[int], f: Folds) -> list[Fold]:
    """Divide people at random, the same way every time.  Raises ValueError for too few.

    Everybody is held out once; validation people are those held out next, so that everybody
    validates about as often as anybody else.
    """
    who = np.random.default_rng(f.seed).permutation(np.unique(people))
    if len(who) < f.count or len(who) - -(-len(who) // f.count) - f.validation < 1:
        raise ValueError(
            f"{len(who)} people are too few for {f.count} folds with {f.validation} of the rest "
            "for validation"
        )
    parts = np.array_split(who, f.count)
    found = []
    for k, test in enumerate(parts):
        rest = np.concatenate([parts[(k + j) % f.count] for j in range(1, f.count)])
        validate, train = rest[: f.validation], rest[f.validation :]
        found.append(Fold(k, *(tuple(sorted(p.tolist())) for p in (train, validate, test))))
    return found
