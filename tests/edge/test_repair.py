import os
import random
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from mcap.reader import NonSeekingReader, make_reader

from edge.record import SessionWriter
from edge.repair import repair
from firmware_bridge.recording import RecordingError, open_recording
from firmware_bridge.types import Flag, Frame, Geometry, MuscleState

BMODE = Geometry("bmode", lines=64, samples=128, dz_mm=0.1, dx_mm=0.2)

# A recorder at the true rates.  It tells over a pipe what it has handed over, and when.
RECORDER = """
import os, struct, sys, time
import numpy as np
from edge.record import SessionWriter
from firmware_bridge.types import Flag, Frame, Geometry, MuscleState
w = SessionWriter(sys.argv[1], {}, geometry=Geometry("bmode", 256, 320, 0.1, 0.2), min_free_bytes=0)
image = np.zeros((256, 320), np.uint8)
n = 0
while True:
    w.state(MuscleState(n, n, Flag.REPLAY, np.zeros(3, np.float32)))
    if n % 3 == 0:
        w.frame(Frame(n, n // 3, image))
    os.write(1, struct.pack("<qq", n, time.monotonic_ns()))
    n += 1
    time.sleep(0.005)
"""


def record(path, n=20):
    """A closed recording of ``n`` frames and states."""
    w = SessionWriter(path, {}, geometry=BMODE, min_free_bytes=0)
    for k in range(n):
        w.frame(Frame(k, k, np.full((64, 128), k, np.uint8)))
        w.state(MuscleState(k, k, Flag.REPLAY, np.full(3, k, np.float32)))
    w.close()
    return path


def strictly_read(path):
    """All messages by the MCAP library, with every CRC checked; agrees with the summary."""
    with path.open("rb") as f:
        messages = list(NonSeekingReader(f, validate_crcs=True).iter_messages())
    with path.open("rb") as f:
        reader = make_reader(f, validate_crcs=True)
        assert reader.get_summary().statistics.message_count == len(messages)
        assert {m.name for m in reader.iter_metadata()} == {"sonomyo", "session", "session.json"}
    return messages


def test_killed_at_any_moment_all_but_the_last_second_is_there_and_repairable(tmp_path):
    rng = random.Random(7)
    moments = [0.05, *(rng.uniform(0.2, 1.2) for _ in range(4))]
    recorders = []
    for k in range(len(moments)):
        path = tmp_path / f"{k}.mcap"
        command = [sys.executable, "-c", RECORDER, str(path)]
        recorders.append((path, subprocess.Popen(command, stdout=subprocess.PIPE)))
    for (path, process), moment in zip(recorders, moments, strict=True):
        told = process.stdout.read(16)  # it records
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read()
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        given = list(struct.iter_unpack("<qq", told))
        r = open_recording(path)
        assert r.torn
        states = [s.seq for s in r.states()]
        frames = [f.seq for f in r.frames()]
        _, last_ns = given[-1]
        due = [n for n, t_ns in given if t_ns <= last_ns - 10**9]
        assert states == list(range(len(states)))
        assert frames == list(range(len(frames)))
        assert len(states) >= len(due)
        assert len(frames) >= len(due) // 3

        report = repair(path)
        assert report.changed
        assert report.original is None
        assert len(strictly_read(path)) == report.messages
        mended = open_recording(path)
        assert not mended.torn
        assert [s.seq for s in mended.states()] == states
        assert [f.seq for f in mended.frames()] == frames
        assert not repair(path).changed
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{k}.mcap" for k in range(len(moments))]


def test_a_file_cut_at_any_place_becomes_well_formed(tmp_path):
    whole = record(tmp_path / "a.mcap", 3).read_bytes()
    begin = whole.index(struct.pack("<BQH", 5, 22 + 24 + 64 * 128, 1))  # the first frame
    path = tmp_path / "b.mcap"
    for cut in sorted({*range(begin, len(whole), 997), *range(len(whole) - 40, len(whole))}):
        path.write_bytes(whole[:cut])
        states = len(list(open_recording(path).states()))
        report = repair(path)
        assert (report.changed, report.original) == (True, None)
        assert report.kept_bytes + report.cut_bytes == cut
        assert len(strictly_read(path)) == report.messages
        assert len(list(open_recording(path).states())) == states


def test_a_whole_file_is_left_as_it_is(tmp_path):
    path = record(tmp_path / "a.mcap")
    before = path.read_bytes(), path.stat().st_mtime_ns
    report = repair(path)
    assert (report.changed, report.cut_bytes) == (False, 0)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_recording_in_progress_is_not_touched(tmp_path):
    w = SessionWriter(tmp_path / "a.mcap", {}, min_free_bytes=0)
    with pytest.raises(RecordingError, match="being recorded now"):
        repair(w.path)
    w.close()
    assert not repair(w.path).changed


@pytest.mark.parametrize(
    ("prefix", "closed"),
    [
        (bytes(9), True),
        (bytes(9), False),
        (struct.pack("<BQ", 5, 1 << 40), True),  # looks like a record that was cut off
    ],
)
def test_damage_in_the_middle_keeps_the_original(tmp_path, prefix, closed):
    path = record(tmp_path / "a.mcap")
    data = bytearray(path.read_bytes())
    middle = data.index(struct.pack("<BQHI", 5, 22 + 24 + 64 * 128, 1, 10))  # the tenth frame
    data[middle : middle + 9] = prefix
    data = data if closed else data[:-100]
    path.write_bytes(data)
    report = repair(path)
    assert report.original.read_bytes() == data
    assert [f.seq for f in open_recording(path).frames()] == list(range(10))
    assert len(strictly_read(path)) == report.messages


def test_a_repair_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = record(tmp_path / "a.mcap")
    torn = path.read_bytes()[:-1000]
    path.write_bytes(torn)

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordingError, match="No space left on device.*left as it was"):
        repair(path)
    assert path.read_bytes() == torn
    assert [p.name for p in tmp_path.iterdir()] == ["a.mcap"]


def test_what_never_was_a_recording_is_not_repaired(tmp_path):
    path = tmp_path / "a.mcap"
    path.write_bytes(b"something else")
    with pytest.raises(RecordingError, match="no recording"):
        repair(path)
    assert path.read_bytes() == b"something else"
