"""Sense-to-receiver latency of the whole daemon, beside the floor and the script most would write.

``make bench-latency`` takes about 7 minutes; ``FULL=1`` runs each case for 10.  A probe served
through the ``usb:`` driver at 61 frames/s, EMG through BrainFlow's playback board at 2 kHz, both
networks, a 10 ms tick, a recording, and a receiver process behind a pseudo-terminal.

*Sense to receiver* is from the newest EMG sample in the state to the arrival of the packet; it
contains the wait for the next sample, which no program can shorten.  *Path* is from the tick to the
arrival: that minus the floor is what the daemon adds.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench import naive
from demo.sources import Sources, open_sources
from edge.config import Config, Record, Rig, Timing, to_toml
from edge.listen import open_port
from edge.realtime import RealTime, prepare_process, prepare_thread
from firmware_bridge.address import Address, make
from firmware_bridge.probes.video_frames import parse_crop, read_video
from firmware_bridge.recording import open_recording

FULL = os.environ.get("FULL") == "1"
SECONDS = 600.0 if FULL else 62.0
SETTLE_S = 2.0  # of each case, not counted: the first states wait for the first data
OUT = Path("out/bench-latency")
PERIOD_MS = 10.0
PYTHON = [sys.executable, "-m"]
Times = NDArray[np.int64]


@dataclass
class Case:
    """What one run of the daemon showed; times in ns, one per state."""

    sense: Times
    path: Times
    infer: Times
    jitter: Times  # of emission, against the tick plus the release
    image: Times  # age of the image at the receiver
    states: int
    missed: int
    lost: int
    cpu_pct: float
    rss_mb: list[float] = field(default_factory=list)
    start_s: float = 0.0

    @property
    def rss_growth_mb(self) -> float:
        """Median of the last 10 s minus that of 10 s after every image was shown once."""
        return float(np.median(self.rss_mb[-10:]) - np.median(self.rss_mb[20:30]))


def daemon_case(sources: Sources, name: str, release_ms: float, realtime: bool) -> Case:
    """Run daemon and receiver as processes of their own; read the recording and what arrived."""
    out = OUT / name
    out.mkdir(parents=True, exist_ok=True)
    port = (out / "port").resolve()
    config = Config(
        rig=Rig(probe=sources.probe, emg=sources.emg, links=(f"serial:{port}",)),
        models=sources.models,
        timing=Timing(PERIOD_MS, release_ms),
        realtime=RealTime(enabled=realtime),
        record=Record(folder=str(out)),
    )
    (out / "rig.toml").write_text(to_toml(config))
    receiver = subprocess.Popen(
        [*PYTHON, "edge.cli", "listen", f"pty:{port}", "--realtime", "--quiet",
         "--save", out / "got.npz", "--seconds", str(SECONDS + 20)]
    )  # fmt: skip
    while not port.exists():
        time.sleep(0.02)
    started_ns = time.monotonic_ns()
    with (out / "daemon.log").open("w") as log:
        daemon = subprocess.Popen(
            [*PYTHON, "edge.cli", "run", out / "rig.toml", "--seconds", str(SECONDS)],
            stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        cpu_pct, rss_mb = watch(daemon)
    path = (daemon.stdout.read() if daemon.stdout else "").strip()
    receiver.wait()
    with np.load(out / "got.npz") as f:
        got = dict(f)
    case = read_case(Path(path), got, release_ms or PERIOD_MS)
    Path(path).unlink()  # hundreds of megabytes
    case.cpu_pct, case.rss_mb = cpu_pct, rss_mb
    case.start_s = float(got["arrival_ns"][0] - started_ns) * 1e-9
    return case


def watch(process: subprocess.Popen[str]) -> tuple[float, list[float]]:
    """CPU in per cent of one core after settling, and resident memory once a second."""
    import psutil

    rss_mb: list[float] = []
    used = first = 0.0
    at = first_at = time.monotonic()
    handle = psutil.Process(process.pid)
    while process.poll() is None:
        time.sleep(1.0)
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            rss_mb.append(handle.memory_info().rss / 2**20)
            times = handle.cpu_times()
            used, at = times.user + times.system, time.monotonic()
            if len(rss_mb) == 5:
                first, first_at = used, at
    return 100 * (used - first) / max(at - first_at, 1e-9), rss_mb[:-1]


def read_case(recording_path: Path, got: dict[str, Any], release_ms: float) -> Case:
    """Join the daemon's rows of times with the receiver's arrivals by state number."""
    stamps = open_recording(recording_path).stamps()
    sent = stamps[stamps["sent_ns"] > 0]
    settled = sent[sent["t_tick_ns"] > sent["t_tick_ns"][0] + int(SETTLE_S * 1e9)]
    where = {int(s): i for i, s in enumerate(got["seq"])}
    index = np.array([where.get(int(t), -1) for t in settled["tick"]])
    arrived = got["arrival_ns"][index]
    ok = (index >= 0) & (settled["emg_t_ns"] > 0) & (settled["us_t_ns"] > 0)
    fresh = ok & (settled["late"] == 0)
    rows, arrivals = settled[ok], arrived[ok]
    ticks = np.unique(settled["tick"])
    return Case(
        sense=arrivals - rows["emg_t_ns"],
        path=(arrived - settled["t_tick_ns"])[fresh],
        infer=(settled["infer_end_ns"] - settled["infer_start_ns"])[fresh],
        jitter=np.abs(settled["sent_ns"] - settled["t_tick_ns"] - int(release_ms * 1e6)),
        image=arrivals - rows["us_t_ns"],
        states=len(settled),
        missed=int((settled["late"] > 0).sum() + ticks[-1] - ticks[0] + 1 - len(ticks)),
        lost=int((index < 0).sum()),
        cpu_pct=0.0,
    )


def naive_case(sources: Sources) -> Times:
    """Ages of the naive script's packets at the receiver, in ns."""
    address, link = Address(sources.emg), OUT / "naive-port"
    file, master = address.take("file", "", str), address.take("master", "", str)
    prepare_process(RealTime())
    prepare_thread(RealTime(priority=60), 0)  # the receiver, as in the other cases
    ages: list[int] = []
    with open_port(f"pty:{link.resolve()}") as fd:
        script = subprocess.Popen(
            [*PYTHON, "bench.naive", file, master, link, str(SECONDS), *sources.models]
        )
        buffer, begin = b"", time.monotonic()
        while script.poll() is None:
            try:
                buffer += os.read(fd, 4096)
            except BlockingIOError:
                time.sleep(50e-6)
                continue
            now = time.time()
            while len(buffer) >= naive.PACKET.size:
                _, stamp, _ = naive.PACKET.unpack_from(buffer)
                buffer = buffer[naive.PACKET.size :]
                if time.monotonic() > begin + SETTLE_S + 2:
                    ages.append(int((now - stamp) * 1e9))
    return np.array(ages, np.int64)


def floor_case(sources: Sources) -> Times:
    """Durations of the bare calls of each tick, in ns."""
    out = OUT / "floor.npy"
    seconds = SECONDS / 2
    subprocess.run(
        [*PYTHON, "bench.floor", str(seconds), str(PERIOD_MS), str(sources.fps), out,
         *sources.models], check=True,
    )  # fmt: skip
    return np.asarray(np.load(out), np.int64)


@contextlib.contextmanager
def hogs(n: int) -> Iterator[None]:
    """Keep ``n`` cores busy with ordinary programs."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for p in running:
            p.kill()
            p.wait()


def quantiles(ns: Times) -> dict[str, float]:
    """Milliseconds."""
    p50, p99, p999 = np.percentile(ns, [50, 99, 99.9]) * 1e-6
    return {k: round(float(v), 3) for k, v in zip(
        ("p50", "p99", "p999", "max"), (p50, p99, p999, ns.max() * 1e-6), strict=True)}  # fmt: skip


def quick_to_open(sources: Sources) -> Sources:
    """The same images as an array: decoding a film is not what ``start_s`` is about."""
    a = Address(sources.probe)
    files = a.take("video", "", str)
    if not files:
        return sources
    crop = a.take("crop", None, parse_crop)
    lines, samples = a.take("lines", 0, int), a.take("samples", 0, int)
    px_mm = a.take("px_mm", 0.0, float)
    video = read_video(tuple(files.split(",")), crop, lines, samples)
    np.save(OUT / "frames.npy", video.frames)
    params = {
        "frames": OUT / "frames.npy", "dx_mm": video.pixels[0] * px_mm,
        "dz_mm": video.pixels[1] * px_mm, "fps": sources.fps,
    }  # fmt: skip
    return replace(sources, probe=make("usb", "sim", params))


def main() -> int:
    """Run every case, print the table, save the figure, end with one line of JSON."""
    OUT.mkdir(parents=True, exist_ok=True)
    sources = quick_to_open(open_sources(OUT, offline=False))
    console = Console(highlight=False)
    console.print(f"{sources.note}\n{SECONDS:g} s each, {os.cpu_count()} cores")
    floor_idle = floor_case(sources)
    fixed = daemon_case(sources, "idle_fixed", 8.0, True)
    idle = daemon_case(sources, "idle", 0.0, True)
    with hogs(2):
        floor = floor_case(sources)
        loaded = daemon_case(sources, "hogs", 0.0, True)
        nort = daemon_case(sources, "hogs_nort", 0.0, False)
    with hogs(2):
        ages = naive_case(sources)  # last: its receiver makes this process real-time
    rows = {
        "floor: bare ONNX Runtime, idle": floor_idle,
        "floor: bare ONNX Runtime, 2 hogs": floor,
        "daemon, idle: sense to receiver": idle.sense,
        "daemon, idle: path": idle.path,
        "daemon, 2 hogs: sense to receiver": loaded.sense,
        "daemon, 2 hogs: path": loaded.path,
        "daemon, 2 hogs: inference only": loaded.infer,
        "daemon, 2 hogs, no real-time: sense to receiver": nort.sense,
        "daemon, 2 hogs, no real-time: path": nort.path,
        "naive script, 2 hogs: sense to receiver": ages,
        "daemon, idle, release at 8 ms: emit jitter": fixed.jitter,
        "daemon, idle, release at 8 ms: image to receiver": fixed.image,
    }
    print_table(console, rows, {"idle": idle, "release 8 ms": fixed, "hogs": loaded, "nort": nort})
    draw(rows)
    print(json.dumps(summary(floor_idle, floor, idle, fixed, loaded, nort, ages)))
    return 0


def summary(
    floor_idle: Times, floor: Times, idle: Case, fixed: Case, loaded: Case, nort: Case, ages: Times
) -> dict[str, Any]:
    """The line of JSON."""
    added = {
        k: round(quantiles(loaded.path)[k] - quantiles(floor)[k], 3) for k in ("p50", "p99", "p999")
    }
    return {
        "seconds": SECONDS,
        "floor_idle_ms": quantiles(floor_idle),
        "floor_hogs_ms": quantiles(floor),
        "daemon_idle_ms": quantiles(idle.sense),
        "daemon_hogs_ms": quantiles(loaded.sense),
        "daemon_hogs_nort_ms": quantiles(nort.sense),
        "naive_hogs_ms": quantiles(ages),
        "path_idle_ms": quantiles(idle.path),
        "path_hogs_ms": quantiles(loaded.path),
        "added_hogs_ms": added,
        "emit_jitter_idle_ms": quantiles(fixed.jitter),
        "naive_over_daemon_p999": round(
            quantiles(ages)["p999"] / quantiles(loaded.sense)["p999"], 1
        ),
        "missed": {"idle": idle.missed + fixed.missed, "hogs": loaded.missed, "nort": nort.missed},
        "lost": idle.lost + fixed.lost + loaded.lost + nort.lost,
        "rss_growth_mb": round(max(c.rss_growth_mb for c in (idle, fixed, loaded)), 2),
        "rss_mb": round(fixed.rss_mb[-1], 1),
        "cpu_pct": round(fixed.cpu_pct, 1),
        "start_s": round(min(c.start_s for c in (idle, fixed)), 2),
    }


def print_table(console: Console, rows: dict[str, Times], cases: dict[str, Case]) -> None:
    """All distributions, then what each case cost and lost."""
    table = Table("ms", "p50", "p99", "p99.9", "max", "n")
    for name, ns in rows.items():
        table.add_row(name, *(f"{v:.2f}" for v in quantiles(ns).values()), str(len(ns)))
    console.print(table)
    table = Table("case", "states", "missed", "lost", "CPU %", "RSS MB", "growth MB", "start s")
    for name, c in cases.items():
        table.add_row(
            name, str(c.states), str(c.missed), str(c.lost), f"{c.cpu_pct:.0f}",
            f"{c.rss_mb[-1]:.0f}", f"{c.rss_growth_mb:+.2f}", f"{c.start_s:.2f}",
        )  # fmt: skip
    console.print(table)


def draw(rows: dict[str, Times]) -> None:
    """Share of states slower than x, both axes logarithmic: the tail is what matters."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axis = figure.subplots()
    for name, ns in rows.items():
        x = np.sort(ns) * 1e-6
        axis.loglog(x, 1 - np.arange(len(x)) / len(x), label=name, lw=1.2)
    axis.set_xlabel("ms")
    axis.set_ylabel("share of states slower")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    figure.savefig(OUT / "latency.png", dpi=130)


if __name__ == "__main__":
    sys.exit(main())
