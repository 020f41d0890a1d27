"""B-mode picture of a simulated calf: scatterers where the muscles put them, echoes, screen.

Scatterers belong to the tissue (``scene``, ``tissue``): as it moves they move, shear, and turn in
phase by their way along the beam; ``psf`` makes echoes of them.  What the scanner adds: noise that
its depth gain amplifies, an imperfect depth gain, log compression.  Simulated from end to end.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.cohort.participant import Participant, Tissue
from training.cohort.psf import DEPTHS, Optics, field_grid, power
from training.cohort.scene import DEPTH_MM, LINES, Scene, grid, place, pose
from training.cohort.tissue import U_CELLS, U_MM, W_MM

F32 = NDArray[np.float32]
C64 = NDArray[np.complex64]

SOUND_MM_US = 1.54
GREY = 0.16  # of white: where a sonographer's gain puts relaxed MG
TURN = 256  # steps of the phase table
_TABLE: C64 = np.exp(-2j * np.pi * (np.arange(TURN) + 0.5) / TURN).astype(np.complex64)


def render(
    scene: Scene,
    fascicle_mm: ArrayLike,
    pennation_deg: ArrayLike,
    thickness_mm: ArrayLike,
    activation: float,
    frame: int,
) -> NDArray[np.uint8]:
    """The picture ``(128, 128)`` uint8 (along the leg, depth) of one moment; pure.

    Lengths, angles and thicknesses are those of (MG, SOL), ``activation`` 0..1; ``frame`` seeds
    what differs between two pictures of the same moment: noise, and a hand's tremor on the probe.
    Raises ValueError as ``scene.pose`` does, and for an activation outside 0..1.
    """
    if not 0 <= activation <= 1:
        raise ValueError(f"activation {activation:g}: pass a share, 0..1")
    p, t = scene.person, scene.person.tissue
    rng = np.random.default_rng((p.seed, p.number, 12, frame))
    tremor = rng.standard_normal(3)
    at = pose(scene, fascicle_mm, pennation_deg, thickness_mm, activation)
    x, z = field_grid()
    u, w = place(scene, at, x, z)
    u += np.float32(U_CELLS * U_MM + 0.3 * tremor[0])  # not negative, so that cutting is flooring

    # The nearest cell's scatterers, turned by how far they moved along the beam.
    moved = z - w
    moved *= np.float32(2 * t.frequency_mhz / SOUND_MM_US * TURN)
    moved += np.float32(1024 * TURN)
    turn = moved.astype(np.int32)
    turn &= TURN - 1
    u *= np.float32(1 / U_MM)
    w *= np.float32(1 / W_MM)
    row = np.clip(w, 0, scene.tissues.here.shape[1] - 1, out=w).astype(np.int32)
    cell = u.astype(np.int32)
    cell &= U_CELLS - 1
    cell *= scene.tissues.here.shape[1]
    cell += row
    # The probe's plane leaves the tissue sideways as the muscle moves along.
    lost = _lost_rad(p, at.run_mm[0] - scene.stack.run_mm[0]) + 0.1 * tremor[1]
    field = scene.tissues.here.ravel().take(cell)
    beside = scene.tissues.beside.ravel().take(cell)
    field *= np.complex64(math.cos(lost))
    beside *= np.complex64(math.sin(lost))
    field += beside
    field *= _TABLE.take(turn)
    field *= _level(scene, activation, pennation_deg).take(row)

    noise = _noise(rng, t)
    echo = power(field, Optics.of(t), noise)
    return _display(scene, echo, 0.3 * float(tremor[2]))


def _lost_rad(p: Participant, slid_mm: float) -> float:
    """How far the plane turned from the resting slice (0) towards the one beside it (pi/2)."""
    half_mm = p.ankle.arm_mm * math.radians(p.tissue.out_of_plane_deg)
    return float(np.clip(slid_mm / half_mm * math.pi / 3, -math.pi / 2, math.pi / 2))


def _level(scene: Scene, activation: float, pennation_deg: ArrayLike) -> C64:
    """Echo amplitude of each row of the tissue now, as a share of that at rest.

    Muscle darkens as it contracts, and fibres that lie steeper in the beam send less back.
    """
    p, s, depth = scene.person, scene.stack, scene.tissues.depth_mm
    mg_deg, sol_deg = np.asarray(pennation_deg, np.float64)
    steep = np.array([mg_deg - p.mg.pennation_opt_deg, sol_deg - p.sol.pennation_opt_deg])
    # Films of maximal pushes (us_mg_dynamometer) show it in SOL far more than in MG.
    mg, sol = np.array([-0.5, -1.5]) * p.tissue.darkening_db * activation - 0.05 * steep
    db = np.where((depth >= s.mg_top_mm) & (depth < s.mg_end_mm), mg, 0.0)
    db = np.where(depth >= s.sol_top_mm, mg + sol, db)  # the beam came through MG, too
    return np.asarray(10 ** (db / 20), np.complex64)  # so that no product needs a cast


@lru_cache(maxsize=1)
def _pool() -> C64:
    """Receiver noise at the scanner's bandwidth, power 1; each picture cuts another piece."""
    rng = np.random.default_rng(13)
    white = rng.standard_normal((512, 1024, 2), np.float32).view(np.complex64)[..., 0]
    soft = white + 0.5 * np.roll(white, 1, axis=1)
    return np.asarray(soft / np.sqrt((np.abs(soft) ** 2).mean()), np.complex64)


def _noise(rng: np.random.Generator, t: Tissue) -> C64:
    """Thermal noise ``(looks, 128, 256)``, amplified with depth as the echoes are."""
    pool = _pool()
    z = grid(LINES, DEPTHS)[1]
    gain_db = t.noise_db + 0.8 * (z - DEPTH_MM)
    size = 10 ** (gain_db / 20) / math.sqrt(t.looks)
    cuts = rng.integers(0, (pool.shape[0] - LINES, pool.shape[1] - DEPTHS), (t.looks, 2))
    parts = [pool[a : a + LINES, b : b + DEPTHS] * size for a, b in cuts]
    return np.stack(parts).astype(np.complex64)


def _display(scene: Scene, echo: F32, jitter_db: float) -> NDArray[np.uint8]:
    """Depth gain, log compression, screen."""
    t = scene.person.tissue
    z = grid(LINES, DEPTHS)[1]
    depth_db = -t.attenuation_db_mm * z + t.tgc_error_db * np.sin(z / 12.0)
    db = np.log10(np.maximum(echo, 1e-9, out=echo), out=echo)
    db *= 10.0
    db += scene.contact_db
    db += depth_db + np.float32(t.gain_db + jitter_db)
    db *= 255.0 / t.dynamic_range_db
    db += 255.0 * GREY
    np.clip(db, 0.0, 255.0, out=db)
    calm = np.pad(db, 1, mode="edge")  # what a scanner calls speckle reduction
    grey = 3.0 * (calm[:, 1:-1:2] + calm[:, 2::2]) + calm[:, :-2:2] + calm[:, 3::2]
    grey = 2.0 * grey[1:-1] + grey[:-2] + grey[2:]
    grey *= 1 / 32
    return np.asarray(grey, np.uint8)
