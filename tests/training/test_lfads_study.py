"""Every method on the same bins, with a token network: complete, and judged alike."""

from dataclasses import replace

import pytest

from training import emg_recordings, lfads_study
from training.emg_recordings import recordings
from training.lfads_config import LfadsRun, token
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
