"""Our measurements of muscle architecture beside those of people: the error of both, per set.

Observers drew a fascicle and the sheets into the same pictures (us_mg_dynamometer: up to three;
us_stills_timtrack: three).  Our error is against the mean of all of them; theirs is that of each
against the mean of the others.  That mean is less steady, so somebody exactly as good as the
observers would seem better than they do: by 6 % where they were three, by 13 % where they were two.
Nothing in ``edge/architecture.py`` was chosen on these labels.

Everything is turned so that fascicles descend towards larger x, as ``architecture`` wants it; then
the labels keep their signs, and the column at which observers read the distance of the sheets is
the picture's right edge.  There we read ours, and with their formulas::

    thickness = height cos(beta)      pennation = alpha - beta
    fascicle length = thickness / sin(pennation)
"""

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.architecture import Architecture
from edge.measure_command import measure
from edge.pictures import Picture
from training.datasets import locate
from training.readers import MG, MG_PX_MM, mg_clip, video_frames

F64 = NDArray[np.float64]
STILLS = "us_stills_timtrack"
MG_LABEL_PX = 1.25  # pixels of the observers' rendering per video pixel


class StillSet(NamedTuple):
    """How the screens of one still set are laid out."""

    box: tuple[int, int, int, int]  # of the ultrasound picture on the screen: x0, x1, y0, y1
    mm_per_px: float  # from the centimetre marks on the screen; NaN where there are none
    mirrored: bool  # fascicles rise to the right


STILL_SETS = {
    "gl_jump": StillSet((119, 682, 67, 511), 10 / 115.5, True),
    "gl_rom": StillSet((119, 682, 67, 511), 10 / 115.5, True),
    "gm_static": StillSet((237, 997, 43, 686), 10 / 126.1, False),
    "vl": StillSet((0, 514, 0, 458), math.nan, True),
}
SETS = (MG, *STILL_SETS)


@dataclass(frozen=True)
class Labelled:
    """A picture, and what each of its observers (k,) drew; angles as in ``Architecture``."""

    set: str
    picture: Picture
    fascicle_deg: F64
    superficial_deg: F64
    height_px: F64  # between the sheets, vertical, at the right edge


class Measures(NamedTuple):
    """What is compared; arrays or numbers, lengths in mm, in pixels where there is no scale."""

    fascicle_deg: Any
    superficial_deg: Any
    pennation_deg: Any
    thickness_mm: Any
    fascicle_mm: Any


@dataclass(frozen=True)
class Row:
    """Errors in one quantity of one set, on the ``measured`` of its ``pictures``."""

    set: str
    quantity: str
    unit: str
    pictures: int
    measured: int
    rmse: float  # ours against the mean of the observers
    bias: float
    observers_rmse: float  # each observer against the mean of the others


def labelled(sets: Sequence[str] = SETS) -> Iterator[Labelled]:
    """The pictures of these sets that two observers labelled, or more.  Raises DataMissing."""
    for name in sets:
        for one in _mg() if name == MG else _stills(name):
            if len(one.fascicle_deg) > 1:
                yield one


def observer_table(
    maps_of: Callable[[NDArray[Any]], NDArray[Any]], sets: Sequence[str] = SETS
) -> list[Row]:
    """One row per set and quantity.

    ``maps_of`` turns a picture ``(lines, samples)`` into maps, as ``edge.segment.Segmentation``
    does.  Raises DataMissing.
    """
    rows: list[Row] = []
    for name in sets:
        ours, mean, each = [], [], []
        for one in labelled((name,)):
            ((_, found),) = measure([one.picture], maps_of)
            ours.append(read(found, one.picture))
            drawn = manual(one)
            mean.append([float(np.mean(q)) for q in drawn])
            each.append([_between(q) for q in drawn])
        rows += _rows(name, np.array(ours), np.array(mean), each)
    return rows


def manual(one: Labelled) -> Measures:
    """What the observers (k,) measured."""
    mm = one.picture.dz_mm
    height = one.height_px * (1.0 if math.isnan(mm) else mm)
    return _measures(one.fascicle_deg, one.superficial_deg, height)


def read(found: Architecture, picture: Picture) -> Measures:
    """The same from our sheets and fascicles, all NaN unless everything was measured."""
    if not found.quality:
        return Measures(*[math.nan] * 5)
    width = len(picture.image) * (1.0 if math.isnan(picture.dx_mm) else picture.dx_mm)
    height = found.deep.at(width) - found.superficial.at(width)
    return _measures(found.fascicle_deg, found.superficial_deg, height)


def _measures(fascicle_deg: Any, superficial_deg: Any, height: Any) -> Measures:
    pennation_deg = fascicle_deg - superficial_deg
    thickness = height * np.cos(np.radians(superficial_deg))
    length = thickness / np.sin(np.radians(pennation_deg))
    return Measures(fascicle_deg, superficial_deg, pennation_deg, thickness, length)


def _between(drawn: F64) -> F64:
    """Each of k observers less the mean of the others (k,)."""
    others = (drawn.sum() - drawn) / (len(drawn) - 1)
    return np.asarray(drawn - others, np.float64)


def _rows(name: str, ours: F64, mean: F64, each: list[list[F64]]) -> Iterator[Row]:
    good = [bool(np.isfinite(one).all()) for one in ours]
    for k, quantity in enumerate(Measures._fields):
        unit = "deg" if quantity.endswith("_deg") else "mm"
        if unit == "mm" and name in STILL_SETS and math.isnan(STILL_SETS[name].mm_per_px):
            unit, quantity = "px", quantity.removesuffix("_mm") + "_px"
        error = (ours - mean)[good, k]
        theirs = [one[k] for one, there in zip(each, good, strict=True) if there]
        some = any(good)
        yield Row(
            name,
            quantity,
            unit,
            pictures=len(good),
            measured=sum(good),
            rmse=_rms(error) if some else math.nan,
            bias=float(np.mean(error)) if some else math.nan,
            observers_rmse=_rms(np.concatenate(theirs)) if some else math.nan,
        )


def _rms(error: F64) -> float:
    return float(np.sqrt(np.mean(error**2)))


def _mg() -> Iterator[Labelled]:
    rows = _table(MG, "manual_labels.csv")
    wanted: dict[str, set[int]] = {}
    for r in rows:
        wanted.setdefault(r["clip"], set()).add(int(r["frame"]))
    for clip, frames in wanted.items():
        for k, image in enumerate(video_frames(mg_clip(clip).video)):
            if k in frames:
                mine = [r for r in rows if r["clip"] == clip and int(r["frame"]) == k]
                picture = Picture(clip, k, math.nan, image.T, MG_PX_MM, MG_PX_MM)
                yield _labels(MG, picture, mine, MG_LABEL_PX)


def _stills(name: str) -> Iterator[Labelled]:
    import cv2

    about = STILL_SETS[name]
    rows = [r for r in _table(STILLS, "labels.csv") if r["set"] == name]
    for file in dict.fromkeys(r["file"] for r in rows):
        path = locate(STILLS, file)
        screen = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if screen is None:
            raise ValueError(f"{path}: OpenCV cannot read this picture: get the data set again")
        x0, x1, y0, y1 = about.box
        image = screen[y0:y1, x0:x1].T
        image = np.ascontiguousarray(image[::-1] if about.mirrored else image)
        picture = Picture(file, 0, math.nan, image, about.mm_per_px, about.mm_per_px)
        yield _labels(name, picture, [r for r in rows if r["file"] == file], 1.0)


def _labels(name: str, picture: Picture, rows: list[dict[str, str]], scale: float) -> Labelled:
    """``scale``: pixels of the labels per pixel of the picture."""
    columns = ("alpha_fascicle_deg", "beta_superficial_apo_deg")
    height = "height_px_src" if name == MG else "height_px"
    alpha, beta, tall = (np.array([float(r[c]) for r in rows]) for c in (*columns, height))
    return Labelled(name, picture, alpha, beta, tall / scale)


def _table(name: str, file: str) -> list[dict[str, str]]:
    with locate(name, file).open(newline="") as f:
        return list(csv.DictReader(f))
