"""``sonomyo measure``: thickness, pennation and fascicle length of a muscle, picture by picture."""

import argparse
import csv
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.architecture import Architecture, Muscle, architecture
from edge.bundle import BundleError
from edge.overlay import draw
from edge.pictures import RECORDING, Picture, PictureError, View, pictures
from edge.runtime import EngineError
from edge.segment import SEGMENTER, Segmentation
from firmware_bridge.types import DeviceError

MEASURED, NOTHING, FAILED = 0, 1, 2
NOMINAL_DEPTH_MM = 50.0  # of a picture whose scale nobody gave: roughly right for a calf
SHOWN = 20  # rows on the screen at most; --csv has them all

Row = dict[str, str | int | float]


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo measure``."""
    p.add_argument("pictures", nargs="+", type=Path, help="pictures, videos or .mcap recordings")
    p.add_argument(
        "--mm-per-pixel", type=_positive, default=math.nan, metavar="X",
        help="scale of pictures and videos; without it lengths are in pixels",
    )  # fmt: skip
    p.add_argument(
        "--box", type=_box, metavar="x0,x1,y0,y1",
        help="where the ultrasound picture is on the screen, in pixels; default: everywhere",
    )  # fmt: skip
    p.add_argument(
        "--mirror", action="store_true",
        help="turn left and right: MG fascicles must descend to the right",
    )  # fmt: skip
    p.add_argument("--muscle", choices=("mg", "sol"), default="mg")
    p.add_argument("--csv", type=Path, metavar="FILE", help="write one row per picture")
    p.add_argument("--overlay", type=Path, metavar="FOLDER", help="draw what was measured")
    p.add_argument("--model", default=SEGMENTER, metavar="BUNDLE", help="who finds the sheets")


def main(a: argparse.Namespace) -> int:
    """Exit code 0: something was measured; 1: nothing could be; 2: it could not be tried."""
    try:
        rows = _run(a)
    except (PictureError, BundleError, EngineError, DeviceError, OSError) as e:
        print(f"sonomyo measure: {e}", file=sys.stderr)
        return FAILED
    _show(Console(highlight=False), rows)
    return MEASURED if any(row["quality"] for row in rows) else NOTHING


def measure(
    given: Iterable[Picture],
    maps_of: Callable[[NDArray[Any]], NDArray[Any]],
    muscle: Muscle = "mg",
) -> Iterator[tuple[Picture, Architecture]]:
    """The architecture in each picture, in pixels instead of mm where a picture has no scale.

    ``maps_of`` is a ``Segmentation``, or any function from a picture ``(lines, samples)`` to maps.
    """
    for p in given:
        if math.isnan(p.dz_mm):
            nominal_mm = NOMINAL_DEPTH_MM / p.image.shape[1]
            found = architecture(p.image, maps_of(p.image), nominal_mm, nominal_mm, muscle)
            yield p, found.scaled(1 / nominal_mm)
        else:
            yield p, architecture(p.image, maps_of(p.image), p.dx_mm, p.dz_mm, muscle)


def _run(a: argparse.Namespace) -> list[Row]:
    recorded = {path.suffix.lower() == RECORDING for path in a.pictures}
    if len(recorded) > 1:
        raise PictureError("recordings know their scale, pictures do not: measure them apart")
    if a.overlay and len({path.stem for path in a.pictures}) < len(a.pictures):
        raise PictureError("two files have one name, and so would their overlays: draw them apart")
    unit = "mm" if recorded == {True} or not math.isnan(a.mm_per_pixel) else "px"
    view = View(a.mm_per_pixel, a.box, a.mirror)
    rows: list[Row] = []
    with ExitStack() as stack:
        segment = Segmentation(a.model)
        stack.callback(segment.close)
        sources = [pictures(path, view) for path in a.pictures]  # all there, before any work
        table = stack.enter_context(a.csv.open("w", newline="")) if a.csv else None
        if a.overlay:
            a.overlay.mkdir(parents=True, exist_ok=True)
        for source in sources:
            for picture, found in measure(source, segment, a.muscle):
                row = _row(picture, found, unit)
                if table:
                    writer = csv.DictWriter(table, list(row))
                    if not rows:
                        writer.writeheader()
                    writer.writerow({k: "" if v != v else v for k, v in row.items()})
                if a.overlay:
                    draw(picture, found, _text(row), a.overlay)
                rows.append(row)
    return rows


def _row(p: Picture, found: Architecture, unit: str) -> Row:
    return {
        "file": p.file,
        "frame": p.frame,
        "t_s": round(p.t_s, 6),
        f"thickness_{unit}": round(found.thickness_mm, 3),
        "pennation_deg": round(found.pennation_deg, 3),
        f"fascicle_{unit}": round(found.fascicle_mm, 3),
        "fascicle_deg": round(found.fascicle_deg, 3),
        "superficial_deg": round(found.superficial_deg, 3),
        "deep_deg": round(found.deep_deg, 3),
        "quality": round(found.quality, 3),
    }


def _text(row: Row) -> str:
    return "  ".join(f"{k} {row[k]:.1f}" for k in _numbers(row))


def _numbers(row: Row) -> list[str]:
    """The columns that a person asks for: thickness, pennation, fascicle length, quality."""
    return [k for k in row if k.startswith(("thickness", "pennation", "quality"))
            or (k.startswith("fascicle") and k != "fascicle_deg")]  # fmt: skip


def _show(console: Console, rows: list[Row]) -> None:
    """Every picture if they are few, then what they come to."""
    numbers = _numbers(rows[0])
    if len(rows) <= SHOWN:
        table = Table("file", "frame", *numbers)
        for row in rows:
            shown = ("-" if row[k] != row[k] else f"{row[k]:.2f}" for k in numbers)
            table.add_row(escape(Path(str(row["file"])).name), str(row["frame"]), *shown)
        console.print(table)
    good = [row for row in rows if row["quality"]]
    table = Table(f"{len(good)} of {len(rows)} measured", "median", "least", "most")
    for k in numbers if good else ():
        values = [float(row[k]) for row in good]
        table.add_row(k, *(f"{f(values):.2f}" for f in (median, min, max)))
    console.print(table)
    if "fascicle_px" in numbers:
        console.print("Lengths are in pixels: give --mm-per-pixel for millimetres.")
    if len(good) < len(rows):
        console.print(
            "Where nothing was measured, no two sheets or no fascicles stood out. Do MG fascicles "
            "descend to the right (--mirror)? Is there more than ultrasound in the picture (--box)?"
        )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: mm per pixel are more than 0, e.g. 0.088")
    return value


def _box(text: str) -> tuple[int, int, int, int]:
    try:
        x0, x1, y0, y1 = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: four whole numbers, x0,x1,y0,y1") from None
    return x0, x1, y0, y1
