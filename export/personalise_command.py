"""``sonomyo personalise``: from a recorded two-minute routine to a bundle for that wearer.

It writes bundles, so it lives in ``export``; ``calibration`` knows nothing of bundles being made.
"""

import argparse
import re
import sys
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console
from rich.table import Table

from calibration.phases import CalibrationError, read_phases
from calibration.prior import FILE as PRIOR
from calibration.prior import Prior, default_prior
from calibration.recorded import estimates_of, routine_of
from calibration.subject import SubjectMap, fit
from edge.bundle import Bundle, BundleError, load_bundle
from edge.runtime import EngineError
from export.personalised import write_personalised
from firmware_bridge.recording import RecordingError, open_recording
from models.spec import SpecError

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}")


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo personalise``."""
    p.add_argument(
        "bundle", help="what to personalise: a folder, a .sonomyo file or a shipped name"
    )
    p.add_argument("recording", type=Path, help="the routine, a .mcap file; docs/personalise.md")
    p.add_argument("--wearer", required=True, metavar="CODE", help="a code, never a name")
    when = p.add_mutually_exclusive_group(required=True)
    when.add_argument("--phases", type=Path, metavar="CSV", help="start_s,end_s,phase[,...]")
    when.add_argument("--auto", action="store_true", help="the phases are marks in the recording")
    p.add_argument("--out", type=Path, metavar="FOLDER", help="default: MODEL-CODE, here")


def main(a: argparse.Namespace) -> int:
    """Exit code 0: the bundle is written; 2: it is not, and the message says why."""
    try:
        m, made = personalise(a.bundle, a.recording, a.wearer, a.phases, a.out)
    except (CalibrationError, BundleError, RecordingError, EngineError, SpecError) as e:
        print(f"sonomyo personalise: {e}", file=sys.stderr)
        return 2
    console = Console(highlight=False)
    table = Table("output", "fitted", "gain", "offset", "SD x", "r", "RMSE before", "after")
    for k, q in enumerate(m.quality):
        found = ("-" if x is None else f"{x:.3g}" for x in
                 (q.correlation, q.rmse_before, q.rmse_after))  # fmt: skip
        numbers = (f"{x:.3g}" for x in (m.gain[k], m.offset[k], m.sd_gain[k]))
        table.add_row(m.outputs[k], q.fitted, *numbers, *found)
    console.print(table)
    print(f'{made.path}\nmodels = ["{made.path}"] with rig.wearer = "{m.wearer}"')
    return 0


def personalise(
    name: str, path: Path, wearer: str, phases: Path | None, out: Path | None
) -> tuple[SubjectMap, Bundle]:
    """Fit and write; ``phases`` None: by the recording's marks.  Raises what ``main`` catches."""
    if not CODE.fullmatch(wearer):
        raise CalibrationError(f"{wearer!r}: a code is letters, digits, dots and dashes, up to 31")
    intervals = read_phases(phases) if phases else None
    bundle = load_bundle(name)
    if bundle.spec.wearer:
        raise BundleError(
            f"{bundle.id} is {bundle.spec.wearer}'s already: personalise the bundle it came from"
        )
    recording = open_recording(path)
    if recording.meta.get("wearer", "") not in ("", wearer):
        raise CalibrationError(f"{path} was recorded from {recording.meta['wearer']}, not {wearer}")
    replayed = estimates_of(recording, bundle)
    prior = prior_of(bundle)
    routine = routine_of(recording, replayed, bundle.spec.outputs, intervals, prior.activity)
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    m = fit(routine, prior, wearer, bundle.id, date)
    folder = out or Path(f"{bundle.spec.name}-{wearer}")
    return m, write_personalised(bundle, m, recording, replayed, prior.people, folder)


def prior_of(bundle: Bundle) -> Prior:
    """The bundle's own, else the DEFAULT one.  Raises CalibrationError."""
    if PRIOR not in bundle.files:
        return default_prior(bundle.spec.outputs)
    prior = Prior.from_json(bundle.text(PRIOR))
    if prior.outputs != tuple(o.name for o in bundle.spec.outputs):
        raise CalibrationError(f"{PRIOR} of {bundle.id} is about {prior.outputs}: export it again")
    return prior
