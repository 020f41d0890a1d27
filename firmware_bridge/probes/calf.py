"""B-mode image of a simulated calf, drawn by unflattening one texture of its tissue.

The texture is the calf laid flat: axis 0 runs along the leg (``u``), axis 1 through the layers
(``w``): fat above 0, the medial gastrocnemius between ``0`` and ``MUSCLE_MM``, the soleus below.
A fascicle is a line of constant ``u``.  Drawing a frame means asking, for each pixel, which ``u``
and ``w`` lie there at this ankle angle and this force; speckle is added in image space, where the
beam makes it, and follows the tissue.  Shapes and grey levels are modelled on B-mode films of a
medial gastrocnemius in a dynamometer (Drazan, Hullfish, Baxter 2019, doi 10.7717/peerj.7120).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.types import Geometry
from firmware_bridge.wearer import MAX_ANGLE_DEG, MIN_ANGLE_DEG

F32 = NDArray[np.float32]

WIDTH_MM, DEPTH_MM = 63.6, 50.7  # field of view of a 6 cm linear probe
DYNAMIC_RANGE_DB = 55.0
LOOKS = 2  # compounded by the scanner

U_MM, W_MM = 0.2, 0.1  # texture cells
U_CELLS = 640  # 128 mm of leg, then it repeats
FAT_MM, MUSCLE_MM, SOLEUS_MM = 10.0, 16.0, 56.0  # layers of the texture, each thicker than seen


@dataclass(frozen=True)
class Architecture:
    """How the muscle lies at one moment."""

    pennation_deg: float  # between fascicles and the superficial aponeurosis
    thickness_mm: float  # between the aponeuroses, mid image

    @property
    def fascicle_mm(self) -> float:
        """Length of a straight fascicle from aponeurosis to aponeurosis."""
        return self.thickness_mm / math.sin(math.radians(self.pennation_deg))


@dataclass(frozen=True)
class Calf:
    """One wearer's tissue, and the pixel grids of one geometry.  Made by ``make_calf``."""

    geometry: Geometry
    tissue_db: F32  # (U_CELLS, w cells)
    speckle_db: F32  # (2 x lines, samples), repeats along axis 0
    x_mm: F32  # (lines, 1) from the middle of the array
    z_mm: F32  # (1, samples)
    superficial_mm: F32  # (lines, 1) depth of the upper aponeurosis
    tilt: F32  # (lines, 1) deep aponeurosis against the superficial one, mm
    thickness_mm: float  # relaxed, neutral
    pennation_deg: float  # relaxed, plantarflexed


def bmode_geometry(lines: int, samples: int) -> Geometry:
    """The probe's field of view, sampled as asked."""
    return Geometry("bmode", lines, samples, DEPTH_MM / samples, WIDTH_MM / lines, tx_hz=6.5e6)


def architecture(calf: Calf, angle_deg: float, force: float) -> Architecture:
    """Dorsiflexion stretches fascicles flat and thin; force shortens them steep and thick."""
    slack = (angle_deg - MIN_ANGLE_DEG) / (MAX_ANGLE_DEG - MIN_ANGLE_DEG)
    pennation = calf.pennation_deg - 5.0 * (1.0 - slack) + 17.0 * force
    return Architecture(pennation, calf.thickness_mm + 1.2 * (slack - 0.5) + 0.6 * force)


def render(calf: Calf, angle_deg: float, force: float) -> NDArray[np.uint8]:
    """Draw ``(lines, samples)`` uint8, newly allocated.  Pure; ``force`` is 0..1 of maximal."""
    g = calf.geometry
    now = architecture(calf, angle_deg, force)
    run_mm = now.thickness_mm / math.tan(math.radians(now.pennation_deg))  # along the leg
    thickness = now.thickness_mm + calf.tilt

    v = (calf.z_mm - calf.superficial_mm) / thickness  # 0 and 1 at the aponeuroses
    inside = np.clip(v, 0.0, 1.0)
    w_mm = inside * (MUSCLE_MM - thickness) + (calf.z_mm - calf.superficial_mm)
    # The upper aponeurosis gives way a little as the fascicles pull the lower one towards it.
    u_mm = calf.x_mm - (inside - 0.3) * run_mm

    wi = ((w_mm + FAT_MM) * (1 / W_MM)).astype(np.int32)
    ui = (u_mm * (1 / U_MM) + 2 * U_CELLS).astype(np.int32) % U_CELLS
    db = calf.tissue_db.ravel()[ui * calf.tissue_db.shape[1] + wi]

    moved = (inside[g.lines // 2] - 0.3) * (run_mm / g.dx_mm)  # lines, at each depth
    li = (np.arange(g.lines)[:, None] - np.rint(moved).astype(np.int32)) % len(calf.speckle_db)
    db += calf.speckle_db.ravel()[li * g.samples + np.arange(g.samples)]
    # A contracting muscle is darker, and so is what lies in its shadow.
    db -= force * np.interp(calf.z_mm, (5.0, 20.0, 35.0), (0.0, 4.0, 16.0)).astype(np.float32)

    db *= 255.0 / DYNAMIC_RANGE_DB
    db += 255.0
    image: NDArray[np.uint8] = np.clip(db, 0.0, 255.0, out=db).astype(np.uint8)
    return image


def make_calf(geometry: Geometry, seed: int) -> Calf:
    """A wearer's tissue from a seed: every seed is another leg, the same seed the same leg."""
    rng = np.random.default_rng([seed, 3])
    x = (np.arange(geometry.lines) + 0.5) * geometry.dx_mm - geometry.lines * geometry.dx_mm / 2
    z = geometry.depth0_mm + (np.arange(geometry.samples) + 0.5) * geometry.dz_mm
    fat_mm, slope = rng.uniform(3.2, 5.2), rng.uniform(0.02, 0.045)
    wave = 0.3 * np.sin(x / 9.0 + rng.uniform(0, 6.3))
    return Calf(
        geometry,
        _tissue_db(seed),
        _speckle_db(rng, geometry),
        x.astype(np.float32)[:, None],
        z.astype(np.float32)[None, :],
        (fat_mm - slope * x + wave).astype(np.float32)[:, None],
        (-0.03 * x).astype(np.float32)[:, None],
        thickness_mm=rng.uniform(15.5, 18.5),
        pennation_deg=rng.uniform(21.0, 24.0),
    )


@lru_cache(maxsize=4)  # a probe that is opened again must not take a third of a second
def _tissue_db(seed: int) -> F32:
    """Mean echo of each layer in dB below white, with its fibres and its sheets; read-only."""
    rng = np.random.default_rng([seed, 4])
    w = np.arange(-FAT_MM, MUSCLE_MM + SOLEUS_MM, W_MM) + W_MM / 2
    shape = (U_CELLS, len(w))
    v, below = w / MUSCLE_MM, w - MUSCLE_MM

    bands = -32.0 + 4.0 * _noise(rng, shape, 8.0, 0.25)
    patches = np.clip(_noise(rng, shape, 4.0, 3.0) + 0.6, 0, 1.2)  # where fascicles show up
    fibres = np.minimum(patches * np.maximum(_noise(rng, shape, 0.5, 2.2), 0) ** 1.5, 1.8)
    clouds = _noise(rng, shape, 2.5, 1.2)
    muscle = -46.0 - 6.0 * v + 3.0 * clouds + 10.0 * np.clip(2.5 * v, 0.2, 1.2) * fibres
    muscle -= 8.0 * np.exp(-(((v - 0.96) / 0.04) ** 2))  # the dark seam above the aponeurosis
    crossed = _sheared(_noise(rng, shape, 0.6, 1.0), 2.0)  # soleus fibres run the other way
    soleus = -45.5 - 0.25 * below + 4.0 * clouds + 4.0 * np.maximum(crossed, 0) * patches

    db = np.where(w < 0, bands, np.where(below < 0, muscle, soleus))
    streaks = _noise(rng, shape, 3.0, 0.2)
    upper = -13.0 + 3.0 * streaks - ((w + 0.7) / 0.5) ** 2 * 6.0
    lower = -10.0 + 3.0 * streaks - ((below - 0.4) / 0.4) ** 2 * 6.0
    haze = np.where(below > 0, -27.0 - 3.5 * below + 3.0 * streaks + 2.0 * clouds, -np.inf)
    tissue = np.asarray(np.maximum.reduce([db, upper, lower, haze]), np.float32)
    tissue.flags.writeable = False
    return tissue


def _speckle_db(rng: np.random.Generator, g: Geometry) -> F32:
    """Log-compressed speckle of zero mean; like scanners, it adds up a few looks to calm it."""
    shape = (2 * g.lines, g.samples)
    cells = max(0.55 / g.dx_mm, 0.3), max(0.22 / g.dz_mm, 0.3)
    power = sum(_smooth(rng.standard_normal(shape), *cells) ** 2 for _ in range(2 * LOOKS))
    db = 10 * np.log10(np.asarray(power) + 1e-3)
    return np.asarray(db - db.mean(), np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, int], u_mm: float, w_mm: float) -> F32:
    return _smooth(rng.standard_normal(shape), u_mm / U_MM, w_mm / W_MM)


def _smooth(white: NDArray[np.float64], sigma0: float, sigma1: float) -> F32:
    """Periodic Gaussian blur (sigmas in cells), scaled back to unit variance."""
    f0, f1 = np.fft.fftfreq(white.shape[0]), np.fft.rfftfreq(white.shape[1])
    blur = np.exp(-2 * np.pi**2 * ((sigma0 * f0[:, None]) ** 2 + (sigma1 * f1) ** 2))
    soft = np.fft.irfft2(np.fft.rfft2(white) * blur, s=white.shape)
    return np.asarray(soft / soft.std(), np.float32)


def _sheared(texture: F32, u_per_w: float) -> F32:
    """Shift each w column along u, so that lines of constant u come out oblique."""
    u, w = np.indices(texture.shape)
    return np.asarray(texture[(u + (w * (u_per_w * W_MM / U_MM)).astype(int)) % U_CELLS, w])
