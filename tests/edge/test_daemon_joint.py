"""Joint angle and load through a whole daemon: a device on a pseudo-terminal, ticks, a recording.

The bundle gives the angle's change since its last step, and angle times load.
"""

import os
import time
from itertools import takewhile

import numpy as np
import pytest

from edge.config import Config, ConfigError, Rig, Timing
from edge.daemon import Daemon
from edge.realtime import RealTime
from edge.replay import estimators_of, replay
from edge.say import Angles, Speaker
from firmware_bridge.links.commands import Load, encode_command
from firmware_bridge.links.packet import Ack, Kind, Status
from firmware_bridge.recording import open_recording
from firmware_bridge.types import UNKNOWN_NS, DeviceError, Flag
from models.spec import SpecError

WAVE = 60 + 30 * np.sin(np.arange(0, 2 * np.pi, 0.05))
BROKEN = np.r_[WAVE[:60], np.full(30, np.nan)]  # at 100 Hz: 0.3 s of silence after each 0.6 s
STALLS = np.r_[WAVE[:60], np.full(3, np.nan)]  # three angles of each 0.63 s are missing
TIMING = Timing(max_us_age_ms=500, max_angle_age_ms=100)
CALM = Flag.UNCALIBRATED


def wait(condition, seconds=8.0):
    """Poll until ``condition`` holds; the assertion that fails says where."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def good(states, calm=CALM):
    """States that a receiver would use."""
    return [s for s in states if not s.flags & ~(calm | Flag.LATE)]


@pytest.fixture
def arm(run, elbow):
    """Start a daemon of joint angle and load alone."""

    def start(**options):
        settings = {"angle": "encoder", "load": "command", "timing": TIMING} | options
        return run(probe="", emg="", models=(elbow,), **settings)

    return start


@pytest.fixture
def say(port):
    """The device at the other end begins to speak; once more: it goes on with something else."""
    speakers = []

    def start(deg, load_kg=2.0):
        stop()
        angles = None if deg is None else Angles(np.asarray(deg), 100.0)
        speakers.append(Speaker(port.fd, angles, load_kg))

    def stop():
        while speakers:
            speakers.pop().close()

    start.stop = stop
    yield start
    stop()


def test_an_encoder_and_a_load_become_states_and_replay_bit_for_bit(arm, port, say):
    daemon = arm(record=True)
    say(WAVE)
    assert wait(lambda: len(good(port.states)) > 100)
    daemon.end()
    recording = open_recording(daemon.recorder.path)
    rows = {int(r["tick"]): r for r in recording.joint()}
    states = [s for s in good(recording.states()) if not s.flags & Flag.LATE]
    assert len(states) > 20  # on a busy machine most are late
    for s in states:
        row = rows[s.seq]
        assert s.values[1] == np.float32(row["angle_deg"]) * np.float32(row["load_kg"])
        assert s.t_ns == row["angle_t_ns"]  # the load, up to a second older, holds
    assert len({s.values[1] for s in states}) > 10
    report = replay(recording, estimators_of(recording, []))
    assert report.states > 100
    assert (report.different, report.gaps) == (0, 0)


def test_an_encoder_with_holes_is_flagged_in_them_settles_after_them_and_replays(arm, port, say):
    daemon = arm(record=True)
    say(BROKEN)
    assert wait(lambda: len(good(port.states)) > 100)
    daemon.end()
    recording = open_recording(daemon.recorder.path)
    period_ns = int(TIMING.period_ms * 1e6)
    rows = recording.joint()
    both = (rows["angle_t_ns"] != UNKNOWN_NS) & (rows["load_t_ns"] != UNKNOWN_NS)
    known = dict(zip(rows["tick"].tolist(), both, strict=True))
    assert 0.1 < np.mean(list(known.values())) < 0.95
    for s in recording.states():
        if not known.get(s.seq, False):
            assert s.flags & (Flag.STALE_JOINT | Flag.FAULT | Flag.LATE)
        elif not known.get(s.seq - 1, False) and not s.flags & Flag.LATE:
            assert s.flags & Flag.FAULT  # its first step from nothing
        if not s.flags & (Flag.STALE_JOINT | Flag.FAULT):
            sent_ns = daemon.tick._pacer.deadline(s.seq) + period_ns
            assert sent_ns - s.t_ns <= TIMING.max_angle_age_ms * 1e6 + period_ns
            assert abs(s.values[0]) < 30  # a step over the hole would be one from nothing: 60 deg
    report = replay(recording, estimators_of(recording, []))
    assert report.states > 100
    assert (report.different, report.gaps) == (0, 0)


def held_twice(rows, settles=2):
    """Ticks whose angle had been read twice before, and those that still remember it."""
    at = dict(zip(rows["tick"].tolist(), rows["angle_t_ns"].tolist(), strict=True))
    held = [k for k in at if at[k] != UNKNOWN_NS and at[k] == at.get(k - 1) == at.get(k - 2)]
    remember = set()
    for k in held:
        after = range(k, k + 1 + settles)
        remember |= set(takewhile(lambda t: at.get(t, UNKNOWN_NS) != UNKNOWN_NS, after))
    return held, remember


def test_an_encoder_that_stalls_is_a_fault_and_replays_and_the_daemon_says_so(arm, port, say):
    daemon = arm(record=True, load="2 kg")
    say(STALLS)
    # An angle is now and then read twice: that is no fault.
    assert wait(lambda: daemon.counters()["joint.uneven"] > 100 and len(good(port.states)) > 50)
    assert "'joint.uneven': " in daemon.status()
    daemon.end()
    recording = open_recording(daemon.recorder.path)
    held, remember = held_twice(recording.joint())
    assert len(held) > 5
    for s in recording.states():
        if s.seq in remember and not s.flags & Flag.LATE:  # a late one is of before
            assert s.flags & Flag.FAULT
    report = replay(recording, estimators_of(recording, []))
    assert (report.different, report.gaps) == (0, 0)
    blind = estimators_of(recording, [])
    blind[0]._evenness = None
    assert replay(recording, blind).different > 0


def test_an_encoder_that_falls_silent_goes_stale_and_is_used_again_once_settled(arm, port, say):
    arm()
    say(WAVE)
    assert wait(lambda: len(good(port.states)) > 20)
    say(None)
    assert wait(lambda: port.states[-1].flags & Flag.STALE_JOINT)
    say(WAVE)
    n = len(port.states)
    assert wait(lambda: len(good(port.states[n:])) > 20)
    back = next(i for i, s in enumerate(port.states[n:], n) if not s.flags & Flag.STALE_JOINT)
    assert port.states[back].flags & Flag.FAULT


def test_a_load_that_nobody_repeats_goes_stale(arm, port, say):
    arm(timing=Timing(max_angle_age_ms=100, max_load_age_ms=300))
    say(WAVE, load_kg=2.0)  # once a second
    assert wait(lambda: len(good(port.states)) > 10)
    assert wait(lambda: port.states[-1].flags & Flag.STALE_JOINT)
    assert wait(lambda: not port.states[-1].flags & Flag.STALE_JOINT)


def test_before_the_first_angle_nothing_is_claimed(arm, port):
    arm()
    assert wait(lambda: len(port.states) > 20)
    for s in port.states:
        assert s.flags & Flag.STALE_JOINT
        assert s.t_ns == UNKNOWN_NS
        assert np.isnan(s.values).all()


@pytest.mark.parametrize(("deg", "load_kg"), [(WAVE + 100, 2.0), (WAVE, 5.5)])
def test_what_the_model_was_not_validated_for_is_a_fault(arm, port, say, deg, load_kg):
    arm()
    say(np.full(10, deg.max()), load_kg)
    assert wait(lambda: sum(bool(s.flags & Flag.FAULT) for s in port.states) > 20)
    assert not good(port.states)


def test_a_torque_where_a_load_is_wanted_is_refused_and_never_used(arm, port, say):
    daemon = arm(record=True)
    say(WAVE, load_kg=None)

    def torque():
        now = time.monotonic_ns()
        os.write(port.fd, encode_command(Load(77, now, 2.0, "N m"), now))
        return Ack(77, Kind.LOAD, Status.OUT_OF_RANGE) in port.receiver.acks

    assert wait(torque)
    assert wait(lambda: len(port.states) > 50)
    daemon.end()
    assert not good(port.states)
    recording = open_recording(daemon.recorder.path)
    assert np.isnan(recording.joint()["load_kg"]).all()
    assert "load" not in {e.kind for e in recording.events()}


def test_a_torque_that_no_model_could_misread_is_recorded(run, port, brightness):
    daemon = run(emg="", models=(brightness,), load="command", record=True)
    assert wait(lambda: len(port.states) > 5)
    now = time.monotonic_ns()
    port.send(Load(7, now, 2.0, "N m"))
    assert wait(lambda: Ack(7, Kind.LOAD, Status.OK) in port.receiver.acks)
    time.sleep(0.1)
    daemon.end()
    events = {e.kind: e.data for e in open_recording(daemon.recorder.path).events()}
    assert events["load"]["unit"] == "N m"


def test_the_angle_of_a_picture_is_used_in_the_tick_that_saw_it(
    run, port, goniometer, elbow, tmp_path
):
    np.save(
        tmp_path / "f.npy", np.arange(50, dtype=np.uint8)[:, None, None] + np.zeros((4, 6), "u1")
    )
    daemon = run(
        probe=f"usb:sim?frames={tmp_path / 'f.npy'}&dx_mm=0.3&dz_mm=0.2&fps=100",
        emg="",
        models=(elbow, goniometer),
        timing=TIMING,
        record=True,
        angle="model:goniometer.angle",
        load="2 kg",
    )
    calm = CALM | Flag.REPLAY
    assert wait(lambda: len(good(port.states, calm)) > 100)
    daemon.end()
    assert len({s.values[3] for s in good(port.states, calm)}) > 20
    for s in good(port.states, calm):
        _, effort, _, angle = s.values
        assert effort == 2 * angle
    recording = open_recording(daemon.recorder.path)
    frames_ns = {f.t_ns for f in recording.frames()}
    used_ns = {t for t in recording.joint()["angle_t_ns"].tolist() if t != UNKNOWN_NS}
    assert used_ns <= frames_ns  # as old as the picture it was read from
    report = replay(recording, estimators_of(recording, []))
    assert report.states > 100
    assert (report.different, report.gaps) == (0, 0)


def test_a_replay_misses_what_was_not_recorded(arm, port, say, monkeypatch):
    daemon = arm(record=True)
    monkeypatch.setattr(daemon.recorder, "joint", lambda row: None)
    say(WAVE)
    assert wait(lambda: len(good(port.states)) > 20)
    daemon.end()
    recording = open_recording(daemon.recorder.path)
    report = replay(recording, estimators_of(recording, []))
    assert report.gaps > 10
    assert not report.ok


@pytest.mark.parametrize(
    ("rig", "error", "says"),
    [
        ({}, ConfigError, "nor rig.angle is set"),
        ({"probe": "synthetic:calf"}, SpecError, "elbow takes a joint angle: set rig.angle"),
        ({"angle": "encoder"}, ConfigError, "set rig.links"),
        ({"angle": "model:elbow.moved"}, ConfigError, "elbow takes the angle itself"),
        ({"angle": "encoder", "links": ("serial:/dev/x",)}, SpecError, "set rig.load"),
        (
            {"angle": "encoder", "load": "1 kg", "links": ("serial:/dev/nosuch",)},
            DeviceError,
            "/dev/nosuch",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(elbow, rig, error, says):
    rig = Rig(**({"probe": "", "emg": ""} | rig))
    with pytest.raises(error, match=says):
        Daemon(Config(rig=rig, models=(str(elbow),), realtime=RealTime(enabled=False)))
