"""``sonomyo record``: record sensors without a model, through the daemon's own path."""

import argparse
import logging
import sys

from edge.config import Config, Record, Rig
from edge.daemon import START_ERRORS, run


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo record``."""
    p.add_argument("folder", help="where the session file goes")
    p.add_argument(
        "--probe", default="", metavar="ADDRESS", help="e.g. usb: or wulpus:/dev/ttyACM0"
    )
    p.add_argument(
        "--emg", default="", metavar="ADDRESS", help="e.g. brainflow:cyton?serial_port=…"
    )
    p.add_argument("--seconds", type=float, default=0.0, help="stop by itself after this long")
    p.add_argument("--wearer", default="", help="a code, never a name")


def main(a: argparse.Namespace) -> int:
    """Record until Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    rig = Rig(probe=a.probe, emg=a.emg, wearer=a.wearer)
    try:
        return run(Config(rig=rig, record=Record(folder=a.folder)), a.seconds)
    except START_ERRORS as e:
        print(f"sonomyo record: {e}", file=sys.stderr)
        return 2
