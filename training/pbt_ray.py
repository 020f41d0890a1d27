"""The population on Ray Tune: its workers, its tournament, its end.  See ``training.pbt``."""

import json
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

from models.lfads import Lfads, LfadsConfig
from training.crossval import claim
from training.fit_lfads import EmgWindows, Hyper, LfadsFit, LfadsTraining
from training.pbt import (
    GENERATION,
    METRIC,
    STATE,
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

LIVES = 3  # deaths of one worker's process before the search gives up
NAME = "population"


class Member(tune.Trainable):
    """One network of the population; a step is a generation."""

    def setup(
        self,
        config: dict[str, Any],
        data: EmgWindows | None = None,
        model: LfadsConfig | None = None,
        fit: LfadsFit | None = None,
        search: Search | None = None,
    ) -> None:
        """Ray calls it, with what ``with_parameters`` was given."""
        assert data is not None
        assert model is not None
        assert fit is not None
        assert search is not None
        self.search = search
        seed = fit.seed + int(config["member"])
        self.run = LfadsTraining(data, model, replace(fit, seed=seed), schedule=False)
        self.hyper = Hyper(**settings_of(config))

    def step(self) -> dict[str, Any]:
        """A generation; the first also burns in."""
        self.run.set_rate(self.hyper.rate)
        first = 0 if self.run.epochs else self.search.burn_in
        for _ in range(first + self.search.generation):
            now = self.run.epoch(self.hyper)
        return {**now._asdict(), **asdict(self.hyper), "member": self.config["member"]}

    def save_checkpoint(self, folder: str) -> None:
        """Everything the next generation depends on."""
        self.run.state.save(Path(folder) / STATE)

    def load_checkpoint(self, folder: Any) -> None:
        """One's own last generation, or the winner's.  Raises ValueError for another search's."""
        # The winner has another seed, and so another key: what it learned is what counts.
        key, self.run.state.key = self.run.state.key, _key(Path(folder) / STATE)
        try:
            self.run.state.resume(Path(folder) / STATE)
        finally:
            self.run.state.key = key

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Other settings for the same process: nothing is loaded again."""
        self.hyper = Hyper(**settings_of(new_config))
        return True


class Tournament(PopulationBasedTraining):
    """Binary and synchronous: who loses in a pair becomes the winner, and explores.

    Ray's own scheduler copies from a random member of the best quarter; what it calls quantiles
    are here the winners and losers of this generation's pairs.
    """

    def __init__(self, seed: int):
        super().__init__(
            time_attr=GENERATION,
            metric=METRIC,
            mode="min",
            perturbation_interval=1,
            # Unused, and asked for: exploring is ours.
            hyperparam_mutations={"rate": tune.uniform(0.0, 1.0)},
            synch=True,
        )
        self._rng = random.Random(seed)
        self._winner: dict[Any, Any] = {}

    def _quantiles(self) -> tuple[list[Any], list[Any]]:
        scores = {t: s.last_score for t, s in self._trial_state.items() if not t.is_finished()}
        met = pairs([t for t, score in scores.items() if score is not None], self._rng)
        ranked = [sorted(pair, key=lambda t: scores[t]) for pair in met]  # Ray turns scores: up
        self._winner = dict(ranked)
        return list(self._winner), list(self._winner.values())

    def _checkpoint_or_exploit(
        self, trial: Any, controller: Any, upper: list[Any], lower: list[Any]
    ) -> None:
        if trial in lower:
            upper = [self._winner[trial]]
        super()._checkpoint_or_exploit(trial, controller, upper, lower)

    def _get_new_config(self, trial: Any, winner: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        found = explored(settings_of(winner.config), self._rng)
        return {**found, "member": trial.config["member"]}, {}


class Ending(tune.Stopper):
    """Ends everybody when the best score stands still, or after so many generations."""

    def __init__(self, search: Search):
        self.search = search
        self.history: list[dict[str, float]] = []

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this member has had all its generations."""
        self.history.append(row_of(result))
        return int(result[GENERATION]) >= self.search.generations

    def stop_all(self) -> bool:
        """Only whole generations count: what is still running may be better."""
        last = best_of(self.history)
        whole = sum(row["generation"] == len(last) for row in self.history) >= self.search.members
        return whole and stands_still(last)


class Told(tune.Callback):
    """Passes every member's every generation on."""

    def __init__(self, report: Callable[[dict[str, float]], None]):
        self.report = report

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
    ) -> None:
        """Ray calls it."""
        self.report(row_of(result))


def row_of(result: dict[str, Any]) -> dict[str, float]:
    """What is kept of a generation."""
    row = {k: float(result[k]) for k in ("member", "train", "validation", METRIC)}
    return {"generation": float(result[GENERATION]), **row, **settings_of(result)}


def run(
    data: EmgWindows,
    config: LfadsConfig,
    fit: LfadsFit,
    search: Search,
    folder: Path,
    workers: int,
    address: str | None,
    report: Callable[[dict[str, float]], None],
) -> Found:
    """See ``training.pbt.search_lfads``."""
    folder.mkdir(parents=True, exist_ok=True)
    key = {"model": asdict(config), "fit": asdict(fit), "search": asdict(search)}
    claim(folder / "key.json", dict(json.loads(json.dumps(key))))
    where: dict[str, Any] = {"address": address} if address else {"num_cpus": workers}
    ray.init(
        **where,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": environment()},
    )
    try:
        member = tune.with_resources(
            tune.with_parameters(Member, data=data, model=config, fit=fit, search=search),
            {"CPU": 1, **({"GPU": 0.5} if fit.device == "cuda" else {})},
        )
        tuner = _tuner(member, search, folder, workers, report)
        results = tuner.fit()
        if results.errors:
            raise RuntimeError(f"a member of the population died for good: {results.errors[0]}")
        history = [row_of(row) for r in results for row in r.metrics_dataframe.to_dict("records")]
        best = results.get_best_result(METRIC, "min")
        net = Lfads(config)
        with best.checkpoint.as_directory() as kept:
            found = torch.load(Path(kept) / STATE, map_location="cpu", weights_only=True)
        net.load_state_dict(found["net"])
        return Found(
            net.eval(), Hyper(**settings_of(best.metrics)), float(best.metrics[METRIC]), history
        )
    finally:
        ray.shutdown()


def _tuner(
    member: Any,
    search: Search,
    folder: Path,
    workers: int,
    report: Callable[[dict[str, float]], None],
) -> Any:
    if tune.Tuner.can_restore(str(folder / NAME)):
        return tune.Tuner.restore(
            str(folder / NAME), member, resume_unfinished=True, restart_errored=False,
            resume_errored=True,
        )  # fmt: skip
    return tune.Tuner(
        member,
        param_space=_space(first_population(search)),
        tune_config=tune.TuneConfig(
            scheduler=Tournament(search.seed), reuse_actors=True, max_concurrent_trials=workers
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=str(folder),
            stop=Ending(search),
            callbacks=[Told(report)],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=LIVES),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=4, checkpoint_frequency=1),
        ),
    )


def _space(population: list[dict[str, float]]) -> dict[str, Any]:
    """Every member once, each with its own first settings."""

    def first(name: str) -> Callable[[Any], float]:
        return lambda config: population[config["member"]][name]

    drawn = {name: tune.sample_from(first(name)) for name in population[0]}
    return {"member": tune.grid_search(list(range(len(population)))), **drawn}


def _key(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(torch.load(path, weights_only=True)["key"])
    return found
