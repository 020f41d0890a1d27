"""Aponeuroses as straight lines, from a segmenter's maps.

A muscle's sheets are where its region ends: the first and the last crossing of probability 0.5 in
each line of its largest piece, to a fraction of a sample.  A crossing counts where the aponeurosis
map shows a sheet beside it; elsewhere the region ends for another reason (the edge of the picture,
a shadow).  A line through them starts from the median of slopes (Theil 1950, Sen 1968) and settles
by least squares with Tukey's bisquare weights: columns gone astray do not turn it, and the steps of
a coarse map do not hold it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

F64 = NDArray[np.float64]

PRESENT = 0.5  # probability from which something is there
NEAR_MM = 2.5  # how far outside the region its sheet may lie
SPAN_MM = 15.0  # a line needs crossings over so much of the leg
SHARE = 0.3  # and in so many of the lines that cross the muscle
ROUNDS, BISQUARE = 4, 4.685  # of reweighting; reach in robust standard deviations (Tukey)
STEEPEST_DEG = 25.0  # against the transducer, which is pressed on along the muscle
BEND_MM = 1.0  # median distance of crossings from their line: a sheet is nearly straight


class Sheet(NamedTuple):
    """A straight sheet: ``depth_mm`` at x = 0, the picture's left edge, and its slope dz/dx."""

    depth_mm: float
    slope: float

    def at(self, x_mm: Any) -> Any:
        """Depth in mm at ``x_mm``, a number or an array."""
        return self.depth_mm + self.slope * x_mm

    @property
    def angle_deg(self) -> float:
        """Against the transducer's face; positive: deeper towards larger x."""
        return float(np.degrees(np.arctan(self.slope)))


UNSEEN = Sheet(float("nan"), float("nan"))


class Borders(NamedTuple):
    """Where a muscle begins and ends in depth, at each line of the maps; NaN: not in this line."""

    x_mm: F64  # (lines,) of the lines' centres
    top_mm: F64  # (lines,)
    end_mm: F64  # (lines,)


def borders(region: NDArray[Any], dx_mm: float, dz_mm: float) -> Borders:
    """Upper and lower end of the largest piece of a region map ``(lines, samples)``, 0..1."""
    lines, samples = region.shape
    x_mm = np.linspace(0.5, lines - 0.5, lines) * dx_mm
    pieces, found = ndimage.label(region >= PRESENT)
    if not found:
        return Borders(x_mm, np.full(lines, np.nan), np.full(lines, np.nan))
    piece = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    there, each = piece.any(axis=1), np.arange(lines)
    first = piece.argmax(axis=1)
    last = samples - 1 - piece[:, ::-1].argmax(axis=1)
    top = first - _beyond(region, each, first, first - 1)
    end = last + _beyond(region, each, last, last + 1)
    # A sample's centre is half a sample below its upper edge.
    top_mm, end_mm = (np.where(there, (edge + 0.5) * dz_mm, np.nan) for edge in (top, end))
    return Borders(x_mm, top_mm, end_mm)


def _beyond(region: NDArray[Any], line: Any, last: Any, after: Any) -> F64:
    """How far past sample ``last``, in samples, the probability falls to PRESENT."""
    outside = (after < 0) | (after >= region.shape[1])
    inner = np.asarray(region[line, last], np.float64)
    outer = np.asarray(region[line, np.clip(after, 0, region.shape[1] - 1)], np.float64)
    fall = np.maximum(inner - outer, 1e-6)
    return np.where(outside, 0.5, np.clip((inner - PRESENT) / fall, 0.0, 1.0))


def sheet(edge_mm: F64, x_mm: F64, aponeurosis: NDArray[Any], dz_mm: float, outwards: int) -> Sheet:
    """The line along one border ``edge_mm (lines,)`` of a muscle; UNSEEN where no sheet is.

    ``aponeurosis`` is ``(lines, samples)``, 0..1; ``outwards`` is -1 for an upper border and +1 for
    a lower one.
    """
    beside = edge_mm[:, None] + outwards * np.arange(0.0, NEAR_MM, dz_mm)  # (lines, few)
    sample = np.nan_to_num(beside / dz_mm).astype(np.intp)
    inside = (sample >= 0) & (sample < aponeurosis.shape[1])
    sample = np.clip(sample, 0, aponeurosis.shape[1] - 1)
    seen = (np.take_along_axis(aponeurosis, sample, axis=1) >= PRESENT) & inside
    good = seen.any(axis=1) & ~np.isnan(edge_mm)
    x, z = x_mm[good], edge_mm[good]
    if len(x) < max(SHARE * np.isfinite(edge_mm).sum(), 3) or np.ptp(x) < SPAN_MM:
        return UNSEEN
    line = _robust(x, z, dz_mm / 2)
    bent = np.median(np.abs(z - line.at(x))) > BEND_MM
    return UNSEEN if bent or abs(line.angle_deg) > STEEPEST_DEG else line


def _robust(x: F64, z: F64, least: float) -> Sheet:
    """A line through most of the points; ``least`` is the spread below which they are equals."""
    i, j = np.triu_indices(len(x), 1)
    slope = np.median((z[j] - z[i]) / (x[j] - x[i]))
    depth = np.median(z - slope * x)
    for _ in range(ROUNDS):
        off = np.abs(z - slope * x - depth)
        reach = BISQUARE * max(1.483 * np.median(off), least)
        weight = np.clip(1 - (off / reach) ** 2, 0, None) ** 2
        x0, z0 = np.average(x, weights=weight), np.average(z, weights=weight)
        slope = np.sum(weight * (x - x0) * (z - z0)) / np.sum(weight * (x - x0) ** 2)
        depth = z0 - slope * x0
    return Sheet(float(depth), float(slope))
