"""The shipped elbow: a simulated arm's encoder and load through a whole daemon, and its doubt.

On a busy machine ticks are skipped, and after each the model settles for 1.4 s: what needs settled
states asks the estimator, tick by tick; the daemon is asked for what must hold whatever happens.
"""

import time

import numpy as np
import pytest
import torch
from scipy.signal import butter, savgol_filter, sosfiltfilt

from edge.bundle import load_bundle
from edge.config import Timing
from edge.estimate import Estimator, Sources
from edge.joint import Joint, Reading
from edge.replay import estimators_of, replay
from edge.say import Speaker, read_angles
from firmware_bridge.recording import open_recording
from firmware_bridge.types import Flag
from models.elbow import inverse_dynamics_nm
from training.trial_file import write_trial
from training.virtual_measure import segment_of

NAME = "elbow-nmm"
TIMING = Timing(max_angle_age_ms=100)
TICKS_S = 100
TICK_NS = 10_000_000
TORQUE, BRACHIALIS = 6, 0


def wait(condition, seconds=20.0):
    """Poll until ``condition`` holds; the assertion that fails says where."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def said(states):
    """States with numbers, be they flagged or not."""
    return [s for s in states if s.sd is not None and np.isfinite(s.sd).all()]


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """Encoder angles of a simulated arm."""
    path = tmp_path_factory.mktemp("trial") / "trial.npz"
    write_trial(path)
    return read_angles(f"{path}:angle")


@pytest.fixture(scope="module")
def reference():
    """Inputs and what PyTorch said of them, as shipped."""
    with np.load(load_bundle(NAME).path / "reference.npz") as f:
        return dict(f)


@pytest.fixture
def arm(run, port, trial):
    """A daemon of this model alone, and the arm at the other end of its line."""
    speakers = []

    def start(load_kg, **options):
        daemon = run(
            probe="", emg="", models=(NAME,), angle="encoder", load="command", timing=TIMING,
            **options,
        )  # fmt: skip
        speakers.append(Speaker(port.fd, trial, load_kg))
        return daemon

    yield start
    for s in speakers:
        s.close()


def wanted_nm(angle_deg, load_kg):
    """Inverse dynamics of an angle at every tick, in hindsight."""
    q = sosfiltfilt(butter(4, 6 / 50, output="sos"), np.deg2rad(angle_deg)).copy()
    v, a = (savgol_filter(q, 11, 4, deriv=d, delta=0.01) for d in (1, 2))
    parts = (torch.from_numpy(x) for x in (q, v, a))
    return inverse_dynamics_nm(*parts, load_kg, segment_of("V6")).numpy()


def say(angles_deg, loads_kg, of=None):
    """Values, SD and fault of the shipped network at every tick, on the angle of tick ``of``."""
    e = Estimator(load_bundle(NAME), Sources(angle=True, load=True))
    rows = []
    of = np.arange(len(angles_deg)) if of is None else of
    for k, (q, m, j) in enumerate(zip(angles_deg[of], loads_kg, of.tolist(), strict=True)):
        angle, load = Reading(float(q), j * TICK_NS), Reading(float(m), k * TICK_NS)
        e.update(None, (), (), Joint(k, angle, load))
        rows.append((e.values.copy(), e.sd.copy(), e.fault))
    e.close()
    return tuple(map(np.array, zip(*rows, strict=True)))


def test_an_arm_becomes_muscles_and_torque_at_every_tick_and_replays(arm, port):
    daemon = arm(2.0, record=True)
    assert wait(lambda: len(said(port.states)) > 3 * TICKS_S)
    daemon.end()
    seqs = [s.seq for s in port.states]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    for s in said(port.states):
        assert ((s.values[:TORQUE] >= 0) & (s.values[:TORQUE] <= 100)).all()
    recording = open_recording(daemon.recorder.path)
    rows = recording.joint()
    known = rows[~np.isnan(rows["angle_deg"])]
    angle_deg = np.interp(np.arange(known["tick"][-1] + 1), known["tick"], known["angle_deg"])
    torque_nm = wanted_nm(angle_deg, 2.0)
    good = [s for s in said(recording.states()) if not s.flags & ~Flag.UNCALIBRATED]
    for s in good:  # on a busy machine there may be none
        assert abs(s.values[TORQUE] - torque_nm[s.seq]) < 5 * s.sd[TORQUE]
    report = replay(recording, estimators_of(recording, []))
    assert report.states > 3 * TICKS_S
    assert (report.different, report.gaps) == (0, 0)


def test_a_load_that_was_never_trained_is_said_with_more_doubt(arm, port, reference):
    arm(3.0)
    assert wait(lambda: len(said(port.states)) > TICKS_S)
    near = reference["sd"].min(0)
    away = np.min([s.sd for s in said(port.states)], axis=0)
    assert (away > 1.05 * near).all()


def test_onnx_runtime_says_what_pytorch_said(reference):
    values, sd, fault = say(reference["angle"], reference["load"])
    np.testing.assert_allclose(values, reference["values"], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(sd, reference["sd"], rtol=1e-3)
    settle = round(load_bundle(NAME).spec.settle_ms / 10)
    assert fault[:settle].all()
    assert not fault[settle:].any()


def test_torque_is_what_the_movement_asks_for_and_brachialis_works_for_it(trial):
    values, sd, fault = say(trial.deg, np.full(len(trial.deg), 2.0))
    off = (values[:, TORQUE] - wanted_nm(trial.deg, 2.0))[~fault]
    assert len(off) > 0.85 * len(trial.deg)
    assert np.sqrt(np.mean(off**2)) < 1.5 * sd[:, TORQUE].min()
    brachialis = values[~fault, BRACHIALIS]
    assert np.ptp(brachialis) > 5
    assert np.corrcoef(brachialis, values[~fault, TORQUE])[0, 1] > 0.5


def test_what_makes_the_doubt_useless_is_a_fault(reference):
    """A load that jumps; an arm that moves as nobody in training did."""
    n = len(reference["angle"])
    jumps = np.where(np.arange(n) < 300, 0.0, 5.0)
    fast = 60 + 55 * np.sin(2 * np.pi * 2.0 * np.arange(n) / TICKS_S)  # up to 12 rad/s
    for angle, load in ((reference["angle"], jumps), (fast, reference["load"])):
        _, sd, fault = say(angle, load)
        assert fault[310:400].any()
        assert (sd[310:400].max(0) > 1.5 * reference["sd"].min(0)).all()


def test_an_encoder_that_stalls_for_30_ms_is_far_off_and_never_without_a_fault(trial):
    settles = round(load_bundle(NAME).spec.settle_ms / 10)
    before = settles + 20
    speed = np.abs(np.convolve(np.diff(trial.deg), np.ones(11), "same"))
    fastest = before + int(np.argmax(speed[before : -2 * before]))
    deg = trial.deg[fastest - before : fastest + settles + 40]
    loads, of = np.full(len(deg), 2.0), np.arange(len(deg))
    values, _, fault = say(deg, loads)
    assert not fault[settles:].any()
    of[before : before + 3] = before - 1
    stalled, sd, fault = say(deg, loads, of)
    off = np.abs(stalled - values) / sd
    assert off[:, TORQUE].max() > 1
    assert off[~fault].max() < 0.5
    assert not fault[settles : before + 1].any()
    assert fault[before + 1 : before + 3 + settles].all()
    assert not fault[-10:].any()
