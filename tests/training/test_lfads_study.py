"""Every method on the same bins, with a token network: complete, and judged alike."""

from dataclasses import replace

import numpy as np
import pytest

from training import emg_recordings, lfads_study
from training.emg_baselines import Bayes
from training.emg_decoding import LEARNED, Decoded
from training.emg_recordings import recordings
from training.lfads_config import LfadsRun, token
from training.lfads_person import people
from training.lfads_streams import FIRST_HALF, SECOND_HALF
from training.lfads_study import study, twin_names

METHODS = {"low-pass 10 Hz", "causal low-pass 10 Hz", "bayes", "synergies", "lfads", *twin_names()}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(emg_recordings, "BED_SECONDS", 12.0)
    monkeypatch.setattr(emg_recordings, "BED_CHANNELS", 4)
    monkeypatch.setattr(lfads_study, "FIRST_S", 2.0)


def run():
    return token(LfadsRun())


def test_a_test_bed_is_judged_by_its_truth():
    (found,) = study(recordings("bed:gait"), run(), lambda epoch: None).rows
    assert set(found) >= METHODS | {f"window {lag} ms" for lag in (0, 10, 20, 50)}
    # A filter of the right width finds most of it; a token network does not.
    assert found["low-pass 10 Hz"] > 0.8
    assert found["bayes"] > 0.5
    assert found["low-pass 10 Hz"] > found["causal low-pass 10 Hz"]


def test_a_person_is_judged_by_what_can_be_decoded():
    (bed,) = recordings("bed:gait")
    targets = {"m01": bed.targets["m01"], "m02": bed.targets["m02"]}
    real = replace(bed, simulated=False, targets=targets)
    rows = study([real, replace(real, name="again")], run(), lambda epoch: None).rows
    assert [row["recording"] for row in rows] == [bed.name] * 2 + ["again"] * 2
    for row in rows:
        assert set(row) >= METHODS
        assert row["low-pass 10 Hz"] <= 1


def test_a_twin_is_judged_on_the_half_that_did_not_teach_it(monkeypatch):
    """Twins that say who taught them: 1 the first half, 2 the second."""
    judged = []

    def follow(part, bins):
        tag = {FIRST_HALF: 1.0, SECOND_HALF: 2.0}[part]
        return np.full((len(bins), len(list(twin_names())), bins.shape[1]), tag)

    def decode(activation, target, valid):
        judged.append(activation)
        return Decoded(0.0, 0.0, 0)

    monkeypatch.setattr(lfads_study, "teach", lambda taught, person, fit, part: part)
    monkeypatch.setattr(lfads_study, "follow", follow)
    monkeypatch.setattr(lfads_study, "bayes_grid", lambda score: Bayes())
    monkeypatch.setattr(lfads_study, "decode", decode)
    (bed,) = recordings("bed:gait")
    real = replace(bed, simulated=False, targets={"m01": bed.targets["m01"]})
    study([real], run(), lambda epoch: None)
    twins = [a for a in judged if set(np.unique(a[np.isfinite(a)])) <= {1.0, 2.0}]
    assert len(twins) == len(list(twin_names()))
    for a in twins:
        middle = len(bed.targets["m01"]) // 2
        assert np.nanmin(a[:middle]) == 2.0
        assert np.nanmax(a[middle:]) == 1.0


def test_what_is_judged_of_a_bed_has_taught_nobody(monkeypatch):
    seen = []

    def people_seen(given, data):
        seen.extend(given)
        return people(given, data)

    monkeypatch.setattr(lfads_study, "people", people_seen)
    (bed,) = recordings("bed:gait")
    study([bed], run(), lambda epoch: None)
    (early,) = seen
    cut = int(LEARNED * len(bed.targets["m01"]))
    assert len(early.emg_uv) == cut * 4
    assert {len(v) for v in early.targets.values()} == {cut}
