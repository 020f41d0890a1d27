"""Echoes of a simulated person's resting tissue: complex scatterers times echo level.

Axis 0 runs along the leg (``u``; the tissue repeats every 120 mm), axis 1 down through the resting
stack of layers (``w``).  Fascicles are lines of constant ``u``.  A cell holds the sum of a Poisson
number of scatterers with random phases: few per resolution cell, as ``Tissue.scatterers_mm2`` says,
give speckle that is rougher than Rayleigh's.  Echo levels are in dB against relaxed MG.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from training.cohort.participant import Participant, Tissue

F32 = NDArray[np.float32]

U_MM, W_MM = 60 / 256, 50 / 512  # cells; as the field of ``bmode``: no beat between the two
U_CELLS = 512  # a power of two: wrapping is a bit mask
SHEET_MM = 1.2  # superficial and deep sheet
LEAF_MM = 0.5  # each of the two sheets between MG and SOL
END_MM = 75.0  # below the deepest picture, whatever the muscles do
SHEET_GRAIN_MM = 1.2  # along the leg: sheets are smooth reflectors


@dataclass(frozen=True)
class Stack:
    """Depths (``_top_mm``, ``sheet_mm``) and thicknesses of the layers at rest, mid picture."""

    skin_mm: float
    sheet_mm: float  # depth of the superficial sheet
    thick_mm: float  # of the superficial and of the deep sheet
    mg_mm: float
    seam_mm: float  # of the band between the muscles
    sol_mm: float
    run_mm: tuple[float, float]  # of resting fascicles along the leg

    @staticmethod
    def of(
        t: Tissue, thickness_mm: tuple[float, float], pennation_deg: tuple[float, float]
    ) -> "Stack":
        """Layers of this tissue around muscles of this thickness."""
        run = [
            d / math.tan(math.radians(a)) for d, a in zip(thickness_mm, pennation_deg, strict=True)
        ]
        return Stack(
            t.skin_mm,
            t.skin_mm + t.fat_mm,
            SHEET_MM,
            thickness_mm[0],
            2 * LEAF_MM + t.seam_mm,
            thickness_mm[1],
            (run[0], run[1]),
        )

    @property
    def mg_top_mm(self) -> float:
        return self.sheet_mm + self.thick_mm

    @property
    def mg_end_mm(self) -> float:
        return self.mg_top_mm + self.mg_mm

    @property
    def sol_top_mm(self) -> float:
        return self.mg_end_mm + self.seam_mm

    @property
    def sol_end_mm(self) -> float:
        return self.sol_top_mm + self.sol_mm


@dataclass(frozen=True)
class Tissues:
    """Two slices of the same tissue that share its layers; both complex64 (U_CELLS, w cells)."""

    here: NDArray[np.complex64]
    beside: NDArray[np.complex64]  # out of the plane, as far away as speckle remembers nothing
    depth_mm: F32  # (w cells,) resting depth of each row's middle


class _Look(NamedTuple):
    """What differs between people besides what ``Tissue`` holds."""

    dash_db: float  # perimysium that happens to face the probe, whatever the fascicles' direction
    leaf_db: float  # by which SOL's upper sheet is darker than MG's
    deep_db: float  # by which the deep sheet is darker


def make_tissues(p: Participant, s: Stack) -> Tissues:
    """Draw the tissue of a person; the same person, the same tissue."""
    rng = np.random.default_rng((p.seed, p.number, 11))
    depth = (np.arange(round(END_MM / W_MM), dtype=np.float32) + np.float32(0.5)) * np.float32(W_MM)
    look = _Look(rng.uniform(1.0, 4.0), rng.uniform(3.0, 10.0), rng.uniform(2.0, 16.0))
    level = [
        _level_db(rng, p, s, look, depth, streaks) for streaks in _streaks(rng, p, s, len(depth))
    ]
    grain = (depth >= s.sheet_mm) & (depth < s.mg_top_mm)
    grain |= (depth >= s.mg_end_mm) & (depth < s.sol_top_mm)
    grain |= (depth >= s.sol_end_mm) & (depth < s.sol_end_mm + s.thick_mm)
    slices = []
    for db in level:
        echo = _scatterers(rng, p.tissue.scatterers_mm2, db.shape)
        # Sheets mirror the beam more than they scatter it: less where they tilt away from it.
        mirror = _smooth_complex(rng, (U_CELLS, int(grain.sum())), SHEET_GRAIN_MM)
        echo[:, grain] = np.sqrt(0.6) * mirror + np.sqrt(0.4) * echo[:, grain]
        echo *= 10 ** (db / 20)
        echo.flags.writeable = False
        slices.append(echo)
    return Tissues(slices[0], slices[1], depth)


def _streaks(rng: np.random.Generator, p: Participant, s: Stack, cells: int) -> list[F32]:
    """Fascicles and perimysium in dB: the same in both slices, but showing in other patches."""
    shape = (U_CELLS, cells)
    every = []
    for a_deg, run in zip((p.mg.pennation_opt_deg, p.sol.pennation_opt_deg), s.run_mm, strict=True):
        across = p.tissue.fascicle_mm / math.sin(math.radians(a_deg))
        deep = run * math.tan(math.radians(a_deg))
        fine = noise(rng, shape, across / 9, 0.05 * deep)
        bold = noise(rng, shape, across / 9, 0.09 * deep)
        bold -= 0.7 * noise(rng, shape, across / 3, 0.09 * deep)
        every.append((1.5 * fine, p.tissue.fascicle_db * np.clip(0.8 * bold - 0.3, -0.5, 1.4)))
    upper = np.arange(cells) * W_MM < s.mg_end_mm
    fine, bold = (np.where(upper, mg, sol) for mg, sol in zip(*every, strict=True))
    rim = p.tissue.visible - 0.4
    patches = [np.clip(0.7 * noise(rng, shape, 5.0, 2.5) + rim, 0.0, 1.0) for _ in range(2)]
    return [np.asarray(fine + bold * one, np.float32) for one in patches]


def _level_db(
    rng: np.random.Generator, p: Participant, s: Stack, look: _Look, depth: F32, streaks: F32
) -> F32:
    """Echo level of every cell in dB against relaxed MG."""
    t, shape = p.tissue, streaks.shape
    clouds = noise(rng, shape, 5.0, 2.0)
    bands = noise(rng, shape, 6.0, 0.2)
    v = (depth - s.mg_top_mm) / s.mg_mm
    below = depth - s.sol_top_mm
    db: F32 = t.fat_db + 2.5 * bands + 1.5 * clouds
    db += np.where(depth < s.skin_mm, 4.0, 0.0).astype(np.float32)
    dashes = look.dash_db * noise(rng, shape, 1.5, 0.25)
    mg = 1.5 * clouds + streaks + dashes + 1.5 - 3.0 * v
    mg -= 6.0 * np.exp(-(((v - 1.0) * s.mg_mm / 0.8) ** 2))  # dark above the deep sheet
    haze = (9.0 + 3.0 * clouds) * np.exp(-below / 3.0)
    sol = t.soleus_db + 2.5 * clouds + 0.8 * streaks + dashes + haze
    deep = t.soleus_db - 2.0 + 3.0 * clouds + 1.5 * bands
    sheet = t.aponeurosis_db + 2.0 * bands + 2.5 * noise(rng, shape, 4.0, 0.8)
    seam = (below + s.seam_mm) / s.seam_mm  # the sheet of MG is the sharper one
    middle = sheet - look.leaf_db * np.clip(seam, 0, 1) ** 0.5
    middle -= np.clip(6.0 + 4.0 * clouds, 0, 12) * np.exp(-(((seam - 0.5) / 0.2) ** 2))
    layers = [
        (s.sheet_mm, sheet - 1.0),
        (s.mg_top_mm, mg),
        (s.mg_end_mm, middle),
        (s.sol_top_mm, sol),
        (s.sol_end_mm, sheet - look.deep_db),
        (s.sol_end_mm + s.thick_mm, deep),
    ]
    for top_mm, layer in layers:
        db = np.where(depth >= top_mm, layer, db)
    return np.asarray(db, np.float32)


def _scatterers(
    rng: np.random.Generator, per_mm2: float, shape: tuple[int, int]
) -> NDArray[np.complex64]:
    """Sums of a Poisson number of unit phasors, mean power 1 per cell."""
    mean = per_mm2 * U_MM * W_MM
    size = np.sqrt(rng.poisson(mean, shape) / mean).astype(np.float32)
    turn = rng.uniform(0, 2 * np.pi, shape).astype(np.float32)
    return np.asarray(size * np.exp(1j * turn), np.complex64)


def _smooth_complex(
    rng: np.random.Generator, shape: tuple[int, int], u_mm: float
) -> NDArray[np.complex64]:
    pair = [noise(rng, shape, u_mm, 0.0) for _ in range(2)]
    return np.asarray((pair[0] + 1j * pair[1]) / math.sqrt(2), np.complex64)


def noise(rng: np.random.Generator, shape: tuple[int, int], u_mm: float, w_mm: float) -> F32:
    """Gaussian noise of unit variance, blurred by these sigmas; periodic along both axes."""
    spectrum = scipy.fft.rfft2(rng.standard_normal(shape, np.float32))
    for axis, sigma in enumerate((u_mm / U_MM, w_mm / W_MM)):
        f = scipy.fft.fftfreq(shape[0])[:, None] if axis == 0 else scipy.fft.rfftfreq(shape[1])
        spectrum *= np.exp(-2 * (np.pi * sigma * f) ** 2).astype(np.float32)
    soft = scipy.fft.irfft2(spectrum, s=shape)
    return np.asarray(soft / soft.std(), np.float32)
