import errno
import logging
import os
import resource
import subprocess
import threading
import time

import numpy as np
import pytest
from mcap.reader import NonSeekingReader

from edge.record import SessionWriter
from edge.repair import being_written
from firmware_bridge.recording import STAMPS_DTYPE, RecordingError, open_recording
from firmware_bridge.types import Chunk, Flag, Frame, Geometry, MuscleState

BMODE = Geometry("bmode", lines=64, samples=128, dz_mm=0.1, dx_mm=0.2)
FS_HZ, NAMES = 2000.0, ("TA", "GM")
KEPT = ("state", "stamps", "emg_chunk", "events")  # what outlasts the frames


def image(n):
    data = np.full((BMODE.lines, BMODE.samples), n % 251, np.uint8)
    data.setflags(write=False)
    return data


def tick(w, n):
    """Hand over what one tick makes."""
    w.frame(Frame(time.monotonic_ns(), n, image(n)))
    w.chunk(Chunk(time.monotonic_ns(), 20 * n, FS_HZ, np.full((20, 2), n, np.float32)))
    w.state(MuscleState(n, -1 if n == 0 else n, Flag.REPLAY, np.full(3, n, np.float32)))
    row = np.zeros(1, STAMPS_DTYPE)
    row["tick"] = n
    w.stamps(row)
    w.event("mark", n=n)


def eventually(condition):
    """Wait for what the writing thread does; gives up, and fails, after a long time."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def assert_whole(path, ticks):
    """The file is closed and holds everything of ``ticks``; the MCAP library agrees."""
    r = open_recording(path)
    assert not r.torn
    assert [f.seq for f in r.frames()] == list(ticks)
    assert all(np.array_equal(f.data, image(f.seq)) for f in r.frames())
    assert [c.seq for c in r.chunks()] == [20 * n for n in ticks]
    assert [(s.seq, s.values[0]) for s in r.states()] == [(n, n) for n in ticks]
    assert r.stamps()["tick"].tolist() == list(ticks)
    assert [e.data["n"] for e in r.events() if e.kind == "mark"] == list(ticks)
    with path.open("rb") as f:
        assert len(list(NonSeekingReader(f, validate_crcs=True).iter_messages())) >= 5 * len(ticks)


@pytest.fixture
def begin(tmp_path):
    """Begin a session; it is closed in the end whatever happens."""
    writers = []

    def open_writer(folder=tmp_path, **options):
        options = {"fsync_s": 0.02, "min_free_bytes": 0} | options
        meta = {"config": "[rig]\n", "versions": {"numpy": "2"}}
        w = SessionWriter(folder / "s.mcap", meta, geometry=BMODE, emg=(FS_HZ, NAMES), **options)
        writers.append(w)
        return w

    yield open_writer
    for w in writers:
        w.close()


@pytest.fixture(params=["tmpfs", "file size limit"])
def small_disk(request, tmp_path):
    """A folder that takes 1 MB, and a function that makes it take more."""
    if request.param == "tmpfs":
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], capture_output=True
        )
        if mounted.returncode:
            pytest.skip("only root may mount a small disk")
        yield (
            tmp_path,
            lambda: subprocess.run(["mount", "-o", "remount,size=64m", tmp_path], check=True),
        )
        subprocess.run(["umount", "-l", tmp_path], check=True)
    else:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        yield tmp_path, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_everything_handed_over_is_in_the_closed_file(begin):
    w = begin()
    for n in range(300):
        tick(w, n)
    w.close()
    w.close()
    assert_whole(w.path, range(300))
    assert not any(w.counters.values())
    assert w.stats()["queued"] == 0
    assert w.stats()["messages"]["/state"] == 300
    r = open_recording(w.path)
    assert r.meta == {"config": "[rig]\n", "versions": {"numpy": "2"}}
    assert (r.geometry, r.emg_info.fs_hz, r.emg_info.channels) == (BMODE, FS_HZ, NAMES)


def test_log_time_is_wall_time_that_never_steps_and_anchors_tell_when_it_did(begin, monkeypatch):
    before = time.time_ns()
    w = begin()
    tick(w, 1)
    eventually(lambda: w.stats()["messages"]["/state"] == 1)
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3600 * 10**9)  # the clock is set
    tick(w, 2)
    w.close()
    monkeypatch.undo()
    with w.path.open("rb") as f:
        logged = [m.log_time for _, _, m in NonSeekingReader(f).iter_messages()]
    assert before <= min(logged) <= max(logged) <= time.time_ns()
    mono, unix = (open_recording(w.path).anchors()[name] for name in ("mono_ns", "unix_ns"))
    assert (unix[-1] - unix[0]) - (mono[-1] - mono[0]) > 3599 * 10**9


def test_what_is_read_while_recording_goes_on_is_whole(begin):
    w = begin()
    for n in range(50):
        tick(w, n)
    eventually(lambda: w.stats()["queued"] == 0 and w.stats()["messages"]["/us/frame"] == 50)
    eventually(lambda: len(list(open_recording(w.path).frames())) == 50)
    assert open_recording(w.path).torn
    assert being_written(w.path)
    w.close()
    assert not being_written(w.path)


def test_an_existing_file_is_never_touched(begin, tmp_path):
    (tmp_path / "s.mcap").write_text("somebody's")
    w = begin()
    w.close()
    v = begin()
    assert (w.path.name, v.path.name) == ("s-2.mcap", "s-3.mcap")
    assert (tmp_path / "s.mcap").read_text() == "somebody's"


def test_a_folder_that_cannot_take_it_is_refused_at_once(begin, tmp_path):
    with pytest.raises(RecordingError, match="MB free in .*: delete or move old recordings"):
        begin(min_free_bytes=10**18)
    with pytest.raises(RecordingError, match="No such file or directory: record elsewhere"):
        begin(tmp_path / "missing")
    assert not list(tmp_path.iterdir())


def test_a_disk_too_full_for_the_first_bytes_leaves_no_empty_file(begin, tmp_path, monkeypatch):
    def full(fd, parts):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(RecordingError, match="free some space"):
        begin()
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_the_session_is_refused_and_the_rest_recorded(begin):
    w = begin()
    tick(w, 0)
    w.frame(Frame(1, 1, np.zeros((2, 2), np.uint8)))
    w.chunk(Chunk(1, 20, FS_HZ, np.zeros((20, 5), np.float32)))
    w.stamps(np.zeros(1, np.float32))
    w.state(None)
    tick(w, 1)
    w.close()
    assert w.counters["refused"] == 4
    assert_whole(w.path, range(2))


def test_frames_without_a_probe_are_refused(tmp_path):
    w = SessionWriter(tmp_path / "a.mcap", {}, min_free_bytes=0)
    tick(w, 0)
    w.close()
    r = open_recording(w.path)
    assert (r.geometry, r.emg_info, len(list(r.states()))) == (None, None, 1)
    assert list(r.frames()) == list(r.chunks()) == []
    assert w.counters["refused"] == 2


def test_a_disk_that_hangs_costs_frames_first_and_never_holds_up_a_caller(begin, monkeypatch):
    w = begin(frame_queue_bytes=10 * BMODE.lines * BMODE.samples)
    goes_on, real = threading.Event(), os.writev

    def hangs(fd, parts):
        goes_on.wait()
        return real(fd, parts)

    monkeypatch.setattr(os, "writev", hangs)
    for n in range(500):
        tick(w, n)  # would deadlock here if it waited
    assert w.counters["us_frame_dropped"] >= 500 - 10 - 64  # a queue and a batch on its way
    assert not any(w.counters[f"{name}_dropped"] for name in KEPT)
    goes_on.set()
    w.close()
    r = open_recording(w.path)
    assert [s.seq for s in r.states()] == list(range(500))
    assert len(list(r.frames())) == 500 - w.counters["us_frame_dropped"]


def test_frames_are_refused_long_before_a_state_is(begin, monkeypatch):
    w = begin()
    goes_on, real = threading.Event(), os.writev

    def hangs(fd, parts):
        goes_on.wait()
        return real(fd, parts)

    monkeypatch.setattr(os, "writev", hangs)
    n = 0
    while not w.counters["us_frame_dropped"]:
        w.frame(Frame(1, n, image(0)))
        for _ in range(500):
            w.event("mark", n=n)
        n += 1
    assert w.counters["events_dropped"] == 0
    while not w.counters["events_dropped"]:
        w.event("mark")
    assert w.counters["us_frame_dropped"] == 1
    goes_on.set()


@pytest.mark.parametrize("most", [1, 7, 5000])
def test_a_disk_that_takes_little_at_a_time_gets_everything(begin, monkeypatch, most):
    w = begin()
    real_writev, real_write = os.writev, os.write
    monkeypatch.setattr(os, "writev", lambda fd, parts: real_write(fd, b"".join(parts)[:most]))
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[: 1000 * most]))
    for n in range(5):
        tick(w, n)
    w.close()
    monkeypatch.setattr(os, "writev", real_writev)
    assert_whole(w.path, range(5))


def test_a_full_disk_stops_only_the_recording_which_goes_on_when_there_is_space(
    begin, small_disk, caplog
):
    folder, make_space = small_disk
    w = begin(folder)
    n = 0
    while not w.counters["write_errors"]:
        tick(w, n)
        n += 1
        time.sleep(0.0005)
    # Everything before is there and readable, although nothing was closed.
    r = open_recording(w.path)
    before = [s.seq for s in r.states()]
    assert before == list(range(len(before)))
    assert len(before) > 50
    for k in range(n, n + 50):
        tick(w, k)
    eventually(lambda: w.counters["write_errors"] >= 3)
    make_space()
    eventually(lambda: w.stats()["messages"]["/state"] == n + 50)
    w.close()
    assert_whole(w.path, range(n + 50))
    resumed = [e for e in open_recording(w.path).events() if e.kind == "recording resumed"]
    assert len(resumed) == 1
    assert resumed[0].data["write_errors"] > 0
    assert [r.levelno for r in caplog.records] == [logging.ERROR]  # said once, not every try


def test_a_session_closed_on_a_full_disk_keeps_what_it_has(begin, small_disk, caplog):
    folder, _ = small_disk
    w = begin(folder)
    n = 0
    while not w.counters["write_errors"]:
        tick(w, n)
        n += 1
        time.sleep(0.0005)
    w.close()
    r = open_recording(w.path)
    assert r.torn
    states = [s.seq for s in r.states()]
    assert states == list(range(len(states)))
    assert len(states) > 50


def test_a_failing_fsync_is_counted_and_the_recording_goes_on(begin, monkeypatch, caplog):
    w = begin()

    def fails(fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    tick(w, 0)
    eventually(lambda: w.counters["write_errors"])
    tick(w, 1)
    w.close()
    monkeypatch.undo()
    assert_whole(w.path, range(2))
