"""Reader threads: one per sensor; they map clocks, hand over without locks, and survive unplugging.

The probe's thread overwrites one slot (latest wins); the EMG's appends to a fixed queue that the
tick drains.  A device that is gone is opened again by its address, with back-off; meanwhile the
tick goes on and flags the input stale.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from edge.clock import ClockMap, Pacer
from edge.estimate import Heard, Look
from edge.realtime import RANK_SENSOR, RealTime, prepare_thread
from firmware_bridge.emg import open_emg
from firmware_bridge.probes import open_probe
from firmware_bridge.types import UNKNOWN_NS, Chunk, Device, DeviceError, Emg, Frame, Probe

log = logging.getLogger(__name__)

BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
READ_TIMEOUT_S = 0.2
CLOSE_S = 3.0  # how long closing waits for a read to end
EMG_LEAD_NS = 1_500_000  # enough to fetch and filter 20 samples on a busy machine
QUEUE_CHUNKS = 4096  # many seconds: one comes per tick

D = TypeVar("D", bound=Device)


class Sink(Protocol):
    """Where a reader leaves a copy of everything: the recorder."""

    def frame(self, frame: Frame) -> None:
        """Take a frame; never blocks."""

    def chunk(self, chunk: Chunk) -> None:
        """Take a chunk; never blocks."""

    def event(self, kind: str, **data: object) -> None:
        """Take an event; never blocks."""


class Reader(Generic[D]):
    """Reads a device on its own thread until ``close``, re-opening it when it is gone.

    ``take`` reads once and hands over; ``differs`` says why a re-opened device cannot stand in for
    the one before, or "".
    """

    def __init__(
        self,
        device: D,
        reopen: Callable[[str], D],
        take: Callable[[D], None],
        differs: Callable[[D, D], str],
        rt: RealTime,
        sink: Sink,
        name: str,
    ):
        self.device = device
        self.name = name
        self.connected = True
        self.reconnects = 0
        self.warnings: list[str] = []
        self._reopen, self._take, self._differs = reopen, take, differs
        self._rt, self._sink = rt, sink
        self._stop = threading.Event()
        self._totals: dict[str, int] = {}  # counters of devices that are gone
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and leave the device safe."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=CLOSE_S)
        self._safe(self.device)

    def counters(self) -> dict[str, int]:
        """All that went wrong since the start, over every re-opening."""
        total = dict(self._totals)
        for key, n in self.device.counters.items():
            total[key] = total.get(key, 0) + n
        return total | {"reconnects": self.reconnects}

    def _run(self) -> None:
        self.warnings += prepare_thread(self._rt, RANK_SENSOR)
        while not self._stop.is_set():
            try:
                self._take(self.device)
            except DeviceError as e:
                self._lost(str(e))
            except Exception as e:  # a driver's bug must not silence the sensor for good
                log.exception("%s: driver failed", self.name)
                self._lost(f"driver failed: {e!r}")

    def _lost(self, why: str) -> None:
        self.connected = False
        self._sink.event("lost", device=self.name, why=why)
        log.warning("%s: %s", self.name, why)
        self._safe(self.device)
        for key, n in self.device.counters.items():
            self._totals[key] = self._totals.get(key, 0) + n
        self.device.counters = dict.fromkeys(self.device.counters, 0)
        for attempt in range(1 << 30):
            if self._stop.wait(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]):
                return
            if (device := self._try_again()) is None:
                continue
            self.device, self.connected = device, True
            if self._stop.is_set():  # opening took so long that ``close`` has come and gone
                self._safe(device)
                return
            self.reconnects += 1
            self._sink.event("reconnected", device=self.name)
            log.warning("%s is back", self.name)
            return

    def _try_again(self) -> D | None:
        try:
            device = self._reopen(self.device.address)
            why_not = self._differs(device, self.device)
        except DeviceError:
            return None
        except Exception:  # whatever a library raises here, the next attempt may work
            log.exception("%s: opening failed", self.name)
            return None
        if why_not:
            self._safe(device)
            self._sink.event("refused", device=self.name, why=why_not)
            return None
        return device

    def _safe(self, device: D) -> None:
        try:
            device.close()
        except Exception:  # closing what is gone must not end the thread that waits for it
            log.exception("%s: closing failed", self.name)


def _check_on_time(clock: ClockMap) -> None:
    if clock.behind:
        raise DeviceError("its data come late and do not catch up: opened again to empty buffers")


class ProbeReader(Reader[Probe]):
    """Keeps the newest frame, prepared, in ``latest``; its counter goes on over a replug.

    Frames are prepared here, as they arrive: on a tick's way to its deadline this would cost as
    much as a small network.
    """

    def __init__(self, probe: Probe, prepare: Callable[[Frame], Look], rt: RealTime, sink: Sink):
        super().__init__(probe, open_probe, self._next_frame, _other_raster, rt, sink, "probe")
        self.latest: Look | None = None
        self.frames = 0
        self._prepare = prepare
        self.lost = 0
        self.misfits = 0
        self._clock = ClockMap()
        self._base = 0

    def _next_frame(self, device: Probe) -> None:
        frame = device.read(READ_TIMEOUT_S)
        if frame is None:
            if getattr(device, "finished", False):
                self._stop.wait(READ_TIMEOUT_S)
            return
        g = device.geometry
        if frame.data.shape != (g.lines, g.samples):  # no picture: age and STALE_US will tell
            self.misfits += 1
            return
        t_ns = frame.t_ns
        if frame.device_ns != UNKNOWN_NS:
            t_ns = self._clock.map(frame.device_ns, t_ns)
            _check_on_time(self._clock)
        seq = frame.seq + self._base
        if self.latest is not None:
            previous = self.latest.frame.seq
            if seq <= previous:  # the device was restarted: go on counting where it was
                self._base += previous + 1 - seq
                seq = previous + 1
            self.lost += seq - previous - 1
        frame = Frame(t_ns, seq, frame.data, frame.device_ns)
        self.latest = self._prepare(frame)
        self.frames += 1
        self._sink.frame(frame)

    def _lost(self, why: str) -> None:
        self._clock = ClockMap(self._clock.steps)
        super()._lost(why)

    def counters(self) -> dict[str, int]:
        """Adds frames, lost ones, ones of another size, and clock steps to the driver's own."""
        own = {
            "frames": self.frames,
            "lost_frames": self.lost,
            "misfit_frames": self.misfits,
            "clock_steps": self._clock.steps,
        }
        return super().counters() | own


class EmgReader(Reader[Emg]):
    """Appends chunks, prepared, to a fixed queue.

    Sample numbers go on over a replug, as if the samples in between had been lost.
    """

    def __init__(self, emg: Emg, prepare: Callable[[Chunk], Heard], rt: RealTime, sink: Sink):
        super().__init__(emg, open_emg, self._next_chunk, _other_channels, rt, sink, "emg")
        self._queue: deque[Heard] = deque(maxlen=QUEUE_CHUNKS)
        self._prepare = prepare
        self._pacer: Pacer | None = None
        self.samples = 0
        self.lost = 0
        self.overrun = 0  # chunks the tick did not fetch in time
        self._clock = ClockMap()
        self._base = 0
        self._next = 0
        self._last_t_ns = UNKNOWN_NS
        self._reopened = False

    def keep_step(self, t0_ns: int, period_ns: int) -> None:
        """Fetch samples just before the tick that uses them, and once half-way between.

        Not as they come: each fetch costs Python a moment, and the tick would wait for the GIL.
        The one half-way bounds what a fetch that comes too late for its tick costs.
        """
        self._pacer = Pacer(period_ns // 2, t0_ns - EMG_LEAD_NS)

    def drain(self, out: list[Heard]) -> None:
        """Move everything that arrived to ``out``; oldest first, without blocking."""
        out.clear()
        queue = self._queue
        for _ in range(len(queue)):
            out.append(queue.popleft())

    def _next_chunk(self, device: Emg) -> None:
        if self._pacer:
            self._pacer.wait()
        chunk = device.read(READ_TIMEOUT_S)
        if chunk is None and getattr(device, "finished", False):
            self._stop.wait(READ_TIMEOUT_S)
        while chunk is not None:  # a driver ends a chunk at every gap: fetch all there is
            self._take_chunk(device, chunk)
            chunk = device.read(0.0) if self._pacer else None

    def _take_chunk(self, device: Emg, chunk: Chunk) -> None:
        n = len(chunk.data)
        seq = chunk.seq + self._base
        if self._reopened and self.samples:
            # Time went by unsampled: the count goes on as if those samples had been lost.
            away = round((chunk.t_ns - self._last_t_ns) * 1e-9 * chunk.fs_hz) - n
            seq = self._next + max(away, 0)
            self._base = seq - chunk.seq
        self._reopened = False
        t_ns = chunk.t_ns
        if device.live:  # a playback is paced by software: it has no crystal to go by
            t_ns = self._clock.map(int((seq + n) * 1e9 / chunk.fs_hz), t_ns)
            _check_on_time(self._clock)
        self.lost += max(seq - self._next, 0) if self.samples else 0
        chunk = Chunk(t_ns, seq, chunk.fs_hz, chunk.data)
        self._next, self._last_t_ns = seq + n, t_ns
        self.samples += n
        self.overrun += len(self._queue) == QUEUE_CHUNKS
        self._queue.append(self._prepare(chunk))
        self._sink.chunk(chunk)

    def _lost(self, why: str) -> None:
        self._reopened = True
        self._clock = ClockMap(self._clock.steps)
        super()._lost(why)

    def counters(self) -> dict[str, int]:
        """Adds samples, lost samples and clock steps to the driver's own."""
        own = {"samples": self.samples, "lost": self.lost, "overrun": self.overrun}
        own["clock_jumps"] = self._clock.steps
        return super().counters() | own


def _other_raster(now: Probe, was: Probe) -> str:
    if now.geometry != was.geometry:
        return f"geometry is {now.geometry}, was {was.geometry}: restart the daemon"
    return ""


def _other_channels(now: Emg, was: Emg) -> str:
    if (now.fs_hz, now.channels) != (was.fs_hz, was.channels):
        return f"now {now.fs_hz} Hz {now.channels}: restart the daemon"
    return ""


class NoSink:
    """Records nothing."""

    def frame(self, frame: Frame) -> None:
        """Drop it."""

    def chunk(self, chunk: Chunk) -> None:
        """Drop it."""

    def event(self, kind: str, **data: object) -> None:
        """Log it for whoever looks for it."""
        log.debug("%s %s", kind, data)
