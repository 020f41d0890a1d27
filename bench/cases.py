"""One case of the latency bench: the daemon, the naive script or the floor, run and read back."""

import contextlib
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

from bench import naive
from demo.sources import Sources
from edge.config import Config, Record, Rig, Timing, to_toml
from edge.listen import open_port
from edge.realtime import RealTime, prepare_process, prepare_thread
from firmware_bridge.address import Address, make
from firmware_bridge.probes.video_frames import parse_crop, read_video
from firmware_bridge.recording import open_recording
from firmware_bridge.types import Flag

SETTLE_S = 2.0  # of each case, not counted: the first states wait for the first data
OUT = Path("out/bench-latency")
PERIOD_MS = 10.0
PYTHON = [sys.executable, "-m"]
Times = NDArray[np.int64]


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


def daemon_case(
    sources: Sources, name: str, seconds: float, release_ms: float, realtime: bool
) -> Case:
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
         "--save", out / "got.npz", "--seconds", str(seconds + 20)]
    )  # fmt: skip
    while not port.exists():
        time.sleep(0.02)
    started_ns = time.monotonic_ns()
    with (out / "daemon.log").open("w") as log:
        daemon = subprocess.Popen(
            [*PYTHON, "edge.cli", "run", out / "rig.toml", "--seconds", str(seconds)],
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
    stale = int(Flag.STALE_US | Flag.STALE_EMG | Flag.FAULT)
    known = np.isfinite(got["values"]).all(axis=1) & (got["flags"] & stale == 0)
    case.start_s = float(got["arrival_ns"][np.argmax(known)] - started_ns) * 1e-9
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


def naive_case(sources: Sources, seconds: float) -> Times:
    """Ages of the naive script's packets at the receiver, in ns."""
    address, link = Address(sources.emg), OUT / "naive-port"
    file, master = address.take("file", "", str), address.take("master", "", str)
    prepare_process(RealTime())
    prepare_thread(RealTime(priority=60), 0)  # the receiver, as in the other cases
    ages: list[int] = []
    with open_port(f"pty:{link.resolve()}") as fd:
        script = subprocess.Popen(
            [*PYTHON, "bench.naive", file, master, link, str(seconds), *sources.models]
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


def floor_case(sources: Sources, seconds: float) -> Times:
    """Durations of the bare calls of each tick, in ns."""
    out = OUT / "floor.npy"
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
