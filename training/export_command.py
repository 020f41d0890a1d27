"""``sonomyo export``: a model's network in fewer bits, for the CPU and for TensorRT.

It knows the recordings that shipped models were trained on, so it lives in ``training``.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from calibration.phases import CalibrationError
from calibration.ranges import METHODS, RangeError
from edge.bundle import CARD, INDEX, MODEL, REFERENCE, Bundle, BundleError, load_bundle
from edge.bundle_index import Network
from edge.runtime import EngineError
from export.brought import bring_bundle
from export.budget import Budget, BudgetError, default_budget, parse_budget
from export.bundle import write_bundle
from export.lower import PRECISIONS, TARGETS, Lowered, Wish, lower
from export.onnx_graph import ExportError
from export.recorded import InputsError, stream_of
from export.reference import reference_of
from export.streams import OrtNetwork, Stream
from firmware_bridge.recording import RecordingError
from models.spec import SpecError
from training.datasets import DataMissing
from training.export_streams import MAKERS, WEARERS, shipped_streams

CALIBRATION = "calibration.json"
FAILURES = (BudgetError, BundleError, CalibrationError, DataMissing, EngineError, ExportError,
            InputsError, OSError, RangeError, RecordingError, SpecError)  # fmt: skip


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo export``."""
    p.add_argument("model", help="a bundle, a shipped name, or FILE.onnx")
    p.add_argument("--spec", type=Path, metavar="FILE",
                   help="FILE.onnx: its contract, JSON or TOML; docs/onnx.md")  # fmt: skip
    p.add_argument("--card", type=Path, metavar="FILE", help="FILE.onnx: its card, Markdown")
    p.add_argument("--allow-op", nargs="+", default=(), metavar="NAME",
                   help="FILE.onnx: operators that the rules need not know")  # fmt: skip
    p.add_argument("--precision", choices=PRECISIONS, default="auto",
                   help="auto: what keeps the budget and pays on its target")  # fmt: skip
    p.add_argument("--target", choices=("all", *TARGETS), default="all", help="default all")
    p.add_argument("--budget", metavar="OUTPUT=NUMBER,...",
                   help="RMS that fewer bits may add, in the output's unit; default a tenth of the "
                   "model's own error, or 0.5 %% of its range")  # fmt: skip
    p.add_argument("--calibrate", type=Path, nargs="+", metavar="FILE",
                   help="recordings (.mcap) or inputs (.npz); default for shipped models: what "
                   "they were trained on")  # fmt: skip
    p.add_argument("--judge", type=Path, nargs="+", metavar="FILE",
                   help="others to judge by; default: the last third of each")  # fmt: skip
    p.add_argument("--ranges", choices=METHODS, help="default: the one that is least off")
    p.add_argument("--out", type=Path, metavar="FOLDER", help="default out/bundles/NAME")


def main(a: argparse.Namespace) -> int:
    """Exit codes: 0 the bundle is written, 1 what was asked for does not keep the budget, 2 it
    could not be tried."""
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            return _export(a, Path(temporary), console)
        except FAILURES as e:
            print(f"sonomyo export: {e}", file=sys.stderr)
            return 2


def _export(a: argparse.Namespace, temporary: Path, console: Console) -> int:
    began = time.monotonic()
    brought = a.model.endswith(".onnx")
    if brought:
        bundle, notes = bring_bundle(Path(a.model), temporary / "b", a.spec, a.card, a.allow_op)
        for note in notes:
            console.print(note)
    else:
        bundle = load_bundle(a.model)
    if not brought and (a.spec or a.card or a.allow_op):
        raise InputsError("--spec, --card and --allow-op are for FILE.onnx: a bundle has its own")
    name = bundle.spec.name
    if bundle.spec.wearer not in ("", *WEARERS):
        name += f"-{bundle.spec.wearer}"
    out = a.out or Path("out/bundles") / name
    check_out(out)
    if a.precision == "fp32" or (brought and a.precision == "auto" and not a.calibrate):
        made = writefinite_only(bundle, out)
        more = "; fewer bits need --calibrate" if brought else ""
        console.print(f"full precision alone{more}\n{made.id} in {made.path}")
        return 0
    budget = budget_of(bundle, a.budget)
    with console.status("recorded inputs"):
        learn, judge = streams(bundle, a.calibrate, a.judge)
    wish = Wish(a.precision, TARGETS if a.target == "all" else (a.target,), a.ranges)
    with console.status(f"{bundle.id}: fewer bits"):
        found = lower(bundle, budget, learn, judge, wish, console.print)
    if a.precision in ("fp16", "int8") and not found.taken:
        for note in found.notes:
            print(f"sonomyo export: {note}", file=sys.stderr)
        return 1
    made = write(bundle, found, budget, out)
    console.print(summary(bundle, found, budget))
    for note in found.notes:
        console.print(note)
    console.print(f"{made.id} in {made.path}, {time.monotonic() - began:.0f} s")
    return 0


def check_out(out: Path) -> None:
    """Only a bundle may be replaced.  Raises InputsError."""
    if out.exists() and not (out / INDEX).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputsError(f"{out} is there and is no bundle: choose another --out")


def budget_of(bundle: Bundle, text: str | None) -> Budget:
    """The default, with what ``text`` says of some outputs.  Raises BudgetError."""
    asked = parse_budget(text, bundle.spec) if text else {}
    # Of a personalised bundle they are the population's, before the wearer's map.
    rmse = known_rmse(bundle) if bundle.spec.wearer in ("", *WEARERS) else {}
    known = {o: rmse.get(o, asked.get(o, float("nan"))) for o in {*rmse, *asked}}
    return default_budget(bundle.spec, known) | asked


def known_rmse(bundle: Bundle) -> dict[str, float]:
    """What the model is off on recordings kept out of training, by output: of each the first row,
    which is the one of all of them.  {} where nothing is known.
    """
    found: dict[str, float] = {}
    try:
        rows = json.loads(bundle.text("metrics.json"))["network"]
        for row in rows:
            found.setdefault(str(row["output"]), float(row["rmse"]))
    except (BundleError, KeyError, TypeError, ValueError):
        return {}
    return {name: rmse for name, rmse in found.items() if math.isfinite(rmse) and rmse > 0}


def kept_budget(bundle: Bundle) -> Budget:
    """That of the bundle's export; {} if it has had none."""
    try:
        kept = json.loads(bundle.text(CALIBRATION))["budget_rms"]
        return {str(o): float(x) for o, x in kept.items() if math.isfinite(x) and x > 0}
    except (AttributeError, BundleError, KeyError, TypeError, ValueError):
        return {}


def streams(
    bundle: Bundle, calibrate: list[Path] | None, judge: list[Path] | None
) -> tuple[list[Stream], list[Stream]]:
    """What to calibrate with and what to judge by.  Raises InputsError, DataMissing and others."""
    if not calibrate:
        if bundle.spec.name not in MAKERS or bundle.spec.wearer not in ("", *WEARERS):
            raise InputsError(
                f"what {bundle.spec.name} was trained on is not known here: give --calibrate with "
                "recordings (.mcap) or inputs (.npz)"
            )
        other = [stream_of(path, bundle) for path in judge or []]
        return shipped_streams(bundle, "learn"), other or shipped_streams(bundle, "judge")
    learn = [stream_of(path, bundle) for path in calibrate]
    if judge:
        return learn, [stream_of(path, bundle) for path in judge]
    cuts = [max(1, 2 * len(s) // 3) for s in learn]
    rest = [s.part(slice(c, None)) for s, c in zip(learn, cuts, strict=True) if len(s) > c]
    if not rest:
        raise InputsError("a single step cannot be calibrated with and judged by: record more")
    return [s.part(slice(0, c)) for s, c in zip(learn, cuts, strict=True)], rest


def write(bundle: Bundle, found: Lowered, budget: Budget, out: Path) -> Bundle:
    """The bundle with its new networks in ``out``; nothing else of it changes.

    What was there before is replaced when it is whole.  Raises BundleError.
    """
    extra: dict[str, str | bytes] = {}
    if REFERENCE not in bundle.files:  # for those who run the new networks on another processor
        full = OrtNetwork(bundle.files[MODEL])
        extra[REFERENCE] = reference_of(full, bundle.spec, found.material.judge[0].steps())
    extra[CALIBRATION] = json.dumps(finite_only(calibration(found, budget)), indent=1) + "\n"
    return writefinite_only(bundle, out, extra, found.networks())


def writefinite_only(
    bundle: Bundle, out: Path, more: Mapping[str, str | bytes] = MappingProxyType({}),
    networks: Sequence[tuple[Network, bytes]] = (),
) -> Bundle:  # fmt: skip
    """The bundle in full precision in ``out``, with ``more`` files and ``networks``."""
    import onnx

    gone = {"bundle.json", "bundle.sig", MODEL, CARD, CALIBRATION}
    gone |= {n.file for n in bundle.networks}
    extra = {k: v for k, v in bundle.files.items() if k not in gone} | dict(more)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        folder = Path(temporary) / out.name
        folder.mkdir()
        (folder / MODEL).write_bytes(bundle.files[MODEL])
        for network, data in networks:
            onnx.checker.check_model(data, full_check=True)
            (folder / network.file).write_bytes(data)
        write_bundle(folder, bundle.spec, bundle.text(CARD), extra, [n for n, _ in networks])
        check_out(out)
        if out.exists():
            out.rename(Path(temporary) / "before")
        folder.rename(out)
    return load_bundle(str(out.resolve()))


def calibration(found: Lowered, budget: Budget) -> dict[str, object]:
    """What the bundle keeps of how its precisions were chosen."""
    m = found.material
    return {
        "budget_rms": budget,
        "calibrated_on": [s.name for s in m.learn],
        "judged_on": [s.name for s in m.judge],
        "steps": {"ranges": len(m.rows), "judged": sum(map(len, m.judge))},
        "tried": [
            {
                "precision": c.precision, "target": c.target, "taken": c in found.taken,
                "share_of_budget": round(c.share, 4), "ranges": c.ranges,
                "layers": len(c.lowered), "fell_back": list(c.fell_back),
                "off": {o.output: {"unit": o.unit, "rms": o.rms, "p99": o.p99, "worst": o.worst}
                        for o in c.off},
            }
            for c in found.tried
        ],
        "notes": list(found.notes),
    }  # fmt: skip


def finite_only(value: object) -> object:
    """What was infinitely far off is null: a bundle's JSON is plain JSON."""
    if isinstance(value, Mapping):
        return {k: finite_only(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite_only(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summary(bundle: Bundle, found: Lowered, budget: Budget) -> Table:
    """A row for each output of each network that was tried."""
    table = Table("network", "KB", "layers", "output", "RMS off", "budget", "worst", box=SIMPLE)
    table.add_row("fp32", f"{len(bundle.files[MODEL]) / 1000:.0f}", "as trained")
    for c in found.tried:
        size = len(c.model.SerializeToString()) / 1000
        count = f"{len(c.lowered)} of {len(c.lowered) + len(c.fell_back)}"
        taken = "" if c in found.taken else ", not taken"
        head = (f"{c.precision}-{c.target}{taken}", f"{size:.0f}", count)
        for o in c.off:
            numbers = (f"{x:.2g}" for x in (o.rms, budget.get(o.output, float("nan")), o.worst))
            table.add_row(*head, f"{o.output} {o.unit}".strip(), *numbers)
            head = ("", "", "")
    return table
