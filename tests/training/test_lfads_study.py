"""Every method on the same bins, with a token network: complete, and judged alike."""

from dataclasses import replace

import pytest

from training import emg_recordings, lfads_study
from training.distil import TwinFit
from training.emg_recordings import recordings
from training.lfads_config import LfadsRun
from training.lfads_study import study_bed, study_person, twin_names
from training.train_lfads_command import token

METHODS = {"low-pass 10 Hz", "causal low-pass 10 Hz", "bayes", "synergies", "lfads", *twin_names()}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(emg_recordings, "BED_SECONDS", 12.0)
    monkeypatch.setattr(emg_recordings, "BED_CHANNELS", 4)
    monkeypatch.setattr(lfads_study, "TWIN", TwinFit(epochs=2, batches=2, batch=4))
    monkeypatch.setattr(lfads_study, "FIRST_S", 2.0)


def run():
    one = token(LfadsRun())
    return replace(one, fit=replace(one.fit, epochs=2))


def test_a_test_bed_is_judged_by_its_truth():
    found = study_bed(recordings("bed:gait")[0], run(), lambda epoch: None)
    assert set(found) >= METHODS
    # A filter of the right width finds most of it; a token network does not.
    assert found["low-pass 10 Hz"] > 0.8
    assert found["bayes"] > 0.5
    assert found["low-pass 10 Hz"] > found["causal low-pass 10 Hz"]


def test_a_person_is_judged_by_what_can_be_decoded():
    rows = study_person(recordings("bed:gait"), run(), lambda epoch: None)
    assert len(rows) == 4
    for row in rows:
        assert set(row) >= METHODS
        assert row["low-pass 10 Hz"] <= 1
