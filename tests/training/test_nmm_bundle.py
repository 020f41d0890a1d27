"""From trainings with trials left out to a bundle; trials are short and networks tiny."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edge.estimate import Estimator, Sources
from edge.joint import Joint, Reading
from models.nmm import NmmConfig
from models.spec import ModelSpec
from training.card import Facts
from training.causal_trials import causal_trial
from training.metrics import Score
from training.nmm_asked import LATER, Asked, Line, truth
from training.nmm_bundle import (
    LEAST_PER_KG,
    OUTPUTS,
    REFERENCE,
    calibration,
    sds,
    weak,
    where_of,
    write_elbow,
)
from training.nmm_config import NmmRun
from training.nmm_folds import Fold, Outcome, folds, run_folds
from training.virtual_arm import trials_of
from training.virtual_measure import measure

FACTS = Facts("T", "purpose", "data", "split", "training", "baseline", "limits", "licence", "make")
RUN = NmmRun(NmmConfig(width=16, heads=2, blocks=1, hidden=16, window=64), epochs=1,
             first_guess=False)  # fmt: skip


def short(t, n=300):
    """The first ``n`` samples of a trial."""
    arrays = {k: v[:n] for k, v in vars(t).items() if isinstance(v, np.ndarray)}
    return replace(t, **arrays)


@pytest.fixture(scope="module")
def trials():
    return [short(t) for t in trials_of("V6") if t.load_kg < 4 and t.tempo_s < 2]


@pytest.fixture(scope="module")
def bundle(trials, tmp_path_factory):
    outcomes = run_folds(trials, RUN, workers=1)
    return write_elbow(tmp_path_factory.mktemp("b"), "elbow-nmm", outcomes, trials, FACTS)


def test_every_trial_is_held_out_once_while_its_load_and_tempo_stay():
    every = trials_of("V6")
    squares = [f for f in folds(every) if f.held and not f.away_kg]
    assert sorted(n for f in squares for n in f.held) == list(range(len(every)))
    for f in squares:
        rest = [t for n, t in enumerate(every) if n not in f.held]
        assert {t.load_kg for t in rest} == {0.0, 2.0, 4.0}
        assert {t.tempo_s for t in rest} == {t.tempo_s for t in every}


def test_every_load_is_held_out_once_and_the_last_fold_sees_all():
    every = trials_of("V6")
    found = folds(every)
    left = [f for f in found if f.away_kg]
    assert [{every[n].load_kg for n in f.held} for f in left] == [{0.0}, {2.0}, {4.0}]
    assert [f.away_kg for f in left] == [2.0, 2.0, 2.0]
    assert found[-1] == Fold("all", ())


def test_one_load_alone_cannot_be_left_out():
    with pytest.raises(ValueError, match="one load"):
        folds([t for t in trials_of("V6") if t.load_kg == 2])


def test_truth_is_the_simulation_at_the_times_of_the_measurement(trials):
    m = measure(trials[0])
    true = truth(trials[0], m)
    np.testing.assert_array_equal(true[:, 6], m.moment_nm)
    np.testing.assert_array_equal(true[:, 0], 100 * trials[0].activation[25:-25, 5])  # BRA
    k = round(np.corrcoef(m.raw_angle_rad, trials[0].angle_rad[25:-25])[0, 1], 3)
    assert k == 1


def test_a_line_finds_what_is_linear_and_copies_neighbours_where_no_electrode_is(trials):
    t = causal_trial(measure(trials[0]))
    rng = np.random.default_rng(0)
    envelope = np.clip(t.features @ rng.uniform(0, 0.02, (5, 6)) + 0.3, 0, 1)
    envelope = np.r_[envelope[LATER:], envelope[-LATER:]]  # EMG comes before
    envelope[:, [2, 5]] = np.nan  # TRImed, BRA
    said = Line([replace(t, envelope=envelope)])(t)[:-LATER]
    later = 100 * np.r_[envelope[:LATER], envelope][: len(said)]
    np.testing.assert_allclose(said[LATER:, 2], later[LATER:, 3], atol=0.1)  # BIClong
    np.testing.assert_allclose(said[:, 0], said[:, 2:4].mean(1))  # BRA
    np.testing.assert_allclose(said[:, 1], said[:, 5])  # TRImed


def outcome(load_kg, away_kg, off):
    """A fold whose network is off by ``off (7,)``, half the time up, half down."""
    true = np.zeros((1000, 7))
    said = np.where(np.arange(1000)[:, None] % 2, off, -np.asarray(off))
    return Outcome(Fold("f", (0,), away_kg), None, (Asked(load_kg, away_kg, said, said, true),))


def test_doubt_is_of_the_load_and_per_kilogram_the_most_that_a_left_out_load_added():
    light, heavy, left = np.arange(1.0, 8.0), 3 * np.arange(1.0, 8.0), 4.0 * np.arange(1.0, 8.0)
    left[3] = 0.5  # leaving the load out did not hurt
    every = [outcome(0.0, 0.0, light), outcome(4.0, 0.0, heavy), outcome(4.0, 2.0, left),
             outcome(0.0, 2.0, light)]  # fmt: skip
    base, per_kg = sds([a for o in every for a in o.asked])
    slope = np.sqrt(np.maximum(left**2 - heavy**2, 0)) / 2.0
    np.testing.assert_allclose(base, [light, heavy], rtol=1e-6)
    np.testing.assert_allclose(per_kg, np.maximum(slope, LEAST_PER_KG * heavy), rtol=1e-6)


def test_the_card_judges_an_sd_by_trials_that_it_was_not_made_from(trials):
    small, large = np.full(7, 1.0), np.full(7, 10.0)
    # Each load once: judged by itself, every error of a held-out trial would be its SD.
    held = [outcome(kg, 0.0, off) for kg in (0.0, 2.0) for off in (small, large)]
    every = [*held, outcome(0.0, 2.0, small), outcome(2.0, 2.0, small)]
    text = calibration(every, where_of([measure(t) for t in trials]))
    assert "50 % within one SD and 50 % within two on held-out trials" in text
    assert "100 % within one SD and 100 % within two on left-out loads" in text


def test_the_card_names_what_is_no_better_than_a_line_and_what_is_hardly_known():
    def table(*numbers):
        return [Score("all", name, 9, *n) for name, n in zip("abc", numbers, strict=True)]

    said = table((1.0, 0.9), (2.0, 0.8), (1.0, float("nan")))
    linear = table((1.5, 0.8), (2.0, 0.8), (1.5, float("nan")))
    assert weak(said, linear) == (
        "A linear map does as well on: b. Hardly anything is known (R2 < 0.5) of: c."
    )
    assert weak(said[:1], linear) == ""


def test_the_contract_names_what_goes_in_and_comes_out(bundle, trials):
    spec = bundle.spec
    assert spec == ModelSpec.from_json(spec.to_json())
    angle, load = spec.inputs
    assert (angle.source, angle.min, angle.max) == ("angle", -5.0, 135.0)
    assert (load.source, load.min, load.max) == ("load", 0.0, 3.0)  # 1 kg beyond the largest
    assert tuple(o.name for o in spec.outputs) == OUTPUTS
    assert {o.unit for o in spec.outputs[:-1]} == {"%"}
    torque = spec.outputs[-1]
    assert torque.min < -20 < 40 < torque.max
    greatest = max(np.abs(t.moment_nm).max() for t in trials)
    assert torque.max_sd == pytest.approx(0.25 * greatest, abs=0.1)
    assert (spec.driver, spec.period_ms, spec.wearer) == ("tick", 10.0, "")
    assert spec.settle_ms == 10 * (14 + 63)


def test_on_the_device_it_says_what_pytorch_said(bundle):
    with np.load(bundle.path / REFERENCE) as f:
        reference = dict(f)
    estimator = Estimator(bundle, Sources(angle=True, load=True))
    for k, (q, m) in enumerate(zip(reference["angle"], reference["load"], strict=True)):
        t_ns = int(k * 1e7)
        assert estimator.update(None, (), (), Joint(k, Reading(q, t_ns), Reading(m, t_ns)))
        np.testing.assert_allclose(estimator.values, reference["values"][k], rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(estimator.sd, reference["sd"][k], rtol=1e-4)
    estimator.close()


def test_the_card_says_how_good_it_is_and_whose_the_model_was(bundle):
    text = (bundle.path / "CARD.md").read_text()
    for part in ("load left out", "0 kg left out", "within one SD", "prepared"):
        assert (part in text) == (part != "prepared")  # there are no steps to list
    scores = json.loads((bundle.path / "metrics.json").read_text())
    assert {s["group"] for s in scores["network"]} == {
        "all", "0 kg", "2 kg", "load left out", "0 kg left out", "2 kg left out",
    }  # fmt: skip
