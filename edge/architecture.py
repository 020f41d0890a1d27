"""Muscle architecture from one B-mode picture: thickness, pennation, fascicle length.

Conventions are those of manual measurements (van der Zee et al. 2020, TimTrack, bioRxiv
2020.08.23.263574; Drazan, Hullfish, Baxter 2019, doi 10.7717/peerj.7120):

- every angle is against the transducer's face and positive where a line runs deeper towards
  larger x: MG fascicles have positive ones, SOL fascicles negative ones;
- sheets are the sides of the aponeuroses that face the muscle, as straight lines;
- pennation is the angle between fascicles and the superficial sheet, always positive;
- thickness is the vertical distance of the sheets in the middle of the muscle, times the cosine of
  the superficial sheet's angle;
- a fascicle is the straight line through the middle of the muscle, extrapolated to both sheets:
  between parallel sheets its length is thickness / sin(pennation).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge.orientation import direction
from edge.sheets import Borders, Sheet, borders, sheet

Muscle = Literal["mg", "sol"]
REGIONS = {"mg": 1, "sol": 2}  # maps: aponeurosis, mg, sol

MARGIN_MM = 1.0  # kept off the sheets when looking for fascicles
PENNATION_DEG = (6.0, 65.0)  # of calf muscles, passive to maximal, with room to spare
# Nearer to the horizontal, streaks of fascicles and of the beam's own speckle look the same.
FLATTEST_DEG, STEEPEST_DEG = 4.0, 74.0
CLEAR = 0.3  # speckle alone stays below 0.16; below this, simulated muscle was often misread
THINNEST_MM = 4.0

Point = tuple[float, float]  # x from the picture's left edge, depth; mm


@dataclass(frozen=True)
class Architecture:
    """What was measured; NaN where nothing could be, and then ``quality`` is 0."""

    thickness_mm: float
    pennation_deg: float
    fascicle_mm: float
    fascicle_deg: float
    superficial: Sheet
    deep: Sheet
    ends_mm: tuple[Point, Point]  # of the fascicle: on the superficial sheet, on the deep one
    quality: float  # 0..1: how far the fascicles' direction stands out of the speckle

    @property
    def superficial_deg(self) -> float:
        """Angle of the superficial sheet."""
        return self.superficial.angle_deg

    @property
    def deep_deg(self) -> float:
        """Angle of the deep sheet."""
        return self.deep.angle_deg

    def scaled(self, factor: float) -> "Architecture":
        """The same in another unit of length: every ``_mm`` times ``factor``."""
        ends = [(x_mm * factor, z_mm * factor) for x_mm, z_mm in self.ends_mm]
        return replace(
            self,
            thickness_mm=self.thickness_mm * factor,
            fascicle_mm=self.fascicle_mm * factor,
            superficial=Sheet(self.superficial.depth_mm * factor, self.superficial.slope),
            deep=Sheet(self.deep.depth_mm * factor, self.deep.slope),
            ends_mm=(ends[0], ends[1]),
        )


def architecture(
    image: NDArray[Any],
    maps: NDArray[Any],
    dx_mm: float,
    dz_mm: float,
    muscle: Muscle = "mg",
) -> Architecture:
    """Measure one muscle.

    ``image`` is ``(lines, samples)`` brightness in pixels of ``dx_mm`` along the leg by ``dz_mm``
    in depth; the finer, the better its fascicles are seen.  ``maps`` are the probabilities
    ``(3, any lines, any samples)`` of aponeurosis, mg and sol over the same window.  MG fascicles
    must descend towards larger x: mirror the picture if they do not.  Raises ValueError for arrays
    of other shapes.
    """
    if image.ndim != 2 or maps.ndim != 3 or len(maps) != 3:
        raise ValueError(
            f"picture {image.shape} and maps {maps.shape}: give (lines, samples) and "
            "(3, lines, samples)"
        )
    if muscle == "mg":
        return _descending(image, maps, dx_mm, dz_mm, REGIONS["mg"])
    # SOL fascicles run the other way: measure them in a mirror.
    found = _descending(image[::-1], maps[:, ::-1], dx_mm, dz_mm, REGIONS["sol"])
    return _mirrored(found, len(image) * dx_mm)


def _descending(
    image: NDArray[Any], maps: NDArray[Any], dx_mm: float, dz_mm: float, region: int
) -> Architecture:
    """As ``architecture``, of the muscle whose fascicles descend towards larger x."""
    lines, samples = maps.shape[1:]
    map_dx_mm, map_dz_mm = dx_mm * image.shape[0] / lines, dz_mm * image.shape[1] / samples
    b = borders(maps[region], map_dx_mm, map_dz_mm)
    superficial = sheet(b.top_mm, b.x_mm, maps[0], map_dz_mm, -1)
    deep = sheet(b.end_mm, b.x_mm, maps[0], map_dz_mm, +1)

    flat_deg = superficial.angle_deg
    angle_deg = clarity = math.nan
    if not math.isnan(flat_deg):
        low, high = (limit + flat_deg for limit in PENNATION_DEG)
        found = direction(
            image, _inside(b, image.shape, dx_mm, dz_mm), dx_mm, dz_mm,
            max(low, FLATTEST_DEG), min(high, STEEPEST_DEG),
        )  # fmt: skip
        if found.clarity >= CLEAR:
            angle_deg, clarity = found

    middle_mm = float(np.mean(b.x_mm[~np.isnan(b.top_mm)])) if np.isfinite(b.top_mm).any() else 0.0
    top_mm, end_mm = superficial.at(middle_mm), deep.at(middle_mm)
    thickness_mm = (end_mm - top_mm) * math.cos(math.radians(flat_deg))
    if not thickness_mm >= THINNEST_MM:
        thickness_mm = math.nan
    ends_mm = _fascicle((middle_mm, (top_mm + end_mm) / 2), angle_deg, superficial, deep)
    fascicle_mm = math.dist(*ends_mm)
    measured = math.isfinite(fascicle_mm + thickness_mm)
    return Architecture(
        thickness_mm=thickness_mm,
        pennation_deg=angle_deg - flat_deg,
        fascicle_mm=fascicle_mm if measured else math.nan,
        fascicle_deg=angle_deg,
        superficial=superficial,
        deep=deep,
        ends_mm=ends_mm,
        quality=clarity if measured else 0.0,
    )


def _fascicle(
    through_mm: Point, angle_deg: float, superficial: Sheet, deep: Sheet
) -> tuple[Point, Point]:
    """Where the straight line through a point meets both sheets; NaN if it never meets them."""
    slope = math.tan(math.radians(angle_deg))
    x_mm, z_mm = through_mm
    ends = []
    for one in (superficial, deep):
        closing = slope - one.slope  # mm of depth per mm along the leg
        away_mm = (one.at(x_mm) - z_mm) / closing if closing > 0.05 else math.nan
        ends.append((x_mm + away_mm, z_mm + slope * away_mm))
    return ends[0], ends[1]


def _inside(b: Borders, shape: tuple[int, ...], dx_mm: float, dz_mm: float) -> NDArray[np.bool_]:
    """The muscle without its rims, on the grid of the picture."""
    lines, samples = shape
    x_mm, z_mm = (np.arange(lines) + 0.5) * dx_mm, (np.arange(samples) + 0.5) * dz_mm
    there = ~np.isnan(b.top_mm)
    top_mm, end_mm = (
        np.interp(x_mm, b.x_mm[there], edge[there], np.nan, np.nan) for edge in (b.top_mm, b.end_mm)
    )
    below = z_mm > top_mm[:, None] + MARGIN_MM
    return np.asarray(below & (z_mm < end_mm[:, None] - MARGIN_MM))


def _mirrored(a: Architecture, width_mm: float) -> Architecture:
    """The same muscle in the picture it was mirrored from."""
    ends = [(width_mm - x_mm, z_mm) for x_mm, z_mm in a.ends_mm]
    return replace(
        a,
        fascicle_deg=-a.fascicle_deg,
        superficial=Sheet(a.superficial.at(width_mm), -a.superficial.slope),
        deep=Sheet(a.deep.at(width_mm), -a.deep.slope),
        ends_mm=(ends[0], ends[1]),
    )
