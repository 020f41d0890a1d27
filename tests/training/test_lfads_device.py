"""A person's LFADS on the device: the bundle says, sample by sample, what its twin says."""

from dataclasses import replace

import numpy as np
import pytest

from edge.bundle import CARD, load_bundle
from edge.estimate import Estimator, Sources
from firmware_bridge.types import Chunk
from models.streaming import LAGS
from training import emg_recordings
from training.distil import aligned, follow
from training.emg_recordings import bed_recording
from training.emg_windows import Windows
from training.fit_lfads import fit_lfads
from training.lfads_config import Data, Device, LfadsRun, token
from training.lfads_device import write_device
from training.lfads_person import people, windows_of
from training.lfads_streams import lessons, slide, teach

HOP = 40  # samples that arrive at once: 20 ms at 2000 Hz


def fit(run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emg_recordings, "BED_CHANNELS", 3)
        recording = bed_recording("bed:gait", 1, 8.0)
    (person,) = people([recording], run.data)
    config = run.model.config(3, run.windows.bins)
    net, _ = fit_lfads(windows_of(person, run.windows), config, run.fit)
    return net, person, run


@pytest.fixture(scope="module")
def fitted():
    return fit(token(LfadsRun()))


def on_the_device(bundle, recording):
    """Values after every chunk, and the time that they are of, in samples."""
    e = Estimator(bundle, Sources(None, recording.fs_hz, recording.channels))
    emg = recording.emg_uv.astype(np.float32)
    ns = 1e9 / recording.fs_hz
    values, t = [], []
    for start in range(0, len(emg) - HOP, HOP):
        chunk = Chunk(int((start + HOP) * ns), start, recording.fs_hz, emg[start : start + HOP])
        e.update(None, (), e.hear(chunk))
        values.append(e.values.copy())
        t.append(e.t_ns / ns)
    return np.array(values), np.array(t), e


def test_a_twin_says_on_the_device_what_it_says_at_the_desk(fitted, tmp_path):
    net, person, run = fitted
    (recording,) = person.recordings
    bundle = write_device(tmp_path, net, person, run)
    assert load_bundle(str(tmp_path)).id == bundle.id
    values, t, e = on_the_device(bundle, recording)
    taught = lessons(net, person, run.windows)
    said = follow(teach(taught, person, run.twin), taught[0].bins)
    every = HOP // person.chain.hop
    np.testing.assert_allclose(values, said[every - 1 :: every][: len(values), 2], atol=1e-5)
    # 20 ms before the newest sample; and later bins, as the twin foresees them.
    np.testing.assert_allclose(t, HOP * np.arange(1, len(t) + 1) - 40, atol=1)
    assert bundle.spec.ahead_ms == (10, 20, 30, 40, 50, 60, 70)
    newest = said[every * len(values) - 1]
    np.testing.assert_allclose(e.ahead[:3], newest[[1, 0, 4]], atol=1e-5)


def test_a_window_says_on_the_device_what_lfads_says_of_it(tmp_path):
    short = replace(token(LfadsRun()), windows=Windows(bins=20, overlap=5))
    net, person, run = fit(replace(short, device=Device("window", lag_ms=16.0)))
    (recording,) = person.recordings
    bundle = write_device(tmp_path, net, person, run)
    values, _, _ = on_the_device(bundle, recording)
    heard = person.chain.bins(recording.emg_uv, "device")
    said = slide(net, person, heard, lag=8, hop_bins=5)
    ends = HOP // person.chain.hop * np.arange(1, len(values) + 1) - 1
    known = np.isfinite(said[ends - 8]).all(1)
    assert known.sum() > 100
    np.testing.assert_allclose(values[known], said[ends - 8][known], atol=1e-4)
    assert bundle.spec.delay_ms == 16


def test_the_card_judges_what_taught_nothing(fitted, tmp_path):
    net, person, run = fitted
    write_device(tmp_path / "own", net, person, run, "mine", about={"licence": "my own"})
    text = (tmp_path / "own" / CARD).read_text()
    assert "SIMULATED" in text
    assert "on the second half" in text
    assert "my own" in text
    (recording,) = person.recordings
    other = replace(recording, name="later")
    held = replace(person, recordings=(other,))
    bundle = write_device(tmp_path / "held", net, person, run, held=held)
    assert "| later |" in (bundle.path / CARD).read_text()


@pytest.mark.parametrize(
    ("wrong", "says"), [({"kind": "cnn"}, "kind"), ({"lag_ms": 7.0}, "lag_ms must be one of")]
)
def test_what_no_device_runs_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        Device(**wrong)


def test_exchanged_cables_between_two_recordings_are_named(fitted):
    _, person, _ = fitted
    (recording,) = person.recordings
    other = replace(recording, name="later", emg_uv=recording.emg_uv[:, [1, 0, 2]])
    (both,) = people([recording, other], Data())
    assert any(f.kind == "swapped" and "later" in f.remedy for f in both.warnings)
    (same,) = people([recording, replace(recording, name="later")], Data())
    assert not any(f.kind == "swapped" for f in same.warnings)


def test_what_was_said_is_judged_only_where_it_was_said(fitted):
    net, person, run = fitted
    taught = lessons(net, person, run.windows)
    said = aligned(follow(teach(taught, person, run.twin), taught[0].bins), 2)
    assert np.isnan(said[-LAGS[2] :]).all()
