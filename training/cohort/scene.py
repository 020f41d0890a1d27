"""Where everything lies in a simulated picture: from muscle geometry to material coordinates.

A picture is 60 x 50 mm: ``x_mm`` along the leg (distal to the right), ``z_mm`` depth from the skin.
Tissue is a stack of layers, each bounded by nearly straight sheets::

    skin, fat | superficial sheet | MG | its sheet, seam, SOL's sheet | SOL | deep sheet | the rest

Inside a muscle the sheets slide along each other as the fascicles shorten: a fascicle is a straight
line (bent a little when active) from sheet to sheet, so a point belongs to the fascicle that leaves
the upper sheet at ``u_mm`` and lies at the share ``v`` of the way down it.  MG fascicles descend to
the right, SOL fascicles to the left (Fukunaga et al. 1997, doi 10.1152/jappl.1997.82.1.354, show
this parallelogram in vivo).  Echoes are looked up at (``u_mm``, ``w_mm``), ``w_mm`` being the depth
in the resting stack, so that speckle moves and shears with the tissue.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.cohort.participant import Participant
from training.cohort.tissue import Stack, Tissues, make_tissues

F32 = NDArray[np.float32]

LINES = SAMPLES = 128
WIDTH_MM, DEPTH_MM = 60.0, 50.0
MIDDLE_MM = WIDTH_MM / 2  # asked angles and thicknesses hold here
SUPERFICIAL_SHARE = 0.2  # of the sheets' sliding is done by the upper sheet of MG
TOLERANCE = 0.15  # between thickness and fascicle length x sine of pennation


class Pose(NamedTuple):
    """How the two muscles lie in one picture, in order (MG, SOL)."""

    run_mm: tuple[float, float]  # of a fascicle along the leg, from sheet to sheet
    thickness_mm: tuple[float, float]
    bend_mm: tuple[float, float]  # along the leg, of the fascicle's middle


class Sheets(NamedTuple):
    """Depths in mm, the shape of ``x_mm`` each: top and bottom of muscle (MG, SOL)."""

    mg_top: F32
    mg_end: F32
    sol_top: F32
    sol_end: F32


class Place(NamedTuple):
    """Material coordinates of picture points."""

    u_mm: F32
    w_mm: F32


@dataclass(frozen=True)
class Scene:
    """A person's tissue under the probe.  Made by ``make_scene``."""

    person: Participant
    stack: Stack
    tissues: Tissues
    slope: tuple[float, float, float]  # dz/dx of superficial, MG/SOL and deep sheet
    wave_mm: tuple[float, float]  # height and wavelength of the sheets' ripple
    wave_rad: float
    contact_db: F32  # (LINES, 1) what poor contact with the skin takes from each line


def make_scene(p: Participant) -> Scene:
    """The tissue of a simulated person; pure, 0.1 s.

    Raises ValueError if the layers do not leave room for MG and SOL in the picture.
    """
    t = p.tissue
    rng = np.random.default_rng((p.seed, p.number, 10))
    top, middle = t.layer_tilt_deg + t.probe_tilt_deg, t.middle_tilt_deg
    tilts_deg = (top, top + middle, top + middle + t.deep_tilt_deg)
    stack = Stack.of(
        t,
        (p.mg.thickness_mm, p.sol.thickness_mm),
        (p.mg.pennation_opt_deg, p.sol.pennation_opt_deg),
    )
    if stack.sol_top_mm > DEPTH_MM - 3.0:
        raise ValueError(
            f"participant {p.number}: SOL starts {stack.sol_top_mm:.0f} mm deep, the picture ends "
            f"at {DEPTH_MM:g} mm: less fat, or thinner muscles"
        )
    return Scene(
        person=p,
        stack=stack,
        tissues=make_tissues(p, stack),
        slope=tuple(math.tan(math.radians(a)) for a in tilts_deg),  # type: ignore[arg-type]
        wave_mm=(float(rng.uniform(0.1, 0.4)), float(rng.uniform(45.0, 80.0))),
        wave_rad=float(rng.uniform(0, 2 * math.pi)),
        contact_db=_contact_db(rng),
    )


def pose(
    scene: Scene,
    fascicle_mm: ArrayLike,
    pennation_deg: ArrayLike,
    thickness_mm: ArrayLike,
    activation: float,
) -> Pose:
    """Lie the fascicles of (MG, SOL) at these angles, in muscles of this thickness.

    Pennation is the angle to the mean direction of the muscle's two sheets, in the middle of the
    picture.  Raises ValueError if length, angle and thickness do not belong to each other.
    """
    length = np.asarray(fascicle_mm, np.float64)
    alpha = np.radians(np.asarray(pennation_deg, np.float64))
    thick = np.asarray(thickness_mm, np.float64)
    if not np.all(np.abs(length * np.sin(alpha) / thick - 1) < TOLERANCE):
        raise ValueError(
            f"fascicles of {length} mm at {np.degrees(alpha)} deg do not span {thick} mm: "
            f"pass mm and degrees, in order (MG, SOL)"
        )
    top, middle, deep = scene.slope
    tilt = np.arctan([(top + middle) / 2, (middle + deep) / 2])
    down = np.array([1.0, -1.0]) * tilt  # SOL runs the other way
    vertical = thick / np.cos(tilt)
    run = vertical / (np.tan(alpha + down) - np.tan(down))
    # An arc of this curvature bulges by c L^2 / 8 across the fascicle.
    bulge = scene.person.tissue.curvature_per_mm * activation * length**2 / 8
    bend = bulge / np.sin(alpha + down)
    return Pose(_pair(run), _pair(vertical), _pair(bend))


def sheets(scene: Scene, at: Pose, x_mm: F32) -> Sheets:
    """Depths of the muscles' boundaries at ``x_mm``, any shape."""
    s, (mg, sol) = scene.stack, at.thickness_mm
    top, middle, deep = scene.slope
    height, length = scene.wave_mm
    x = x_mm - np.float32(MIDDLE_MM)
    phase = x * np.float32(2 * math.pi / length)
    ripple = np.float32(height) * (
        np.sin(phase + np.float32(scene.wave_rad)) - np.float32(math.sin(scene.wave_rad))
    )
    upper = np.maximum(s.sheet_mm + x * top + ripple, s.skin_mm + 0.5)
    mg_top = np.asarray(upper + s.thick_mm, np.float32)
    mg_end = np.asarray(mg_top + np.maximum(mg + x * (middle - top), 2.0), np.float32)
    sol_top = np.asarray(mg_end + s.seam_mm, np.float32)
    sol_end = np.asarray(sol_top + np.maximum(sol + x * (deep - middle), 2.0), np.float32)
    return Sheets(mg_top, mg_end, sol_top, sol_end)


def place(scene: Scene, at: Pose, x_mm: F32, z_mm: F32) -> Place:
    """Material coordinates of the points ``x_mm`` (n, 1) x ``z_mm`` (1, m): each ``(n, m)``."""
    s, edge = scene.stack, sheets(scene, at, x_mm)
    v_mg = _share(z_mm, edge.mg_top, edge.mg_end)
    v_sol = _share(z_mm, edge.sol_top, edge.sol_end)

    # Layers keep their thickness but for the muscles, and the fat, which the tilt makes a wedge.
    w = z_mm + np.float32(s.mg_top_mm) - edge.mg_top
    w += v_mg * (s.mg_mm - (edge.mg_end - edge.mg_top))
    w += v_sol * (s.sol_mm - (edge.sol_end - edge.sol_top))
    fat = int(np.searchsorted(z_mm[0], edge.mg_top.max()))
    sheet = edge.mg_top - s.thick_mm
    w[:, :fat] += np.maximum(sheet - z_mm[:, :fat], 0) * (1 - s.sheet_mm / sheet)

    (mg, sol), (bend_mg, bend_sol) = at.run_mm, at.bend_mm
    moved = mg - s.run_mm[0]  # how far the sheets slid from where they rest
    u = x_mm + np.float32(scene.person.tissue.offset_mm + SUPERFICIAL_SHARE * moved)
    u = u - v_mg * np.float32(mg)
    # SOL hangs on its deep sheet, which is grown to the bone: it alone stays where it is.
    seam = z_mm > (edge.mg_end + edge.sol_top) / 2
    u += seam * np.float32(mg - SUPERFICIAL_SHARE * moved - sol + s.run_mm[1])
    u += v_sol * np.float32(sol)
    if bend_mg or bend_sol:
        u += v_mg * (1 - v_mg) * np.float32(4 * bend_mg)
        u -= v_sol * (1 - v_sol) * np.float32(4 * bend_sol)
    return Place(u, w)


def maps(
    scene: Scene, fascicle_mm: ArrayLike, pennation_deg: ArrayLike, thickness_mm: ArrayLike
) -> NDArray[np.uint8]:
    """What each pixel's centre lies in: ``(3, 128, 128)`` uint8, 1 = inside.

    In order aponeurosis, mg, sol, as MAPS in ``models/segmenter.py``.  The band between MG and SOL
    (two sheets and the seam) is one aponeurosis.  Raises ValueError as ``pose`` does.
    """
    at = pose(scene, fascicle_mm, pennation_deg, thickness_mm, 0.0)
    x_mm, z_mm = grid(LINES, SAMPLES)
    edge, thick = sheets(scene, at, x_mm), scene.stack.thick_mm
    bands = [
        (edge.mg_top - thick, edge.mg_top),
        (edge.mg_end, edge.sol_top),
        (edge.sol_end, edge.sol_end + thick),
    ]
    sheet = np.logical_or.reduce([(z_mm >= a) & (z_mm < b) for a, b in bands])
    mg = (z_mm >= edge.mg_top) & (z_mm < edge.mg_end)
    sol = (z_mm >= edge.sol_top) & (z_mm < edge.sol_end)
    return np.stack([sheet, mg, sol]).astype(np.uint8)


def grid(lines: int, samples: int, border: tuple[int, int] = (0, 0)) -> tuple[F32, F32]:
    """Centres in mm of a finer or coarser grid of the same picture: ``(lines, 1), (1, samples)``.

    ``border`` adds so many points on both sides of each axis.
    """
    x = (np.arange(-border[0], lines + border[0]) + 0.5) * (WIDTH_MM / lines)
    z = (np.arange(-border[1], samples + border[1]) + 0.5) * (DEPTH_MM / samples)
    return x.astype(np.float32)[:, None], z.astype(np.float32)[None, :]


def _contact_db(rng: np.random.Generator) -> F32:
    """Gel and pressure are uneven, and at the probe's ends some elements see nothing."""
    x = np.linspace(0, 1, LINES)
    uneven = sum(
        rng.normal(0, 0.8 / k) * np.cos(k * np.pi * x + rng.uniform(0, 6.3))
        for k in (1, 2, 3, 5, 8)
    )
    ends = [rng.uniform(0, 8) * np.exp(-d / rng.uniform(0.02, 0.08)) for d in (x, 1 - x)]
    return np.asarray(uneven - ends[0] - ends[1], np.float32)[:, None]


def _share(z_mm: F32, top_mm: F32, end_mm: F32) -> F32:
    """0 above the muscle, 1 below it, linear between."""
    per_mm = 1 / (end_mm - top_mm)
    share = np.asarray(z_mm * per_mm, np.float32)
    share -= top_mm * per_mm
    return np.clip(share, 0.0, 1.0, out=share)


def _pair(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values[0]), float(values[1])
