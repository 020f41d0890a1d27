"""The whole rig in one process: simulated USB probe, synthetic EMG, a pseudo-terminal, a disk.

Everything between those four boundaries is the product.
"""

import threading
import time

import numpy as np
import pytest

from edge.bundle import BundleError
from edge.config import Config, ConfigError, Record, Rig, Timing
from edge.daemon import Daemon
from edge.realtime import RealTime
from edge.replay import estimators_of, replay
from firmware_bridge.links.commands import Encoder, Mark, Start, Stop
from firmware_bridge.recording import open_recording
from firmware_bridge.types import UNKNOWN_NS, DeviceError, Flag
from models.spec import SpecError

PROBE = "usb:sim?lines=4&samples=6&fps=100"
EMG = "synthetic:?fs_hz=1000&channels=MG,TA"
QUIET = RealTime(enabled=False)  # the other tests of this process want their garbage collector
CALM = Flag.REPLAY | Flag.UNCALIBRATED


def wait(condition, seconds=8.0):
    """Poll until ``condition`` holds; the assertion that fails says where."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def settled(port, flags=CALM, n=20):
    """Whether the last n states carry exactly these flags, apart from LATE on a busy machine."""
    last = [s.flags & ~Flag.LATE for s in port.states[-n:]]
    return len(last) == n and all(f == flags for f in last)


def test_sensors_become_states_and_the_recording_replays_bit_for_bit(run, port):
    daemon = run(record=True)
    assert wait(lambda: len(port.states) > 150 and settled(port))
    daemon.end()
    seqs = [s.seq for s in port.states]
    assert seqs == sorted(set(seqs))
    good = [s for s in port.states if s.t_ns != UNKNOWN_NS and np.isfinite(s.values).all()]
    assert len({s.values.tobytes() for s in good}) > 50  # speckle and EMG move
    assert port.receiver.info.outputs[0].name == "brightness.brightness"

    recording = open_recording(daemon.recorder.path)
    assert not recording.torn
    report = replay(recording, estimators_of(recording, []))
    assert report.states > 150
    assert (report.different, report.gaps) == (0, 0)
    kinds = [e.kind for e in recording.events()]
    assert kinds[0] == "start"
    assert "stop" in kinds


def test_a_session_without_images_is_recorded_and_still_replays_its_emg(run, port, adder):
    frames_off = Record(folder=str(port.path.parent / "out"), frames=False)
    daemon = run(models=(adder,), record=frames_off)
    assert wait(lambda: len(port.states) > 60)
    daemon.end()
    recording = open_recording(daemon.recorder.path)
    assert not list(recording.frames())
    report = replay(recording, estimators_of(recording, []))
    assert report.states > 60
    assert (report.different, report.gaps) == (0, 0)


def test_the_stream_begins_before_the_sensors_do_and_says_so(run, port):
    run(probe=PROBE + "&fault=hang@0", emg="synthetic:?fs_hz=1000&channels=MG,TA")
    assert wait(lambda: len(port.states) > 50)
    first = port.states[0]
    assert first.flags & Flag.STALE_US
    assert first.t_ns == UNKNOWN_NS
    assert np.isnan(first.values[0])


def test_a_receiver_is_told_before_the_daemon_ends(run, port):
    daemon = run()
    assert wait(lambda: settled(port))
    daemon.end()
    assert wait(lambda: settled(port, CALM | Flag.FAULT, n=5), 2)
    assert np.isnan(port.states[-1].values).all()


def test_the_receiver_stops_and_starts_the_estimates_but_never_the_stream(run, port):
    run()
    assert wait(lambda: settled(port))
    port.send(Stop(1, 0))
    assert wait(lambda: settled(port, CALM | Flag.FAULT))
    assert np.isnan(port.states[-1].values).all()
    port.send(Start(2, 0))
    assert wait(lambda: settled(port))
    assert np.isfinite(port.states[-1].values).all()


def test_commands_are_recorded(run, port):
    daemon = run(record=True)
    assert wait(lambda: settled(port))
    now = time.monotonic_ns()
    port.send(Mark(5, now, 42, "jump"))
    port.send(Encoder(6, now, -12.5, float("nan")))
    assert wait(lambda: len(port.receiver.acks) == 2)
    time.sleep(0.1)
    daemon.end()
    events = {e.kind: e.data for e in open_recording(daemon.recorder.path).events()}
    assert events["mark"]["code"] == 42
    assert events["encoder"]["angle_deg"] == -12.5


@pytest.mark.parametrize("fault", ["garbage", "truncate", "corrupt", "repeat", "skip", "babble"])
def test_a_probe_that_sends_rubbish_is_counted_and_the_tick_goes_on(run, port, fault):
    daemon = run(probe=f"{PROBE}&fault={fault}@20x5")
    assert wait(lambda: daemon.probe.frames > 60)
    assert wait(lambda: settled(port))
    counters = daemon.probe.counters()
    assert sum(n for k, n in counters.items() if k != "frames") > 0
    assert daemon.tick.counters["errors"] == 0


def test_a_frozen_probe_goes_stale_and_a_restarted_one_recovers(run, port):
    run(probe=f"{PROBE}&fault=hang@30")
    assert wait(lambda: settled(port))
    assert wait(lambda: any(s.flags & Flag.STALE_US for s in port.states[30:]))
    assert wait(lambda: settled(port))  # the driver restarts a stalled stream by itself


def test_an_unplugged_probe_goes_stale_comes_back_and_counts_on(run, port):
    timing = Timing(max_us_age_ms=60, max_emg_age_ms=150)
    daemon = run(probe=f"{PROBE}&fault=unplug@60", record=True, timing=timing)
    assert wait(lambda: daemon.probe.reconnects >= 1)
    assert wait(lambda: settled(port))
    assert any(s.flags & Flag.STALE_US for s in port.states)
    daemon.end()
    recording = open_recording(daemon.recorder.path)
    seqs = [f.seq for f in recording.frames()]
    assert seqs == sorted(set(seqs))
    assert {"lost", "reconnected"} <= {e.kind for e in recording.events()}
    assert replay(recording, estimators_of(recording, [])).different == 0


def test_emg_that_loses_contact_is_repaired_and_counted(run, port):
    daemon = run(emg=EMG + "&dropout_hz=2", record=True)
    assert wait(lambda: daemon.counters()["adder.bad_samples"] > 0)
    assert wait(lambda: any(s.flags & Flag.FAULT for s in port.states))
    assert wait(lambda: settled(port))
    assert np.isfinite(port.states[-1].values).all()
    daemon.end()
    recording = open_recording(daemon.recorder.path)
    assert any(np.isnan(c.data).any() for c in recording.chunks())  # recorded as it came
    assert replay(recording, estimators_of(recording, [])).different == 0


def test_a_saturated_amplifier_is_a_fault(run, port):
    daemon = run(emg=EMG + "&emg_uv=5000&noise_uv=5000&clip_uv=300")
    assert wait(lambda: any(s.flags & Flag.FAULT for s in port.states))
    assert daemon.counters()["adder.saturated"] > 0


def test_an_emg_board_that_falls_silent_goes_stale(run, port, tmp_path):
    emg = np.random.default_rng(0).normal(0, 50, (700, 1)).astype(np.float32)
    np.savez(tmp_path / "short.npz", data=emg, fs_hz=1000.0, channels=["TA"], unit="uV")
    run(emg=f"replay:{tmp_path / 'short.npz'}")
    assert wait(lambda: settled(port))
    assert wait(lambda: settled(port, CALM | Flag.STALE_EMG))


def test_a_port_nobody_reads_never_blocks_the_tick(run, port):
    daemon = run()
    assert wait(lambda: settled(port))
    port.reading.clear()
    assert wait(lambda: daemon.links[0].counters["dropped"] > 20, 20)
    assert daemon.tick.counters["errors"] == 0
    port.reading.set()
    assert wait(lambda: settled(port))


def test_a_port_that_vanishes_is_opened_again(run, port):
    daemon = run()
    assert wait(lambda: settled(port))
    port.unplug()
    assert wait(lambda: daemon.links[0].counters["dropped"] > 20)  # and the tick goes on
    port.plug()
    assert wait(lambda: daemon.links[0].counters["reconnects"] == 1)
    n = len(port.states)
    assert wait(lambda: len(port.states) > n + 20)


class SlowEngine:
    """An engine on a processor that sometimes takes three periods, or fails."""

    def __init__(self, engine, fails=False):
        self._engine, self._fails, self._runs = engine, fails, 0
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def run(self):
        self._runs += 1
        if self._runs % 10 == 0 and self._fails:
            raise RuntimeError("out of memory")
        if self._runs % 10 == 0:
            time.sleep(0.035)
        self._engine.run()

    def close(self):
        self._engine.close()


@pytest.mark.parametrize("release_ms", [0.0, 6.0])
def test_a_slow_inference_sends_the_last_state_flagged_late_on_time(run, port, release_ms):
    timing = Timing(release_ms=release_ms, max_us_age_ms=500, max_emg_age_ms=500)
    daemon = run(timing=timing, engine=SlowEngine, record=True)
    assert wait(lambda: sum(bool(s.flags & Flag.LATE) for s in port.states[20:]) > 15)
    daemon.end()
    seqs = [s.seq for s in port.states]
    assert seqs == sorted(set(seqs))
    assert daemon.tick.counters["late"] >= 15
    stamps = open_recording(daemon.recorder.path).stamps()
    sent = stamps[stamps["sent_ns"] > 0]
    states = {s.seq: s for s in open_recording(daemon.recorder.path).states()}
    for row in sent[sent["late"] > 0]:  # a late state carries what an earlier tick had found
        held, source = states[row["tick"]], int(row["tick"]) - int(row["late"])
        assert held.flags & Flag.LATE
        if source in states and not states[source].flags & Flag.LATE:
            assert held.values.tobytes() == states[source].values.tobytes()
    recording = open_recording(daemon.recorder.path)
    report = replay(recording, estimators_of(recording, []))
    assert (report.different, report.gaps) == (0, 0)


def test_a_late_tick_of_models_that_look_ahead_sends_what_they_foresaw(run, port, seer):
    timing = Timing(release_ms=6.0, max_emg_age_ms=500)
    daemon = run(probe="", models=(seer,), timing=timing, engine=SlowEngine, record=True)
    assert wait(lambda: sum(bool(s.flags & Flag.PREDICTED) for s in port.states[20:]) > 15)
    daemon.end()
    recording = open_recording(daemon.recorder.path)
    states = {s.seq: s for s in recording.states()}
    for row in (r for r in recording.stamps() if r["sent_ns"]):
        tick, behind = int(row["tick"]), int(row["late"])
        s = states[tick]
        assert bool(s.flags & Flag.LATE) == (behind > 0)
        if s.flags & Flag.PREDICTED:
            assert behind >= 1
            source = states.get(tick - behind)
            if source is not None and not source.flags & Flag.LATE and source.values[0] > 0:
                ratio = s.values[0] / source.values[0]  # 10, 20 or 30 ms from its data
                assert min(abs(ratio - r) for r in (2.0, 2.5, 3.0)) < 1e-4
    report = replay(recording, estimators_of(recording, []))
    assert (report.different, report.gaps) == (0, 0)


def test_stopping_before_the_first_state_leaves_no_thread_behind(run, port):
    timing = Timing(period_ms=300, release_ms=290)
    daemon = run(timing=timing, emg="", models=())
    daemon.end()
    names = {t.name for t in threading.enumerate()}
    assert not names & {"tick", "release", "probe", "recorder"}
    assert wait(lambda: len(port.states) >= 10)
    assert all(s.flags & Flag.FAULT for s in port.states[-10:])


def test_the_info_packet_says_what_holds_for_the_session(run, port):
    run()
    assert wait(lambda: port.receiver.info is not None)
    assert port.receiver.info.flags == CALM


def test_models_that_cannot_keep_up_are_refused(brightness, adder):
    timing = Timing(period_ms=1000, release_ms=900)
    config = Config(rig=Rig(PROBE, EMG), models=(str(adder),), timing=timing, realtime=QUIET)
    with pytest.raises(ConfigError, match="100 steps in 1000 ms"):
        Daemon(config)


def test_an_engine_that_fails_is_a_fault_and_a_counter_not_the_end(run, port):
    daemon = run(engine=lambda e: SlowEngine(e, fails=True))
    assert wait(lambda: daemon.tick.counters["errors"] >= 3)
    assert wait(lambda: any(s.flags & Flag.FAULT for s in port.states))
    n = len(port.states)
    assert wait(lambda: len(port.states) > n + 30)


@pytest.mark.parametrize(
    ("rig", "error", "says"),
    [
        ({"probe": "usb:NOSUCH"}, DeviceError, "usb:sim"),
        ({"probe": "ubs:"}, DeviceError, "known: usb:"),
        ({"emg": "brainflow:cyton?serial_port=/dev/nosuch"}, DeviceError, "nosuch"),
        ({"emg": "synthetic:?fs_hz=500&channels=TA"}, SpecError, "1000 Hz"),
        ({"emg": "synthetic:?fs_hz=1000&channels=MG"}, SpecError, r"\['TA'\]"),
        ({"links": ("serial:/dev/nosuch",)}, DeviceError, "/dev/nosuch"),
        ({"probe": "", "emg": ""}, ConfigError, "nothing to read"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(brightness, adder, rig, error, says):
    rig = {"probe": PROBE, "emg": EMG} | rig
    config = Config(rig=Rig(**rig), models=(str(brightness), str(adder)), realtime=QUIET)
    with pytest.raises(error, match=says):
        Daemon(config)


def test_an_unknown_bundle_is_refused_by_name():
    with pytest.raises(BundleError, match="no bundle 'no-such'"):
        Daemon(Config(rig=Rig(PROBE, ""), models=("no-such",), realtime=QUIET))
