"""Point spread function of the simulated scanner: from a field of scatterers to echo power.

A separable convolution of scatterers with a pulse and a beam makes speckle (Bamber and Dickinson
1980, doi 10.1088/0031-9155/25/3/006).  We work at baseband: a scatterer at depth z carries the
phase ``-2 k z`` of its way there and back, pulse and beam are Gaussians, and the beam widens away
from its focus.  ``bench/bmode.py`` compares the result with a simulator that knows of transducer
elements and wave fields.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.cohort.participant import Tissue
from training.cohort.scene import DEPTH_MM, LINES, SAMPLES, WIDTH_MM, grid

F32 = NDArray[np.float32]
C64 = NDArray[np.complex64]

FINE_X, FINE_Z = 2, 4  # field points per line and per sample of the picture
DX_MM, DZ_MM = WIDTH_MM / LINES / FINE_X, DEPTH_MM / SAMPLES / FINE_Z  # of the field
BORDER = (10, 6)  # field points beyond the picture that beam and pulse reach
DEPTHS = SAMPLES * FINE_Z // 2  # of the echo
FOCUS_MM = 15.0  # half the depth of the transmit focus
FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian, in sigmas; -6 dB if it is an amplitude


@dataclass(frozen=True)
class Optics:
    """What the echo of a point looks like; widths at -6 dB."""

    pulse_mm: float
    beam_mm: float  # in focus
    focus_mm: float
    looks: int

    @staticmethod
    def of(t: Tissue) -> "Optics":
        """The scanner a person is imaged with."""
        return Optics(t.pulse_mm, t.beam_mm, t.focus_mm, t.looks)

    def beam_at_mm(self, z_mm: F32) -> F32:
        """Width of the beam at depths of any shape.

        Product of two Gaussian beams as wide as each other in focus: the received one is focused
        at every depth, the transmitted one is not.
        """
        sent = 1 + ((z_mm - self.focus_mm) / FOCUS_MM) ** 2
        return np.asarray(self.beam_mm * np.sqrt(2 * sent / (1 + sent)), np.float32)


def power(field: C64, optics: Optics, noise: C64 | None = None) -> F32:
    """Echo power ``(128, 256)`` float32: two depths to a sample of the picture.

    ``field`` is complex64 ``(276, 524)``: scatterers, turned by their phases, on ``field_grid()``;
    white ones of power 1 give a mean power of 1.  ``noise`` ``(looks, 128, 256)`` is added to the
    looks.  Looks are added up as powers (frequency compounding, Magnin, von Ramm, Thurstone 1982,
    doi 10.1177/016173468200400305).
    """
    lateral, axial = _kernels(optics)
    beams = np.zeros((LINES, 2 * field.shape[1]), np.float32)
    pair = np.empty_like(beams)
    lines = field.view(np.float32)  # real and imaginary parts side by side
    for j, weight in enumerate(lateral):
        # The beam's middle lies half way between two lines of the field.
        left, right = (lines[first::FINE_X][:LINES] for first in (BORDER[0] - j, BORDER[0] + 1 + j))
        np.add(left, right, out=pair)
        pair *= weight
        beams += pair

    # So does the pulse's: taps come in pairs, whose sums feed even filters, differences odd ones.
    depths = beams.view(np.complex64)
    halves = [np.ascontiguousarray(depths[:, k::2]).view(np.float32) for k in range(2)]
    reach = BORDER[1]
    echo = np.zeros((optics.looks, LINES, 2 * DEPTHS), np.float32)
    if noise is not None:
        echo += noise.view(np.float32)
    plus, minus, part = (np.empty(echo.shape[1:], np.float32) for _ in range(3))
    for j in range(reach):
        after, before = _from(halves, reach + 1 + j), _from(halves, reach - j)
        np.add(after, before, out=plus)
        np.subtract(after, before, out=minus)
        for look in range(optics.looks):
            even = look % 2 == 0
            np.multiply(plus if even else minus, axial[look, j], out=part)
            echo[look] += part
    np.square(echo, out=echo)
    total: F32 = echo.sum(axis=0)
    return np.asarray(total[:, 0::2] + total[:, 1::2], np.float32)


def field_grid() -> tuple[F32, F32]:
    """Where the field's points lie: x (276, 1) and z (1, 524) in mm."""
    return grid(LINES * FINE_X, SAMPLES * FINE_Z, BORDER)


@lru_cache(maxsize=64)
def _kernels(optics: Optics) -> tuple[F32, F32]:
    """Weights of the beam (pairs, 2 x field depths) and of the pulse (looks, pairs).

    Two bands of the pulse, shifted up and down by the same frequency, add up to the same power as
    its product with a cosine and with a sine of that frequency: real filters, even and odd.
    """
    z = field_grid()[1]
    sigma_mm = optics.beam_at_mm(z) / FWHM
    x = (np.arange(BORDER[0]) + 0.5)[:, None] * DX_MM
    beam = np.exp(-((x / sigma_mm) ** 2) / 2)
    beam /= np.sqrt(2 * (beam**2).sum(axis=0))

    sigma = optics.pulse_mm / FWHM
    at = (np.arange(BORDER[1]) + 0.5) * DZ_MM
    pulse = np.exp(-((at / sigma) ** 2) / 2)
    looks = []
    for look in range(optics.looks):
        # Neighbouring bands lie 2 / sigma apart, which leaves them a correlation of exp(-2).
        band = (look + 1) // 2 * 2.0 if optics.looks % 2 else look // 2 * 2.0 + 1.0
        wave = np.cos(band / sigma * at) if look % 2 == 0 else np.sin(band / sigma * at)
        looks.append(pulse * wave * (math.sqrt(2) if band else 1.0))
    taps = np.array(looks)
    taps /= np.sqrt(2 * (taps**2).sum())
    return np.repeat(beam, 2, axis=1).astype(np.float32), taps.astype(np.float32)


def _from(halves: list[F32], first: int) -> F32:
    """Every second field depth from ``first`` on, one per depth of the echo."""
    return halves[first % 2][:, 2 * (first // 2) : 2 * (first // 2) + 2 * DEPTHS]
