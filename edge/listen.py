"""``sonomyo listen``: be the rehab device.  Decodes packets, keeps the safety rules, shows a table.

``pty:PATH`` makes a pseudo-terminal and puts its name at PATH, for a daemon with the link
``serial:PATH``; anything else is a serial port.
"""

import argparse
import contextlib
import os
import select
import signal
import sys
import threading
import time
import tty
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from edge.clock import now_ns
from edge.realtime import RANK_LINK, RANK_RELEASE, RealTime, prepare_process, prepare_thread
from edge.say import Speaker, read_angles
from firmware_bridge.links.receiver import Limits, Reason, Receiver
from firmware_bridge.types import UNKNOWN_NS, DeviceError, Flag, MuscleState, flag_names

REFRESH_S = 0.2
RECENT = 500  # states that the jitter is taken from
PLAIN_S = 2.0  # between lines where there is no terminal to draw a table on


class Measured:
    """What the device's own sensors say, from an NPZ that may appear later.

    Arrays ``t0_ns``, ``rate_hz``, ``names`` and ``values (n, names)``, repeated for ever.
    """

    def __init__(self, path: Path):
        self._path = path
        self._names: list[str] = []

    def at(self, name: str, t_ns: int) -> float:
        """The measurement of ``name`` at a time; NaN when there is none."""
        if not self._names and self._path.exists():
            with np.load(self._path) as f:
                self._t0_ns, self._rate_hz = int(f["t0_ns"]), float(f["rate_hz"])
                self._names = [str(n) for n in f["names"]]
                self._values = f["values"]
        if name not in self._names or t_ns < self._t0_ns:
            return float("nan")
        index = int((t_ns - self._t0_ns) * 1e-9 * self._rate_hz)
        return float(self._values[index % len(self._values), self._names.index(name)])


class Listener:
    """Reads a port on its own thread; everything received is kept if it is to be saved."""

    def __init__(self, fd: int, limits: Limits, rt: RealTime, keep: bool):
        self.receiver = Receiver(limits)
        self.last: MuscleState | None = None
        self.arrivals_ns: deque[int] = deque(maxlen=None if keep else RECENT)
        self.states: deque[MuscleState] = deque(maxlen=None if keep else RECENT)
        self.received = self.lost = 0
        self._fd, self._rt = fd, rt
        self.stopping = False  # not an Event: setting one in a signal handler can deadlock
        self.gone = False
        self._thread = threading.Thread(target=self._read, name="listen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the reading thread."""
        self.stopping = True
        self._thread.join(timeout=2.0)

    def save(self, path: Path) -> None:
        """Write arrival times, numbers, ages, flags and values of all states as NPZ."""
        n = max((len(s.values) for s in self.states), default=0)
        values = np.full((len(self.states), n), np.nan, np.float32)
        for i, s in enumerate(self.states):
            values[i, : len(s.values)] = s.values
        np.savez(
            path,
            arrival_ns=np.array(self.arrivals_ns, np.int64),
            seq=np.array([s.seq for s in self.states], np.int64),
            t_ns=np.array([s.t_ns for s in self.states], np.int64),
            flags=np.array([int(s.flags) for s in self.states], np.int64),
            values=values,
        )

    def _read(self) -> None:
        prepare_thread(self._rt, RANK_RELEASE)  # a microcontroller has nothing else to do either
        while not self.stopping:
            if not select.select([self._fd], [], [], 0.2)[0]:
                continue
            at_ns = now_ns()
            try:
                data = os.read(self._fd, 65536)
            except OSError:  # the other end of a pseudo-terminal is closed, or not open yet
                data = b""
            if not data:  # a line that was hung up reads as empty
                self.gone = True
                time.sleep(0.05)
                continue
            self._take(data, at_ns)

    def _take(self, data: bytes, at_ns: int) -> None:
        self.gone = False
        for state in self.receiver.feed(data, at_ns):
            if self.last is not None and state.seq > self.last.seq:
                self.lost += state.seq - self.last.seq - 1
            self.received += 1
            self.last = state
            self.arrivals_ns.append(at_ns)
            self.states.append(state)


def render(listener: Listener, measured: Measured | None) -> Table:
    """The live table: values beside measurements, then age, jitter, losses and the verdict."""
    table = Table("value", "estimated", "measured", "unit", title="rehab device")
    state, info = listener.last, listener.receiver.info
    if state is None:
        table.add_row("waiting for packets", "", "", "")
        return table
    outputs = info.outputs if info else ()
    for i, value in enumerate(state.values):
        name = outputs[i].name if i < len(outputs) else f"value {i}"
        sd = f" ± {state.sd[i]:.1f}" if state.sd is not None and np.isfinite(state.sd[i]) else ""
        now = measured.at(name, state.t_ns) if measured else float("nan")
        shown = f"{now:8.1f}" if np.isfinite(now) else "-"
        unit = outputs[i].unit if i < len(outputs) else ""
        table.add_row(name, f"{value:8.1f}{sd}", shown, unit)
    verdict = listener.receiver.check(now_ns())
    table.add_section()
    table.add_row("age of the data", _age(listener), "", "ms")
    table.add_row("jitter of arrival, p99", f"{_jitter_ms(listener):8.2f}", "", "ms")
    table.add_row("states / lost", f"{listener.received} / {listener.lost}", "", "")
    table.add_row("flags", flag_names(state.flags), "", "")
    table.add_row("would drive", "yes" if verdict.safe else f"no: {verdict.reason.name}", "", "")
    return table


def _age(listener: Listener) -> str:
    state = listener.last
    if state is None or state.t_ns == UNKNOWN_NS:
        return "not known"
    return f"{(listener.arrivals_ns[-1] - state.t_ns) * 1e-6:8.1f}"


def _jitter_ms(listener: Listener) -> float:
    """How far arrivals of the last 5 s are from their own even grid, 99th percentile."""
    n = min(len(listener.arrivals_ns), len(listener.states), RECENT)
    arrived = np.array([listener.arrivals_ns[k] for k in range(-n, 0)], np.float64)
    seqs = np.array([listener.states[k].seq for k in range(-n, 0)], np.float64)
    info = listener.receiver.info
    if n < 10 or not info:
        return float("nan")
    off = arrived - seqs * info.period_ms * 1e6
    return float(np.percentile(np.abs(off - np.median(off)), 99) * 1e-6)


def show(listener: Listener, measured: Measured | None, seconds: float, quiet: bool) -> None:
    """Draw the table until ``seconds`` are over or the sender has said goodbye and gone."""
    console = Console(quiet=quiet)
    end, line = time.monotonic() + seconds, time.monotonic() + PLAIN_S
    live = Live(console=console, auto_refresh=False) if console.is_terminal and not quiet else None
    with live or contextlib.nullcontext():
        while not listener.stopping and time.monotonic() < end:
            time.sleep(REFRESH_S)
            verdict = listener.receiver.check(now_ns())
            if verdict.ready and verdict.reason == Reason.NOT_ARMED:
                listener.receiver.rearm()  # starting this program is the arming; once
            if live:
                live.update(render(listener, measured), refresh=True)
            elif not quiet and time.monotonic() >= line:
                line = time.monotonic() + PLAIN_S
                console.print(render(listener, measured))
            farewell = listener.last is not None and listener.last.flags & Flag.FAULT
            if listener.gone and farewell:
                return


@contextlib.contextmanager
def open_port(address: str, baud: int = 921600) -> Iterator[int]:
    """A file descriptor of ``pty:PATH`` or of a serial port.  Raises DeviceError."""
    if address.startswith("pty:"):
        link = Path(address.partition(":")[2])
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        with contextlib.suppress(FileNotFoundError):
            link.unlink()
        link.symlink_to(os.ttyname(slave))
        try:
            yield master  # the other end stays open here, so that the daemon may come and go
        finally:
            link.unlink(missing_ok=True)
            os.close(master)
            os.close(slave)
        return
    import serial

    try:
        port = serial.Serial(address, baud, timeout=0)
    except (serial.SerialException, OSError) as e:
        raise DeviceError(f"cannot open {address}: {e}: is it plugged in, may you use it?") from e
    try:
        yield int(port.fileno())
    finally:
        port.close()


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo listen``."""
    p.add_argument("port", help="pty:PATH, or a serial port such as /dev/ttyUSB0")
    p.add_argument("--seconds", type=float, default=float("inf"))
    p.add_argument("--baud", type=int, default=921600, help="of a serial port")
    p.add_argument("--period-ms", type=float, default=10.0, help="what the sender was set to")
    p.add_argument("--max-age-ms", type=float, default=150.0, help="older data is not driven on")
    p.add_argument(
        "--accept", default="", help="flags to drive on nevertheless: REPLAY,UNCALIBRATED"
    )
    p.add_argument("--measured", type=Path, help="NPZ with measurements to show beside")
    p.add_argument(
        "--encoder", metavar="FILE.npz:NAME", help="send the array NAME (deg, at its rate_hz)"
    )
    p.add_argument("--load", metavar="KG", type=float, help="send this load every second")
    p.add_argument("--save", type=Path, help="write everything received to this NPZ")
    p.add_argument("--quiet", action="store_true", help="no table")
    p.add_argument("--realtime", action="store_true", help="receive with real-time priority")


def main(a: argparse.Namespace) -> int:
    """Exit code 0: states arrived; 1: none did; 2: the port could not be opened."""
    default = Limits(period_ms=a.period_ms, max_age_ms=a.max_age_ms)
    accepted = Flag(0)
    for name in filter(None, a.accept.upper().split(",")):
        if name not in Flag.__members__:
            print(
                f"sonomyo listen: no flag {name}; known: {list(Flag.__members__)}", file=sys.stderr
            )
            return 2
        accepted |= Flag[name]
    limits = Limits(a.period_ms, a.max_age_ms, reject=default.reject & ~accepted)
    rt = RealTime(enabled=a.realtime)
    prepare_thread(rt, RANK_LINK)  # this thread holds the GIL, too, while it draws
    try:
        angles = read_angles(a.encoder) if a.encoder else None
        with open_port(a.port, a.baud) as fd:
            speaker = Speaker(fd, angles, a.load)
            listener = Listener(fd, limits, rt, keep=a.save is not None)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: setattr(listener, "stopping", True))
            prepare_process(rt)
            show(listener, Measured(a.measured) if a.measured else None, a.seconds, a.quiet)
            listener.close()
            speaker.close()
    except DeviceError as e:
        print(f"sonomyo listen: {e}", file=sys.stderr)
        return 2
    if a.save:
        listener.save(a.save)
    return 0 if listener.received else 1
