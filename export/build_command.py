"""``sonomyo build-engine``: TensorRT engines for this machine, built, compared and put in place."""

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.bundle import BundleError, load_bundle
from edge.config import Config, ConfigError, load_config
from edge.runtime import EngineError
from edge.runtime.settings import Runtime
from export.engine import ComparisonError, Made, build_engine, is_built
from export.trt_build import BuildOptions


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo build-engine``."""
    p.add_argument("bundle", nargs="*", help="folders, files or shipped names")
    p.add_argument("--config", type=Path, metavar="TOML", help="its models, precision and folder")
    p.add_argument("--precision", default="", help="of the bundle's networks; default: its maker's")
    p.add_argument("--engines", default="", metavar="FOLDER", help="default: as the daemon has it")
    p.add_argument("--force", action="store_true", help="even where one that fits is there")
    add = p.add_argument
    add("--workspace-mib", type=int, default=256, metavar="N", help="scratch memory of a layer")
    add("--level", type=int, default=3, choices=range(6), help="how long to look for fast kernels")
    add("--tf32", action="store_true", help="fp32 with 10 bits of mantissa, faster")
    add("--tolerance", type=float, default=0.0, metavar="X",
        help="allowed beside ONNX Runtime; default: by precision")  # fmt: skip


def main(a: argparse.Namespace) -> int:
    """Exit code 0: every engine is there; 1: one differs too much; 2: one could not be built."""
    _be_ordinary()
    options = BuildOptions(workspace_mib=a.workspace_mib, level=a.level, tf32=a.tf32)
    worst = 0
    try:
        names, runtime, keys = _wanted(a)
    except ConfigError as e:
        print(f"sonomyo build-engine: {e}", file=sys.stderr)
        return 2
    for name in names:
        try:
            bundle = load_bundle(name, keys)
            if not a.force and is_built(bundle, runtime):
                print(f"{bundle.id}: an engine that fits is in {runtime.folder} (again: --force)")
                continue
            show(build_engine(bundle, runtime, options, a.tolerance))
        except (BundleError, EngineError) as e:
            print(f"sonomyo build-engine: {e}", file=sys.stderr)
            worst = max(worst, 1 if isinstance(e, ComparisonError) else 2)
    return worst


def show(made: Made) -> None:
    """What a person wants to know of a new engine."""
    console = Console(highlight=False)
    table = Table("layers", "convolutions and products", "others")
    computing, others = (made.layers.count(c) for c in (True, False))
    for precision in sorted({*computing, *others}):
        table.add_row(precision, str(computing.get(precision, 0)), str(others.get(precision, 0)))
    console.print(table)
    d = made.difference
    worst = ", ".join(f"{name} {w:.2g}" for name, w in d.worst.items())
    console.print(
        f"beside ONNX Runtime, {d.steps} steps of {d.inputs}: at most "
        f"{max(d.relative.values(), default=0.0):.2g} of the largest magnitude"
        + (f"; {escape(worst)}" if worst else "")
    )
    for text in made.warnings:
        console.print(f"[red]{escape(text)}")
    console.print(escape(f"built in {made.file.seconds:.0f} s: {made.sidecar}"))


def _wanted(a: argparse.Namespace) -> tuple[list[str], Runtime, tuple[str, ...]]:
    """Bundles, settings and trusted keys: the file's, if one is named; arguments go before it."""
    config = load_config(a.config) if a.config else Config()
    names = a.bundle or list(config.models)
    if not names:
        raise ConfigError("name a bundle, or a --config whose models are to be built")
    c = config.runtime
    runtime = replace(
        c, engine="trt", precision=a.precision or c.precision, engines=a.engines or c.engines
    )
    return names, runtime, config.trust.keys


def _be_ordinary() -> None:
    """Not in real time, as a daemon that builds is; and Ctrl-C ends it at once.

    TensorRT would be done in minutes before Python hears of it.
    """
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
