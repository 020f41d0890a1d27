"""Reader threads: what they hand to the tick, and how they survive a device that comes and goes."""

import threading
import time

import numpy as np
import pytest

from edge import sensors
from edge.estimate import Heard, Look
from edge.realtime import RealTime
from edge.sensors import EmgReader, NoSink, ProbeReader
from firmware_bridge.types import Chunk, DeviceError, Frame, Geometry

RT = RealTime(enabled=False)
GEOMETRY = Geometry("bmode", 2, 3, 0.1, 0.1)


class Script:
    """A device that delivers a list and then is gone; the same address opens the next list."""

    address, live = "script:", False
    fs_hz, channels = 1000.0, ("TA",)

    def __init__(self, items, geometry=GEOMETRY):
        self._items = list(items)
        self.geometry = geometry
        self.counters = {"bad": 0}
        self.closed = False

    def read(self, timeout_s):
        time.sleep(0.001)
        if not self._items:
            raise DeviceError("gone")
        item = self._items.pop(0)
        self.counters["bad"] += item is None
        return item

    def close(self):
        self.closed = True


class Events(NoSink):
    def __init__(self):
        self.kinds, self.frames, self.chunks = [], [], []

    def frame(self, frame):
        self.frames.append(frame)

    def chunk(self, chunk):
        self.chunks.append(chunk)

    def event(self, kind, **data):
        self.kinds.append(kind)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sensors, "BACKOFF_S", (0.001,))


def unprepared(frame):
    return Look(frame, ())


def unheard(chunk):
    return Heard(chunk, ())


def frame(seq):
    return Frame(time.monotonic_ns(), seq, np.zeros((2, 3), np.uint8))


def chunk(seq, n, t_ns):
    return Chunk(t_ns, seq, 1000.0, np.ones((n, 1), np.float32))


def run(reader, until):
    reader.start()
    end = time.monotonic() + 5
    while not until() and time.monotonic() < end:
        time.sleep(0.002)
    assert until()
    reader.close()


def reopening(monkeypatch, name, devices):
    waiting, lock = list(devices), threading.Lock()

    def reopen(address):
        assert address == "script:"
        with lock:
            if not waiting:
                raise DeviceError("not there")
            return waiting.pop(0)

    monkeypatch.setattr(sensors, name, reopen)


def test_frame_numbers_go_on_over_a_replug_and_losses_are_counted(monkeypatch):
    sink = Events()
    again = Script([frame(0), frame(1)])
    reopening(monkeypatch, "open_probe", [again])
    first = Script([frame(0), None, frame(1), frame(4)])
    reader = ProbeReader(first, unprepared, RT, sink)
    run(reader, lambda: len(sink.frames) == 5)
    assert [f.seq for f in sink.frames] == [0, 1, 4, 5, 6]
    assert reader.lost == 2
    assert reader.counters()["reconnects"] == 1
    assert reader.counters()["bad"] == 1  # of the device that is gone
    assert first.closed
    assert sink.kinds[:2] == ["lost", "reconnected"]


def test_a_probe_that_comes_back_with_another_raster_is_refused(monkeypatch):
    sink = Events()
    other = Script([frame(0)], Geometry("bmode", 9, 9, 0.1, 0.1))
    reopening(monkeypatch, "open_probe", [other])
    reader = ProbeReader(Script([frame(0)]), unprepared, RT, sink)
    run(reader, lambda: "refused" in sink.kinds)
    assert not reader.connected
    assert other.closed
    assert len(sink.frames) == 1


def test_a_frame_of_another_size_is_counted_and_never_shown_as_the_newest(monkeypatch):
    """So the last picture grows old in front of everybody, and STALE_US follows."""
    sink, t_ns = Events(), time.monotonic_ns()
    odd = Frame(t_ns, 1, np.zeros((1, 3), np.uint8))  # NumPy would spread it over the picture
    reopening(monkeypatch, "open_probe", [])
    reader = ProbeReader(Script([frame(0), odd, odd]), unprepared, RT, sink)
    run(reader, lambda: reader.counters()["misfit_frames"] == 2)
    assert [f.seq for f in sink.frames] == [0]
    assert reader.latest.frame.seq == 0


def test_sample_numbers_skip_the_time_an_amplifier_was_away(monkeypatch):
    sink, t0 = Events(), time.monotonic_ns()
    again = Script([chunk(0, 5, t0 + 510_000_000), chunk(5, 5, t0 + 515_000_000)])
    reopening(monkeypatch, "open_emg", [again])
    reader = EmgReader(Script([chunk(0, 10, t0)]), unheard, RT, sink)
    run(reader, lambda: len(sink.chunks) == 3)
    first, second, third = (c.seq for c in sink.chunks)
    assert (first, second, third) == (0, 515, 520)
    assert reader.lost == 505


def test_the_tick_drains_what_came_in_order_and_only_once():
    t0 = time.monotonic_ns()
    reader = EmgReader(Script([chunk(k, 1, t0 + k) for k in range(3)]), unheard, RT, NoSink())
    run(reader, lambda: reader.samples == 3)
    got = []
    reader.drain(got)
    assert [h.chunk.seq for h in got] == [0, 1, 2]
    reader.drain(got)
    assert got == []


def test_whatever_opening_and_closing_raise_the_reader_tries_on(monkeypatch):
    class Stuck(Script):
        def close(self):
            raise OSError("libusb is confused")

    attempts = []

    def reopen(address):
        attempts.append(address)
        if len(attempts) < 3:
            raise OSError("no such file")
        return Script([frame(0)])

    monkeypatch.setattr(sensors, "open_probe", reopen)
    sink = Events()
    reader = ProbeReader(Stuck([]), unprepared, RT, sink)
    run(reader, lambda: len(sink.frames) == 1)
    assert len(attempts) >= 3


def test_all_that_waits_is_fetched_before_a_tick_even_if_gaps_split_it():
    class Waiting(Script):
        def read(self, timeout_s):
            return self._items.pop(0) if self._items else None

    t0 = time.monotonic_ns()
    device = Waiting([chunk(3 * k, 2, t0 + k) for k in range(5)])  # one sample lost each time
    sink = Events()
    reader = EmgReader(device, unheard, RT, sink)
    reader.keep_step(t0 + 10**9, 10**12)  # one fetch, in a second
    run(reader, lambda: len(sink.chunks) == 5)
    assert reader.lost == 4


def test_data_that_come_later_and_later_make_the_reader_open_the_device_again(monkeypatch):
    class Late(Script):
        live = True

    t0 = time.monotonic_ns()
    device = [Frame(t0 + k * 10**7 + (400_000_000 if k > 250 else 0), k, frame(0).data, k * 10**7)
              for k in range(600)]  # fmt: skip
    reopening(monkeypatch, "open_probe", [Late([frame(0)])])
    sink = Events()
    reader = ProbeReader(Late(device), unprepared, RT, sink)
    run(reader, lambda: reader.reconnects == 1 and sink.frames[-1].device_ns == -1)
    held = [f for f in sink.frames if f.device_ns > 2_600_000_000]
    assert held
    assert all(f.t_ns < t0 + f.device_ns + 50_000_000 for f in held)  # old, not fresh


def test_a_driver_with_a_bug_is_opened_again_and_reported(monkeypatch):
    class Buggy(Script):
        def read(self, timeout_s):
            raise ZeroDivisionError

    sink = Events()
    reopening(monkeypatch, "open_probe", [Script([frame(0)])])
    reader = ProbeReader(Buggy([]), unprepared, RT, sink)
    run(reader, lambda: len(sink.frames) == 1)
    assert reader.reconnects == 1
