"""Population-based training: its rules, and that it survives what kills its workers."""

import math
import os
import random
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from models.lfads import LfadsConfig
from training import pbt
from training.fit_lfads import EmgWindows, Hyper, LfadsFit
from training.pbt import (
    RANGES,
    Search,
    best_of,
    draw_schedules,
    explored,
    first_settings,
    pairs,
    search_lfads,
    stands_still,
)

pbt_ray = pytest.importorskip("training.pbt_ray")
generation, met = pbt_ray.generation, pbt_ray.met

ROOT = Path(__file__).parents[2]
CONFIG = LfadsConfig(4, bins=10, ic_enc=6, ci_enc=6, con=5, co=1, ic=4, gen=8, factors=2)
SEARCH = Search(members=4, generation=10, burn_in=2, generations=3, settle=5)
PAIR = Search(members=2, generation=1, burn_in=0, generations=3, settle=0)
FIT = LfadsFit(batch=16, batches=4)
USUAL = Hyper(rate=1e-3)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    phase = rng.uniform(0, 6, (96, 1, 1))
    truth = 1.1 + np.sin(np.arange(10)[None, :, None] * 0.6 + phase + np.arange(4))
    x = rng.gamma(2.0, truth / 2).astype(np.float32)
    return EmgWindows(x[:64], x[64:])


def test_members_begin_everywhere_in_the_ranges_and_the_first_where_a_single_run_does():
    drawn = [first_settings(m, Search(members=200), USUAL) for m in range(200)]
    assert drawn[0] == USUAL
    for name, r in RANGES.items():
        values = np.array([getattr(h, name) for h in drawn[1:]])
        assert ((values >= r.low) & (values <= r.high)).all()
        wide = r.low > 0 and r.high / r.low > 100
        middle = (r.low * r.high) ** 0.5 if wide else (r.low + r.high) / 2
        assert 0.35 < np.mean(values < middle) < 0.65
    assert first_settings(3, SEARCH, USUAL) == first_settings(3, SEARCH, USUAL)


def test_a_loser_changes_every_setting_a_little_and_stays_in_bounds():
    rng = random.Random(1)
    edge = {k: r.high for k, r in RANGES.items()}
    for _ in range(200):
        found = explored(edge, rng)
        for name, r in RANGES.items():
            change = abs(found[name] / edge[name] - 1)
            assert change <= r.weight + 1e-9
            assert found[name] <= r.high or not r.enforced
            assert found[name] != edge[name]
    assert any(explored(edge, rng)["kl_ic"] > RANGES["kl_ic"].high for _ in range(20))


def test_nothing_becomes_negative_and_zero_stays_zero():
    found = explored({**{k: r.low for k, r in RANGES.items()}, "dropout": 0.0}, random.Random(2))
    assert found["dropout"] == 0.0
    assert min(found.values()) >= 0


def test_everybody_meets_one_other():
    met = pairs(range(8), random.Random(1))
    assert sorted(m for pair in met for m in pair) == list(range(8))
    assert pairs(range(8), random.Random(1)) == met != pairs(range(8), random.Random(2))


def test_a_member_that_is_no_number_any_more_loses(data):
    wild = replace(FIT, clip=1e30)
    search = replace(PAIR, generation=6)
    settings = asdict(Hyper(rate=1e20))
    row, _ = generation((data, CONFIG, wild, search), 0, 1, settings, None, False)
    assert row["smooth"] == math.inf
    other = {**row, "member": 1, "smooth": 5.0}
    begins = met([row, other], 1, PAIR)
    assert begins[0].source == begins[1].source == 1


def test_it_ends_when_four_generations_gain_nothing():
    assert not stands_still([1.0, 0.9, 0.8, 0.7])
    assert not stands_still([1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    assert stands_still([1.0, 0.5, 0.5, 0.5, 0.5, 0.4999])
    assert stands_still([-1.0, -2.0, -2.0, -1.9, -1.8, -2.0])


@pytest.mark.parametrize("wrong", [{"members": 3}, {"members": 0}, {"generation": 0}])
def test_a_population_that_cannot_meet_is_refused(wrong):
    with pytest.raises(ValueError, match="search"):
        Search(**wrong)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_population_learns_and_a_killed_worker_does_not_stop_it(data, tmp_path):
    """One worker's process is killed from outside, as the kernel does when memory runs out."""
    victims, heard = [], []

    def kill_once(row):
        heard.append(row)
        if not victims and row["generation"] == 1:
            victims.extend(_workers()[:1])
            for pid in victims:
                os.kill(pid, signal.SIGKILL)

    found = search_lfads(data, CONFIG, FIT, SEARCH, tmp_path, workers=2, report=kill_once)
    assert victims
    # Everybody's generation before anybody's next, though two workers cannot hold four members.
    order = [r["generation"] for r in heard]
    assert order == sorted(order)
    generations = {(r["member"], r["generation"]) for r in found.history}
    assert {m for m, _ in generations} == {0, 1, 2, 3}
    *last, settled = sorted(found.history, key=lambda r: r["generation"])
    assert (last[-1]["generation"], settled["generation"]) == (3, 4)
    best = best_of(last)
    assert best[-1] < best[0]
    assert found.score == min(best[-1], settled["smooth"])
    assert not found.net.training
    changed = {r["rate"] for r in last if r["generation"] == 3}
    first = {first_settings(m, SEARCH, FIT.hyper).rate for m in range(4)}
    assert changed - first  # somebody explored
    draw_schedules(found.history, tmp_path / "schedules.png")
    assert (tmp_path / "schedules.png").read_bytes().startswith(b"\x89PNG")
    # Asked again, it has nothing left to do; with other settings it is another search.
    again = search_lfads(data, CONFIG, FIT, SEARCH, tmp_path, workers=2)
    assert again.score == pytest.approx(found.score)
    with pytest.raises(ValueError, match="another search"):
        search_lfads(data, CONFIG, FIT, replace(SEARCH, seed=2), tmp_path, workers=2)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_driver_goes_on_with_the_generations_that_it_has(data, tmp_path):
    """The whole program dies between two generations; asked again, it begins none of them anew."""
    np.savez(tmp_path / "data.npz", train=data.train, validate=data.validate)
    folder = tmp_path / "search"
    first = subprocess.run(
        [sys.executable, "-c", DIES, str(tmp_path / "data.npz"), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert first.returncode == 9, first.stderr
    heard = []
    found = search_lfads(data, CONFIG, FIT, PAIR, folder, workers=2, report=heard.append)
    assert {r["generation"] for r in found.history} == {1, 2, 3}
    assert 1 not in {r["generation"] for r in heard}


DIES = """
import os, sys, numpy as np
from tests.training.test_pbt import CONFIG, FIT, PAIR
from training.fit_lfads import EmgWindows
from training.pbt import search_lfads
with np.load(sys.argv[1]) as f:
    data = EmgWindows(f["train"], f["validate"])
seen = []
def die(row):
    seen.append(row)
    if row["generation"] == 2:
        os._exit(9)
from pathlib import Path
search_lfads(data, CONFIG, FIT, PAIR, Path(sys.argv[2]), workers=2, report=die)
"""


def test_data_that_cannot_be_fitted_are_refused_before_any_worker_starts(data, tmp_path):
    bad = EmgWindows(data.train - 5, data.validate)
    with pytest.raises(ValueError, match="zero or more"):
        search_lfads(bad, CONFIG, FIT, SEARCH, tmp_path)


def test_the_settings_searched_are_those_of_the_loss():
    assert set(RANGES) == set(asdict(Hyper()))
    assert pbt.METRIC == "smooth"


def _workers():
    import psutil

    children = psutil.Process().children(recursive=True)
    return [p.pid for p in children if "generation" in " ".join(p.cmdline())]
