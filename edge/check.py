"""``sonomyo check``: validates a configuration and reaches for every device in it."""

import argparse
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from edge.bundle import BundleError, load_bundle
from edge.config import Config, ConfigError, load_config
from edge.daemon import START_ERRORS
from edge.estimate import Estimator, Sources
from edge.joint import NOTHING, Inbox
from edge.joint_plan import JointPlan, plan_joint
from edge.realtime import prepare_thread
from edge.runtime import open_engine
from firmware_bridge.emg import open_emg
from firmware_bridge.links import open_link
from firmware_bridge.probes import open_probe
from firmware_bridge.types import DeviceError

LISTEN_S = 2.0


@dataclass
class Finding:
    """One line of the report."""

    part: str
    ok: bool
    text: str


def check(config: Config) -> list[Finding]:
    """Open every part of the rig, listen to the sensors for a moment, and close it again."""
    found: list[Finding] = []
    probe = _try(found, "probe", config.rig.probe, open_probe)
    emg = _try(found, "emg", config.rig.emg, open_emg)
    for device, part in ((probe, "probe"), (emg, "emg")):
        if device is not None:
            found.append(_listen(device, part))
    joint = _joint(found, config)
    sources = Sources(
        probe.geometry if probe else None,
        emg.fs_hz if emg else 0.0,
        emg.channels if emg else (),
        joint is not None and joint.angle,
        joint is not None and joint.load,
    )
    for device in (probe, emg):
        if device is not None:
            device.close()
    if not config.models:
        found.append(Finding("models", False, 'none: set models = ["mg-state"] or a bundle folder'))
    missing = [part for part, address, device in
               (("probe", config.rig.probe, probe), ("emg", config.rig.emg, emg))
               if address and device is None]  # fmt: skip
    missing += ["joint"] if joint is None else []
    for name in config.models:
        if missing:
            text = f"{name}: not tried, because of {' and '.join(missing)}"
            found.append(Finding("model", False, text))
        else:
            found.append(_model(name, sources, config))
    for address in config.rig.links:
        link = _try(found, "link", address, open_link)
        if link is not None:
            found += _commands(link, address, joint)
            link.close()
    if config.record.folder:
        found.append(_folder(Path(config.record.folder)))
    # On this thread only: the check itself need not be real-time afterwards, it ends.
    warnings = prepare_thread(config.realtime, 0)
    found.append(Finding("realtime", not warnings, "; ".join(warnings) or "permitted"))
    return found


def _try(found: list[Finding], part: str, address: str, opener: Callable[[str], Any]) -> Any:
    if not address:
        return None
    try:
        device = opener(address)
    except DeviceError as e:
        found.append(Finding(part, False, str(e)))
        return None
    found.append(Finding(part, True, getattr(device, "address", address)))
    return device


def _listen(device: Any, part: str) -> Finding:
    end = time.monotonic() + LISTEN_S
    n = 0
    try:
        while time.monotonic() < end and n < 100:
            n += device.read(0.1) is not None
    except DeviceError as e:
        return Finding(part, False, str(e))
    bad = {k: v for k, v in device.counters.items() if v}
    if not n:
        text = f"opened, but no data in {LISTEN_S:g} s: is it switched on, is it frozen? {bad}"
        return Finding(part, False, text)
    return Finding(part, True, f"data arrives ({n} reads); counted {bad or 'nothing bad'}")


def _joint(found: list[Finding], config: Config) -> JointPlan | None:
    """Where angle and load come from; None: they cannot."""
    specs = []
    for name in config.models:
        with contextlib.suppress(BundleError):  # which is a finding of its own
            specs.append(load_bundle(name, config.trust.keys).spec)
    try:
        return plan_joint(config, specs)
    except ConfigError as e:
        found.append(Finding("joint", False, str(e)))
        return None


def _commands(link: Any, address: str, plan: JointPlan | None) -> list[Finding]:
    """Whether a link's device sends the angle and the load that are to come from there."""
    angle, load = (plan.angle_link, plan.load_link) if plan else ("", "")
    inbox = Inbox(address == angle, address == load)
    link.watch = inbox.take
    wanted = [("angle", inbox.angle, "ENCODER")] * (address == angle)
    wanted += [("load", inbox.load, "LOAD in kg")] * (address == load)
    end = time.monotonic() + LISTEN_S
    while time.monotonic() < end and any(newest.reading is NOTHING for _, newest, _ in wanted):
        time.sleep(0.02)
    found = []
    for part, newest, command in wanted:
        silent = newest.reading is NOTHING
        text = f"no {command} with its age in {LISTEN_S:g} s: is the device switched on?"
        text = text if silent else f"{newest.reading.value:g} from {address}"
        found.append(Finding(part, not silent, text))
    return found


def _model(name: str, sources: Sources, config: Config) -> Finding:
    period_ms = config.timing.period_ms
    try:
        bundle = load_bundle(name, config.trust.keys)
        runtime = replace(config.runtime, build=False)  # which takes minutes
        with contextlib.closing(open_engine(bundle, runtime)) as engine:
            ms = Estimator(bundle, sources, engine).warm_ms
    except START_ERRORS as e:
        return Finding("model", False, str(e))
    fits = ms < 0.7 * period_ms
    hint = "" if fits else f": too slow for {period_ms:g} ms; raise timing.period_ms"
    text = f"{bundle.id}, {bundle.signature}: {ms:.2f} ms per inference, {engine.name}{hint}"
    return Finding("model", fits, text)


def _folder(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / ".sonomyo-check"
        trial.write_bytes(b"x")
        trial.unlink()
    except OSError as e:
        return Finding("record", False, f"{folder}: {e.strerror}: choose a folder you may write")
    return Finding("record", True, str(folder))


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo check``."""
    p.add_argument("config", type=Path, help="TOML file; see docs/config.md")


def main(a: argparse.Namespace) -> int:
    """Exit code 0: ready to run; 1: something is missing; 2: the file itself is wrong."""
    console = Console()
    try:
        findings = check(load_config(a.config))
    except (ConfigError, BundleError) as e:
        console.print(f"[red]{e}", highlight=False)
        return 2
    table = Table("part", "", "finding")
    for f in findings:
        mark = "[green]ok" if f.ok else "[red]no"
        table.add_row(f.part, mark, f.text)
    console.print(table)
    # Without real-time priority everything works, only with a longer tail: a warning.
    return int(any(not f.ok for f in findings if f.part != "realtime"))
