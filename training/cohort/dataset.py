"""The simulated cohort as arrays, generated in parallel and kept.

Everybody is generated alone, so nobody's frames depend on who else is asked for or on how many
processes work; a person once generated is read from the folder ``cache``.
Simulated: every figure obtained on these arrays is one about the simulation.
"""

import functools
import hashlib
import json
import multiprocessing
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

import edge.filters
import models.calf
import models.muscle
from training.cohort.participant import COHORT_SEED
from training.cohort.person import SESSION_S, Cohort, Order, generate

GENERATOR = 1  # raise it for a change that the sources below do not show, such as another NumPy
SOURCES = (edge.filters.__file__, models.calf.__file__, models.muscle.__file__)


def cohort(
    people: Sequence[int],
    frames: int = 400,
    seed: int = COHORT_SEED,
    cache: Path | None = None,
    workers: int | None = None,
    seconds: float = SESSION_S,
) -> Cohort:
    """Sessions of ``seconds``, ``frames`` pictures each, of the participants numbered ``people``.

    In order of ``people``.  ``workers`` processes, None: as many as there are cores; 1 works in
    this process.  Raises ValueError for people asked for twice, for nobody, and for a kept file
    that cannot be read; RuntimeError when a process dies.
    """
    orders = [Order(int(n), seed, frames, seconds, routine=False) for n in people]
    return _gather(orders, cache, workers)


def routine_cohort(
    people: Sequence[int],
    frames: int = 200,
    seed: int = COHORT_SEED,
    cache: Path | None = None,
    workers: int | None = None,
    seconds: float = SESSION_S,
) -> Cohort:
    """As ``cohort``, of the two-minute calibration routine of the same people.

    ``seconds`` is how long the session is that says how much EMG is 1.
    """
    orders = [Order(int(n), seed, frames, seconds, routine=True) for n in people]
    return _gather(orders, cache, workers)


def cache_file(order: Order, folder: Path) -> Path:
    """Where ``order`` is kept; another generator, by its sources, is another file."""
    what = json.dumps([generator_version(), asdict(order)])
    key = hashlib.sha256(what.encode()).hexdigest()[:16]
    kind = "routine" if order.routine else "session"
    return folder / f"{kind}-{order.number:03d}-{key}.npz"


@functools.cache
def generator_version() -> str:
    """Digest of everything that decides what a simulated person looks like."""
    digest = hashlib.sha256(str(GENERATOR).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")) + [Path(s) for s in SOURCES]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _gather(orders: Sequence[Order], cache: Path | None, workers: int | None) -> Cohort:
    numbers = [o.number for o in orders]
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"participants {numbers}: ask for somebody, and for nobody twice")
    kept: dict[Order, Path] = {}
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        kept = {o: cache_file(o, cache) for o in orders}
    people = {o: _load(path) for o, path in kept.items() if path.exists()}
    missing = [o for o in orders if o not in people]
    with _mapper(min(workers or os.cpu_count() or 1, len(missing))) as apply:
        made = track(
            apply(generate, missing),
            "simulated people",
            len(missing),
            console=Console(stderr=True),
            transient=True,
            disable=not missing,
        )
        for order, one in zip(missing, made, strict=True):
            people[order] = one
            if order in kept:
                _save(one, kept[order])
    parts = [people[o] for o in orders]
    return Cohort(
        **{f.name: np.concatenate([getattr(c, f.name) for c in parts]) for f in fields(Cohort)}
    )


Mapper = Callable[[Callable[[Order], Cohort], Sequence[Order]], Iterable[Cohort]]


@contextmanager
def _mapper(workers: int) -> Iterator[Mapper]:
    """``map`` in this process, or in ``workers`` fresh ones."""
    if workers <= 1:
        yield map
        return
    # Spawned, not forked: a fork copies the locks of torch's threads but not the threads.
    fresh = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, fresh, torch.set_num_threads, (1,)) as pool:
            yield pool.map
    except BrokenProcessPool as e:
        raise RuntimeError(
            "a process that generates simulated people died: memory ran out, or the script that "
            'asked does not guard its own start with if __name__ == "__main__"; '
            "workers=1 needs no other process"
        ) from e


def _save(one: Cohort, path: Path) -> None:
    """Complete or not at all: a killed run leaves no half file under the name of a whole one."""
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as f:
        np.savez(f, **{f.name: getattr(one, f.name) for f in fields(Cohort)})
    part.replace(path)


def _load(path: Path) -> Cohort:
    try:
        with path.open("rb") as f, np.load(f, allow_pickle=False) as arrays:
            return Cohort(**{f.name: arrays[f.name] for f in fields(Cohort)})
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as e:
        raise ValueError(f"{path} is no simulated participant ({e}): delete it, run again") from e
