"""A person's LFADS on the device: the bundle says, sample by sample, what its twin says."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from edge.bundle import CARD, load_bundle
from edge.estimate import Estimator, Sources
from firmware_bridge.types import Chunk
from models.streaming import LAGS
from training import emg_recordings, lfads_device
from training.distil import aligned, follow
from training.emg_checks import EmgUnfit
from training.emg_recordings import bed_recording
from training.emg_windows import Windows
from training.fit_lfads import fit_lfads
from training.lfads_config import Data, Device, LfadsRun, token
from training.lfads_device import write_device
from training.lfads_person import activation, people, windows_of
from training.lfads_streams import FIRST_HALF, WHOLE, lessons, slide, teach

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


def test_activation_is_never_more_than_what_the_emg_is_clipped_at(fitted):
    net, person, run = fitted
    wild = copy.deepcopy(net)
    with torch.no_grad():
        wild.read_out.bias[:3] += 9.0
    (said,) = activation(wild, person, run.windows)
    top = person.scale.clip / person.scale.unit
    np.testing.assert_allclose(np.nanmax(said, 0), top, rtol=1e-5)
    heard = person.chain.bins(person.recordings[0].emg_uv, "device")
    np.testing.assert_allclose(np.nanmax(slide(wild, person, heard, 5, 5), 0), top, rtol=1e-5)


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


def test_without_recordings_kept_out_the_first_half_teaches_and_the_second_judges(
    fitted, tmp_path, monkeypatch
):
    net, person, run = fitted
    found = {}

    def judged(person, said, teacher):
        found["said"] = said
        raise StopIteration

    def follow(part, bins):
        return np.full((len(bins), 9, bins.shape[1]), part[1])

    monkeypatch.setattr(lfads_device, "teach", lambda taught, person, fit, part=WHOLE: part)
    monkeypatch.setattr(lfads_device, "write_twin", lambda *args: None)
    monkeypatch.setattr(lfads_device, "follow", follow)
    monkeypatch.setattr(lfads_device, "judged", judged)
    with pytest.raises(StopIteration):
        write_device(tmp_path, net, person, run)
    (said,) = found["said"]
    middle = len(said) // 2
    assert np.isnan(said[:middle]).all()
    assert np.nanmax(said[middle:]) == FIRST_HALF[1]


def test_states_before_a_network_has_settled_are_faults(fitted, tmp_path):
    net, person, run = fitted
    (recording,) = person.recordings
    bundle = write_device(tmp_path, net, person, run)
    e = Estimator(bundle, Sources(None, recording.fs_hz, recording.channels))
    faults = []
    for start in range(0, 16 * HOP, HOP):
        data = recording.emg_uv[start : start + HOP].astype(np.float32)
        e.update(None, (), e.hear(Chunk(0, start, recording.fs_hz, data)))
        faults.append(e.fault)
    # 150 ms of 20 ms each
    assert faults == [True] * 8 + [False] * 8


def test_a_window_that_no_device_can_step_is_refused_before_training():
    with pytest.raises(ValueError, match="window_hop_bins"):
        replace(LfadsRun(), device=Device("window", window_hop_bins=7))
    with pytest.raises(ValueError, match="lag_ms below 500"):
        replace(LfadsRun(), device=Device("window", lag_ms=500.0))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "cnn"}, "kind"),
        ({"lag_ms": 7.0}, "lag_ms must be one of"),
        ({"kind": "window", "lag_ms": 5.0}, "multiple of 2"),
    ],
)
def test_what_no_device_runs_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        Device(**wrong)


def test_everything_that_cannot_be_learned_from_is_named_with_its_recording(fitted):
    _, person, _ = fitted
    (recording,) = person.recordings
    spoilt = []
    for name, channel in (("first", 0), ("second", 1)):
        emg = recording.emg_uv.copy()
        emg[:, channel] = 0
        spoilt.append(replace(recording, name=name, emg_uv=emg))
    with pytest.raises(EmgUnfit, match=r"(?s)first: constant.*second: constant"):
        people(spoilt, Data())


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
