"""``sonomyo run``: the daemon.  Opens the rig, ticks, records, and stops in good order."""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from edge.bundle import Bundle, BundleError, load_bundle
from edge.clock import now_ns
from edge.config import Config, ConfigError, load_config, to_toml
from edge.estimate import MAX_STEPS, Estimator, Sources, listen_to, look_at
from edge.joint_plan import plan_joint
from edge.joint_source import open_joint
from edge.machine import rss_mb, throttled, versions
from edge.realtime import RANK_LINK, prepare_process, prepare_thread, sweep
from edge.record import SessionWriter
from edge.runtime import Engine, EngineError, open_engine
from edge.sensors import EmgReader, NoSink, ProbeReader
from edge.tick import Log, Tick
from edge.turns import Turns
from firmware_bridge.emg import open_emg
from firmware_bridge.links import Link, open_link
from firmware_bridge.links.commands import Encoder, Hello, Load, Mark, Start, Stop
from firmware_bridge.links.packet import Info
from firmware_bridge.probes import open_probe
from firmware_bridge.types import DeviceError, Flag, MuscleState
from models.spec import SpecError

log = logging.getLogger(__name__)

START_ERRORS = (ConfigError, DeviceError, BundleError, EngineError, SpecError)
HOUSEKEEPING_S = 0.02
STATUS_S = 5.0


class NoRecord(NoSink):
    """Takes the tick's rows and records nothing."""

    def state(self, state: MuscleState) -> None:
        """Drop it."""

    def stamps(self, row: Any) -> None:
        """Drop it."""

    def joint(self, row: Any) -> None:
        """Drop it."""


class OnlyEvents(NoSink):
    """Passes on what happened to the probe, but not its images."""

    def __init__(self, sink: Any):
        self._sink = sink

    def event(self, kind: str, **data: object) -> None:
        """Pass it on."""
        self._sink.event(kind, **data)


class Daemon:
    """One rig from opening to closing.  Raises one of ``START_ERRORS`` when it cannot start."""

    def __init__(self, config: Config):
        self.config = config
        self._closers: list[Any] = []
        self._started = False
        self._said: set[str] = set()
        try:
            self._open(config)
        except BaseException:
            self.close()
            raise

    def _open(self, c: Config) -> None:
        # Threads that libraries start inherit this one's priority: BrainFlow's reader, a link's.
        self._warnings = prepare_thread(c.realtime, RANK_LINK)
        if not (c.rig.probe or c.rig.emg or c.rig.angle):
            raise ConfigError(
                "neither rig.probe nor rig.emg nor rig.angle is set: there is nothing to read"
            )
        bundles = [load_bundle(name, c.trust.keys) for name in c.models]
        self.signatures = {b.id: b.signature for b in bundles}
        plan = plan_joint(c, [b.spec for b in bundles])
        # Before any device: what cannot infer need not sense, and building one takes minutes.
        engines = [self._own(open_engine(b, c.runtime)) for b in bundles]
        probe = self._own(open_probe(c.rig.probe)) if c.rig.probe else None
        emg = self._own(open_emg(c.rig.emg)) if c.rig.emg else None
        sources = Sources(
            probe.geometry if probe else None,
            emg.fs_hz if emg else 0.0,
            emg.channels if emg else (),
            plan.angle,
            plan.load,
        )
        self.estimators = [
            self._own(Estimator(b, sources, e)) for b, e in zip(bundles, engines, strict=True)
        ]
        _check_speed(self.estimators, c.timing.period_ms)
        self.links: list[Link] = [self._own(open_link(a)) for a in c.rig.links]
        self.joint = open_joint(
            plan, self.estimators, dict(zip(c.rig.links, self.links, strict=True))
        )
        turns = Turns(self.estimators, c.timing, self.joint.angle, self.joint.load)
        self.recorder: SessionWriter | None = None
        if c.record.folder:
            self.recorder = self._own(_recorder(c, bundles, engines, probe, emg, turns.takes_joint))
        sink: Any = self.recorder or NoRecord()
        self.probe = None
        if probe:
            look = partial(look_at, estimators=self.estimators)
            self.probe = ProbeReader(probe, look, c.realtime, _frames_or_not(c, sink))
        self.emg = None
        if emg:
            hear = partial(listen_to, estimators=self.estimators)
            self.emg = EmgReader(emg, hear, c.realtime, sink)
        self._readers = [r for r in (self.probe, self.emg) if r]
        flags = Flag(0)
        if any(not d.live for d in (probe, emg) if d):
            flags |= Flag.REPLAY
        if any(b.spec.wearer != c.rig.wearer or not b.spec.wearer for b in bundles):
            flags |= Flag.UNCALIBRATED
        self.log: Log = sink
        self.info = _info(bundles, c.timing.period_ms, flags)
        self.tick = Tick(
            self.estimators, self.probe, self.emg, self.links, c.timing, c.realtime, sink,
            self.info, flags, turns,
        )  # fmt: skip

    def _own(self, thing: Any) -> Any:
        self._closers.append(thing)
        return thing

    def start(self) -> None:
        """Start every thread; from here on nothing raises."""
        self._started = True
        self._warnings += prepare_process(self.config.realtime)
        for reader in self._readers:
            reader.start()
        self.tick.start()
        self.log.event("start", period_ms=self.config.timing.period_ms)

    def serve(self, stop: Callable[[], bool], seconds: float = 0.0) -> None:
        """Handle commands and watch the machine until ``stop()`` or ``seconds`` are over."""
        end_ns = now_ns() + int(seconds * 1e9) if seconds else 1 << 62
        next_second, next_status = time.monotonic(), time.monotonic() + STATUS_S
        seen: dict[str, int] = {}
        while not stop() and now_ns() < end_ns:
            time.sleep(HOUSEKEEPING_S)
            for link in self.links:
                for command in link.commands():
                    self._obey(command)
            if time.monotonic() < next_second:
                continue
            next_second += 1.0
            if self.config.realtime.enabled:
                sweep()
            self._warn()
            self._watch_throttling()
            seen = self._report_trouble(seen)
            if time.monotonic() >= next_status:
                next_status += STATUS_S
                log.info("%s", self.status())

    def close(self) -> None:
        """Tell the receivers, leave the probe safe, close the recording; may be called twice."""
        if self._started:
            self._started = False
            self.tick.stop()
            self.log.event("stop", **self.counters())
            for reader in self._readers:
                reader.close()
            self._warn()
        while self._closers:
            thing = self._closers.pop()
            try:
                thing.close()
            except Exception:  # the probe's high voltage comes after this one
                log.exception("closing %r failed", thing)

    def counters(self) -> dict[str, int]:
        """Everything that is counted, ``part.name``."""
        parts: dict[str, dict[str, int]] = {"tick": self.tick.counters}
        parts |= {r.name: r.counters() for r in self._readers}
        parts |= {f"link{i}": link.counters for i, link in enumerate(self.links)}
        parts |= {e.spec.name: e.emg.counters for e in self.estimators if e.emg}
        parts["joint"] = self.joint.counters
        if self.recorder:
            parts["record"] = self.recorder.counters
        return {f"{p}.{k}": n for p, counts in parts.items() for k, n in counts.items()}

    def status(self) -> str:
        """One line: what works, what went wrong, memory."""
        wrong = {
            k: n
            for k, n in self.counters().items()
            if n and not k.endswith((".sent", ".frames", ".samples"))
        }
        silent = [r.name for r in self._readers if not r.connected]
        return (
            f"{self.tick.sent} states; "
            + (f"gone: {', '.join(silent)}; " if silent else "")
            + (f"counted {wrong}; " if wrong else "no trouble; ")
            + f"{rss_mb():.0f} MB"
        )

    def _warn(self) -> None:
        """Say once what real-time set-up the threads were not permitted."""
        parts = [self.tick, *self._readers, *([self.recorder] if self.recorder else [])]
        for warnings in (self._warnings, *(part.warnings for part in parts)):
            while warnings:
                text = warnings.pop()
                if text not in self._said:
                    self._said.add(text)
                    log.warning(text)

    def _obey(self, command: Any) -> None:
        match command:
            case Start():
                self.tick.paused = False
            case Stop():
                self.tick.paused = True
            case Hello() | Encoder() | Load() | Mark():
                pass  # recorded; what the models want of them they had when it was decoded
        fields = {k: getattr(command, k) for k in command.__dataclass_fields__}
        self.log.event(type(command).__name__.lower(), **fields)

    def _watch_throttling(self) -> None:
        now, was = throttled(), bool(self.tick.flags & Flag.THROTTLED)
        if now != was:
            self.tick.flags ^= int(Flag.THROTTLED)
            self.log.event("throttled" if now else "clocks restored")

    def _report_trouble(self, seen: dict[str, int]) -> dict[str, int]:
        counters = self.counters()
        quiet = ("tick.sent", "probe.frames", "emg.samples")
        grown = {
            k: n for k, n in counters.items()
            if n > seen.get(k, 0) and k not in quiet and not k.endswith(".sent")
        }  # fmt: skip
        if grown:
            self.log.event("counted", **grown)
        return counters


def _check_speed(estimators: list[Estimator], period_ms: float) -> None:
    """Refuse models that cannot keep up: their data would only grow older."""
    need_ms = 0.0
    for e in estimators:
        steps = max(1.0, period_ms * e.emg.fs_hz / 1000 / e.emg.hop) if e.emg else 1.0
        need_ms += e.warm_ms * steps
        if steps > MAX_STEPS:
            raise ConfigError(
                f"{e.id} takes {steps:.0f} steps in {period_ms:g} ms: shorten timing.period_ms"
            )
    if need_ms > period_ms:
        raise ConfigError(
            f"the models need {need_ms:.1f} ms of every {period_ms:g} ms: run fewer, or raise "
            "timing.period_ms"
        )


def _frames_or_not(config: Config, sink: Any) -> Any:
    return sink if config.record.frames or not config.record.folder else OnlyEvents(sink)


def _info(bundles: list[Bundle], period_ms: float, flags: Flag) -> Info:
    many = len(bundles) > 1
    outputs = tuple(
        replace(o, name=f"{b.spec.name}.{o.name}" if many else o.name)
        for b in bundles
        for o in b.spec.outputs
    )
    return Info("+".join(b.id for b in bundles) or "no model", period_ms, outputs, flags)


def _recorder(
    c: Config, bundles: list[Bundle], engines: list[Engine], probe: Any, emg: Any, joint: bool
) -> SessionWriter:
    folder = Path(c.record.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"record.folder {folder}: {e.strerror}: choose one you may write") from e
    name = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    meta = {
        "config": to_toml(c),
        "bundles": {b.id: b.spec.to_json() for b in bundles},
        "bundle_paths": {b.id: str(b.path) for b in bundles},
        "signatures": {b.id: b.signature for b in bundles},
        "engines": {b.id: e.name for b, e in zip(bundles, engines, strict=True)},
        "versions": versions(),
        "wearer": c.rig.wearer,
        "probe": probe.address if probe else "",
        "emg": emg.address if emg else "",
    }
    return SessionWriter(
        folder / f"{name}.mcap",
        meta,
        geometry=probe.geometry if probe else None,
        emg=(emg.fs_hz, emg.channels) if emg else None,
        joint=joint,
        fsync_s=c.record.fsync_s,
        rt=c.realtime,
    )


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo run``."""
    p.add_argument("config", type=Path, help="TOML file; see docs/config.md")
    p.add_argument("--seconds", type=float, default=0.0, help="stop by itself after this long")
    p.add_argument("--record", metavar="FOLDER", help="record there, whatever the file says")


def main(a: argparse.Namespace) -> int:
    """Read the rig, estimate muscle state every tick, send it to the links, record everything."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        config = load_config(a.config)
        if a.record:
            config = replace(config, record=replace(config.record, folder=a.record))
        return run(config, a.seconds)
    except START_ERRORS as e:
        print(f"sonomyo run: {e}", file=sys.stderr)
        return 2


def run(config: Config, seconds: float = 0.0) -> int:
    """Run until a signal or for ``seconds``.  0 = stopped in good order; raises START_ERRORS."""
    signals: list[int] = []  # not an Event: setting one in a handler can deadlock its waiter
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: signals.append(n))
    daemon = Daemon(config)
    try:
        daemon.start()
        models = [f"{ident} ({signature})" for ident, signature in daemon.signatures.items()]
        log.info("running: %s", ", ".join(models) or "no model")
        daemon.serve(lambda: bool(signals), seconds)
    finally:
        daemon.close()
    log.info("stopped: %s", daemon.status())
    if daemon.recorder:
        print(daemon.recorder.path)
    return 0
