"""``sonomyo info``: what is in a recording, in a bundle, or on the USB bus."""

import argparse
import dataclasses
import json
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.bundle import INDEX, SIGNATURE, SUFFIX, Bundle, BundleError, load_bundle
from edge.repair import repair
from edge.summary import summarize
from firmware_bridge.types import DeviceError
from models.spec import JOINT_UNITS

OK, PROBLEMS, UNREADABLE = 0, 1, 2


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo info``."""
    p.add_argument(
        "target", help="a .mcap recording, a bundle (folder, .sonomyo, shipped name), or usb"
    )
    p.add_argument("--repair", action="store_true", help="first close a torn recording properly")
    p.add_argument("--verify", action="store_true", help="check every byte of a recording")
    p.add_argument("--json", action="store_true", help="print one line of JSON instead of tables")


def main(a: argparse.Namespace) -> int:
    """Exit code 0: good; 1: something is torn, lost, late or missing; 2: it cannot be read."""
    console = Console(highlight=False)
    try:
        if a.target == "usb":
            return _usb(console, a.json)
        path = Path(a.target)
        if path.suffix == ".mcap" or (path.is_file() and path.suffix != SUFFIX):
            return _recording(path, a.repair, a.verify, console, a.json)
        return _bundle(a.target, console, a.json)
    except (DeviceError, BundleError) as e:
        print(f"sonomyo info: {e}", file=sys.stderr)
        return UNREADABLE


def _recording(path: Path, mend: bool, verify: bool, console: Console, as_json: bool) -> int:
    report = repair(path) if mend else None
    s = summarize(path, verify)
    if as_json:
        found = dataclasses.asdict(s) | {"repair": report and dataclasses.asdict(report)}
        print(json.dumps(found, default=str))
        return PROBLEMS if s.problems else OK
    if report and report.changed:
        console.print(
            f"repaired: kept {report.messages} messages, cut off {report.cut_bytes} bytes"
            + (f"; the original is {escape(str(report.original))}" if report.original else "")
        )
    console.print(f"{escape(s.path)}: {s.seconds:.1f} s, {s.bytes / 1e6:.1f} MB, begun {s.begun}")
    table = Table("topic", "messages", "per second", "lost", "gaps", "longest pause")
    for name, t in s.topics.items():
        pause = f"{t.longest_pause_ms:.1f} ms"
        table.add_row(name, str(t.messages), f"{t.rate_hz:.2f}", str(t.lost), str(t.gaps), pause)
    console.print(table)
    facts = {k: v for k, v in s.meta.items() if isinstance(v, str) and "\n" not in v}
    facts |= {"models": ", ".join(s.meta.get("bundles", {})) or "none"}
    facts |= {"events": ", ".join(f"{n} x {kind}" for kind, n in s.events.items()) or "none"}
    for name, joint in s.joint.items():
        facts[name] = (
            f"{joint.least:g} to {joint.greatest:g} {joint.unit}, known in"
            f" {joint.known:.1%} of the ticks"
        )
    if s.tick_to_send_ms:
        shown = ", ".join(f"{p} {ms:.2f} ms" for p, ms in s.tick_to_send_ms.items())
        facts["tick to send"] = shown
    _facts(console, facts)
    for problem in s.problems:
        console.print(f"[red]{escape(problem)}")
    return PROBLEMS if s.problems else OK


def _bundle(target: str, console: Console, as_json: bool) -> int:
    bundle = load_bundle(target)
    spec = bundle.spec
    if as_json:
        print(json.dumps(_plain(bundle)))
        return OK
    console.print(f"{escape(bundle.id)}, every {spec.period_ms:g} ms")
    table = Table("", "name", "shape or range", "what it is")
    for i in spec.inputs:
        steps = " > ".join(s.op for s in i.steps)
        what = f"{i.source} {', '.join(i.channels)} {steps}"
        shape = " x ".join(map(str, i.shape))
        if unit := JOINT_UNITS.get(i.source):
            shape, what = f"{i.min:g} to {i.max:g}", f"{i.source} {unit}"
        table.add_row("in", i.name, shape, escape(what))
    for o in spec.outputs:
        sd = f", SD up to {o.max_sd:g}" if o.max_sd < math.inf else ""
        table.add_row("out", o.name, f"{o.min:g} to {o.max:g}{sd}", o.unit)
    if spec.maps:
        table.add_row("maps", spec.maps, str(len(spec.map_names)), ", ".join(spec.map_names))
    console.print(table)
    if len(bundle.networks) > 1:
        console.print(_networks(bundle))
    facts = {"wearer": spec.wearer or "nobody in particular", "signature": bundle.signature}
    facts |= {"from": str(bundle.path), "files": ", ".join(_contents(bundle))}
    _facts(console, facts)
    return OK


def _networks(bundle: Bundle) -> Table:
    table = Table("network", "precision", "for", "worst error")
    units = {o.name: o.unit for o in bundle.spec.outputs}
    for n in bundle.networks:
        places = [f"{t} (default)" if t in n.default_for else t for t in n.targets]
        errors = (f"{name} {e.worst:.3g} {units.get(name, '')}" for name, e in n.errors.items())
        shown = ", ".join(places) or "any", escape(", ".join(errors))
        table.add_row(n.file, n.precision, *shown)
    return table


def _contents(bundle: Bundle) -> list[str]:
    return sorted(bundle.files.keys() - {INDEX, SIGNATURE})


def _plain(bundle: Bundle) -> dict[str, object]:
    """For JSON."""
    return {
        "id": bundle.id,
        "signature": bundle.signature,
        "files": _contents(bundle),
        "networks": [dataclasses.asdict(n) for n in bundle.networks],
        "spec": json.loads(bundle.spec.to_json()),
    }


def _usb(console: Console, as_json: bool) -> int:
    from firmware_bridge.probes.usb_bus import list_usb

    found = list_usb()
    if as_json:
        print(json.dumps([dataclasses.asdict(d) for d in found]))
    else:
        table = Table("id", "serial number", "product", "address for rig.probe")
        for d in found:
            address = f"usb:{d.serial}" if d.ours else ""
            table.add_row(
                f"{d.vid:04x}:{d.pid:04x}", d.serial, escape(d.product or d.note), address
            )
        console.print(table)
    if any(d.ours for d in found):
        return OK
    print("sonomyo info: no probe of ours on the bus: plug it in, or check power", file=sys.stderr)
    return PROBLEMS


def _facts(console: Console, facts: dict[str, str]) -> None:
    table = Table(show_header=False, box=None)
    for key, value in facts.items():
        table.add_row(f"[dim]{escape(key)}", escape(value))
    console.print(table)
