"""The population on Ray: each member's generation is one task.  See ``training.pbt``.

Tasks of Ray itself, not trials of Ray Tune: its scheduler lets members meet before the last of them
has begun when there are fewer workers than members, and was seen to wait for ever after a worker
had died.  A task that dies is begun again by Ray; what is done is on disk after every task.
"""

import json
import math
import os
import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch

from models.lfads import Lfads, LfadsConfig
from training.crossval import claim
from training.crossval_results import write_json
from training.fit_lfads import EmgWindows, Hyper, LfadsFit, LfadsTraining, digest
from training.pbt import (
    METRIC,
    Found,
    Search,
    best_of,
    environment,
    explored,
    first_population,
    pairs,
    settings_of,
    stands_still,
)

LIVES = 3  # times that a member's generation is begun again after its process died
Row = dict[str, float]
Report = Callable[[Row], None]


def run(
    data: EmgWindows,
    config: LfadsConfig,
    fit: LfadsFit,
    search: Search,
    folder: Path,
    workers: int,
    address: str | None,
    report: Report,
) -> Found:
    """See ``training.pbt.search_lfads``."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"model": asdict(config), "fit": asdict(fit), "search": asdict(search)}
    key = settings | {"windows": digest(data)}
    claim(folder / "key.json", dict(json.loads(json.dumps(key))))
    where: dict[str, Any] = {"address": address} if address else {"num_cpus": workers}
    ray.init(
        **where,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": environment()},
    )
    try:
        gpus = 0.5 if fit.device == "cuda" else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=LIVES)(generation)
        shared = ray.put((data, config, fit, search))
        population = _Population(folder, task, shared, report, workers)
        begins = {m: Begin(row, m) for m, row in enumerate(first_population(search, fit.hyper))}
        history: list[Row] = []
        for number in range(1, search.generations + 1):
            rows = population.live(number, begins)
            history += rows
            if stands_still(best_of(history)):
                break
            begins = met(rows, number, search)
        best, last = min(rows, key=lambda row: row[METRIC]), number
        if search.settle:
            winner = int(best["member"])
            (settled,) = population.live(
                number + 1, {winner: Begin(settings_of(best), winner)}, True
            )
            history.append(settled)
            if settled[METRIC] < best[METRIC]:
                best, last = settled, number + 1
        found = torch.load(
            _file(folder, last, int(best["member"])), map_location="cpu", weights_only=True
        )
        net = Lfads(config)
        net.load_state_dict(found["net"])
        return Found(net.eval(), Hyper(**settings_of(best)), best[METRIC], history)
    finally:
        ray.shutdown()


class Begin(NamedTuple):
    """Where a member's next generation begins."""

    settings: Row
    source: int  # whose last weights and optimiser it goes on from


def met(rows: list[Row], number: int, search: Search) -> dict[int, Begin]:
    """Where every member begins the next generation, after they met in pairs.

    Decided by the search's seed and the generation's number alone, so a search that was killed
    goes on as it would have.
    """
    rng = random.Random(f"{search.seed} generation {number}")
    by_member = {int(row["member"]): row for row in rows}
    begins = {m: Begin(settings_of(row), m) for m, row in by_member.items()}
    for pair in pairs(range(search.members), rng):
        winner, loser = sorted(pair, key=lambda m: by_member[m][METRIC])
        begins[loser] = Begin(explored(begins[winner].settings, rng), winner)
    return begins


def generation(
    shared: tuple[EmgWindows, LfadsConfig, LfadsFit, Search],
    member: int,
    number: int,
    settings: Row,
    before: bytes | None,
    settle: bool,
) -> tuple[Row, bytes]:
    """A member's next epochs, from the state ``before``: its scores and settings, and its state.

    The first generation also burns in; to ``settle``, the rate falls to nothing.
    """
    data, config, fit, search = shared
    run = LfadsTraining(data, config, replace(fit, seed=fit.seed + member), schedule=False)
    hyper = Hyper(**settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "member.pt"
        if before is not None:
            path.write_bytes(before)
            # Another member's has another seed in its key: what it learned is what counts.
            run.state.key = json.loads(torch.load(path, weights_only=True)["key"])
            run.state.resume(path)
        usual = search.generation + (0 if run.epochs else search.burn_in)
        epochs = search.settle if settle else usual
        for k in range(epochs):
            run.set_rate(hyper.rate * (1 - k / epochs if settle else 1))
            now = run.epoch(hyper)
        run.state.save(path)
        scores = {k: _worst(v) for k, v in now._asdict().items() if k != "number"}
        return {"generation": number, "member": member, **scores, **settings}, path.read_bytes()


def _worst(score: float) -> float:
    """What is no number any more loses against everybody."""
    return float(score) if math.isfinite(score) else math.inf


@dataclass(frozen=True)
class _Population:
    """Runs generations on the cluster; what is on disk already is not done again."""

    folder: Path
    task: Any
    shared: Any
    report: Report
    workers: int  # members at once

    def live(self, number: int, begins: Mapping[int, Begin], settle: bool = False) -> list[Row]:
        """A generation of the members that begin it: their rows."""
        waiting: dict[Any, int] = {}
        to_do = [
            m for m in begins if not _file(self.folder, number, m).with_suffix(".json").exists()
        ]
        while to_do or waiting:
            while to_do and len(waiting) < self.workers:
                begin = begins[member := to_do.pop(0)]
                last = _file(self.folder, number - 1, begin.source)
                before = last.read_bytes() if number > 1 else None
                job = self.task.remote(self.shared, member, number, begin.settings, before, settle)
                waiting[job] = member
            (job,), _ = ray.wait(list(waiting))
            row, state = ray.get(job)
            path = _file(self.folder, number, waiting.pop(job))
            path.parent.mkdir(exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(state)
            os.replace(part, path)
            write_json(path.with_suffix(".json"), row)  # last: with its row a member is done
            self.report(row)
        # Those of the generation before last are nobody's source any more.
        for old in (self.folder / f"generation_{number - 2:03d}").glob("*.pt"):
            old.unlink()
        paths = (_file(self.folder, number, m).with_suffix(".json") for m in begins)
        return [dict(json.loads(p.read_text("utf-8"))) for p in paths]


def _file(folder: Path, number: int, member: int) -> Path:
    return folder / f"generation_{number:03d}" / f"member_{member:02d}.pt"
