"""``sonomyo demo``: probe, amplifier, daemon and rehab device run as they would in the field.

A simulated probe serves a B-mode video through the ``usb:`` driver and BrainFlow plays EMG; the
daemon is a process of its own, and so is the receiver at the other end of a pseudo-terminal.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from demo.activation import beside, envelopes
from demo.report import MEASURED, draw, read_times, read_tracks, session_s, write_html
from demo.sources import Sources, open_sources
from edge.config import Config, Record, Rig, to_toml
from edge.replay import estimators_of, replay
from firmware_bridge.recording import Recording, RecordingError, open_recording

TITLE = "Sonomyo demo: images of one person, EMG of another"
START_S = 15.0  # the video is decoded and the network loaded before the first state
ENTRY = [sys.executable, "-m", "edge.cli"]


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo demo``."""
    p.add_argument("--seconds", type=float, default=30.0)
    p.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="recording and figure go there"
    )
    p.add_argument(
        "--simulated", action="store_true", help="the simulated wearer, without recordings"
    )


def main(a: argparse.Namespace) -> int:
    """Exit code 0: it ran; 1: something in it failed, the log says what."""
    console = Console(highlight=False)
    sources = open_sources(a.out, a.simulated)
    console.print(f"[bold]{sources.note}[/bold]")
    recording_path = _run(sources, a.out, a.seconds, console)
    if recording_path is None:
        return 1
    recording = open_recording(recording_path)
    text = _report(recording, sources, a.out)
    console.print(text)
    if sources.attribution:
        console.print(sources.attribution, style="dim")
    return 0


def _run(sources: Sources, out: Path, seconds: float, console: Console) -> Path | None:
    """Start receiver and daemon, wait for both; the recording, or None with the reason printed."""
    port, measured, log_path = out / "rehab-device", out / "measured.npz", out / "daemon.log"
    for old in (measured, port, out / "received.npz"):
        old.unlink(missing_ok=True)
    config = Config(
        rig=Rig(probe=sources.probe, emg=sources.emg, links=(f"serial:{port.resolve()}",)),
        models=sources.models,
        record=Record(folder=str(out)),
    )
    rig = out / "rig.toml"
    rig.write_text(to_toml(config), encoding="utf-8")
    listen = [
        *ENTRY, "listen", f"pty:{port.resolve()}", "--save", str(out / "received.npz"),
        "--measured", str(measured), "--accept", "REPLAY,UNCALIBRATED",
        "--seconds", str(seconds + START_S),
    ]  # fmt: skip
    before = set(out.glob("*.mcap"))
    receiver = subprocess.Popen(listen)
    daemon = None
    try:
        while not port.exists() and receiver.poll() is None:
            time.sleep(0.02)
        with log_path.open("w") as log:
            daemon = subprocess.Popen(
                [*ENTRY, "run", str(rig), "--seconds", str(seconds)], stdout=log, stderr=log
            )
        _tell_measured(sources, out, before, measured, daemon)
        failed = daemon.wait() != 0
    except KeyboardInterrupt:  # both processes got it too
        failed = daemon is None or daemon.wait(timeout=10) != 0
    finally:
        if daemon and daemon.poll() is None:
            daemon.terminate()
            daemon.wait(timeout=10)
        if receiver.poll() is None:
            receiver.send_signal(signal.SIGINT)
        receiver.wait(timeout=10)
    if failed:
        console.print(f"[red]the daemon failed[/red]; {log_path} says:\n{log_path.read_text()}")
        return None
    return max(set(out.glob("*.mcap")) - before, key=os.path.getmtime)


def _tell_measured(
    sources: Sources, out: Path, before: set[Path], measured: Path, daemon: subprocess.Popen[bytes]
) -> None:
    """Give the receiver the dynamometer's readings, from the moment the first image was taken."""
    by_frame = {k: v for k, (clock, v) in sources.truth.items() if clock == "us_seq"}
    end = time.monotonic() + START_S
    while time.monotonic() < end and daemon.poll() is None:
        time.sleep(0.1)
        for path in set(out.glob("*.mcap")) - before:
            try:
                first = next(open_recording(path).frames(), None)
            except RecordingError:  # its head is being written this moment
                continue
            if first is None:
                continue
            t0_ns = first.t_ns - int(first.seq * 1e9 / sources.fps)
            part = measured.with_suffix(".part.npz")
            np.savez(
                part, t0_ns=t0_ns, rate_hz=sources.fps, names=np.array(list(by_frame)),
                values=np.stack(list(by_frame.values()), axis=1),
            )  # fmt: skip
            part.replace(measured)
            return


def _report(recording: Recording, sources: Sources, out: Path) -> str:
    """Compute, draw and write the report; its text."""
    with np.load(out / "received.npz") as f:
        latency = read_times(recording, dict(f))
    estimators = estimators_of(recording, [])
    many = len(estimators) > 1
    named = [
        (f"{e.spec.name}.{o.name}" if many else o.name, e.spec, place, o.unit)
        for e in estimators
        for place, o in enumerate(e.spec.outputs)
    ]
    known = sources.truth | envelopes(recording, [row[:3] for row in named])
    tracks = [beside(t) for t in read_tracks(recording, [(n, u) for n, *_, u in named], known)]
    against = [t for t in tracks if t.label == MEASURED]
    again = replay(recording, estimators)
    lines = [f"{'against the dynamometer':<30}{'RMSE':>10}{'R²':>8}"]
    lines += [f"  {t.name:<28}{t.rmse:>6.2f} {t.unit:<4}{t.r2:>7.2f}" for t in against]
    refused = int(np.isnan(tracks[0].estimated).sum())
    lines.append(f"  {refused} of {len(tracks[0].t_s)} states flagged FAULT, not counted above")
    lines.append(f"{'latency (ms)':<30}{'p50':>10}{'p99':>8}{'max':>8}")
    lines += [
        f"  {name:<28}{p50:>10.2f}{p99:>8.2f}{top:>8.2f}"
        for name, (p50, p99, top) in latency.rows.items()
    ]
    lines.append(
        f"{latency.states} states: {latency.late + latency.missed} missed their deadline, "
        f"{latency.lost} lost on the way; replayed: {again.equal} of {again.states} bit-equal"
    )
    chunks = list(recording.chunks())
    raw = np.concatenate([c.data[:, 0] for c in chunks]) if chunks else np.zeros(1, np.float32)
    seconds = len(raw) / (recording.emg_info.fs_hz if recording.emg_info else 1.0)
    stamps = recording.stamps()
    sent = stamps[(stamps["sent_ns"] > 0) & (stamps["late"] == 0)]
    cost_ms = (sent["infer_end_ns"] - sent["t_tick_ns"]) * 1e-6
    cost = session_s(recording, sent["t_tick_ns"]), cost_ms
    png = draw(tracks, (np.linspace(0, seconds, len(raw)), raw.astype(np.float64)), cost, TITLE)
    (out / "session.png").write_bytes(png)
    text = "\n".join(lines)
    write_html(
        out / "session.html", png, f"{sources.note}\n\n{text}\n\n{sources.attribution}", TITLE
    )
    return f"{text}\nrecording {recording.path}\nfigure    {out / 'session.png'} and .html"
