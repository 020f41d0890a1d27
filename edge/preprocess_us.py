"""Ultrasound preprocessing: one frame in, one tensor out.

=============  ==================================  ===========================================
step           arguments                           what it does
=============  ==================================  ===========================================
rf_envelope                                        magnitude of the analytic signal
log_compress   dynamic_range_db                    brightest = 255, that far below it = 0
physical_crop  depth0_mm, depth_mm, lines,         a window in millimetres, resampled to a
               samples, x0_mm, width_mm            grid: every probe gives the same picture
resize         lines, samples                      the whole picture, resampled
normalise      mean, std                           ``(x - mean) / std``
=============  ==================================  ===========================================

Brightness is 0..255 between the steps, for B-mode and compressed RF alike.  Depth is counted from
the transducer, ``x0_mm`` from the outer edge of the first line; without ``x0_mm`` the window is
centred, without ``width_mm`` it is as wide as the picture.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from edge.resample import resampler
from edge.steps import args_of, count
from firmware_bridge.types import Geometry
from models.spec import Input, SpecError, Step

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class _Stage:
    """One step, built: ``run`` gives ``out``, a reused buffer with the raster ``geometry``."""

    run: Callable[[F32], F32]
    out: F32
    geometry: Geometry


class UsPipeline:
    """The steps of a ``us`` input for one probe.  Raises SpecError when it cannot serve them."""

    def __init__(self, geometry: Geometry, inp: Input):
        if inp.kind and inp.kind != geometry.kind:
            raise SpecError(
                f"input {inp.name!r} wants {inp.kind} frames, the probe gives {geometry.kind}: "
                "switch the probe's mode, or choose a model for it"
            )
        self._picture = np.zeros((geometry.lines, geometry.samples), np.float32)
        self._stages: list[_Stage] = []
        out = self._picture
        for step in inp.steps:
            stage = _build(step, out, geometry)
            self._stages.append(stage)
            out, geometry = stage.out, stage.geometry
        if out.size != math.prod(inp.shape) or out.shape != inp.shape[-2:]:
            raise SpecError(f"input {inp.name!r}: steps give {out.shape}, not {inp.shape}")
        self._out = out.reshape(inp.shape)

    def run(self, data: NDArray[Any]) -> F32:
        """A frame ``(lines, samples)`` as ``inp.shape`` float32; the same buffer every time.

        Raises ValueError for a frame of another size.
        """
        x = self._picture
        if data.shape != x.shape:  # NumPy would spread a single line over the picture
            raise ValueError(f"a frame of {data.shape} where the probe announced {x.shape}")
        np.copyto(x, data)
        for stage in self._stages:
            x = stage.run(x)
        return self._out


def _build(step: Step, x: F32, g: Geometry) -> _Stage:
    match step.op:
        case "physical_crop":
            return _crop(step, x, g)
        case "resize":
            n, m = (count(step, "size", v) for v in args_of(step, "lines", "samples"))
            whole = _Window(0.0, float(g.lines), 0.0, float(g.samples), n, m)
            dx_mm, dz_mm = g.dx_mm * g.lines / n, g.dz_mm * g.samples / m
            return _resample(whole, x, replace(g, lines=n, samples=m, dx_mm=dx_mm, dz_mm=dz_mm))
        case "normalise":
            mean, std = args_of(step, "mean", "std")
            if std <= 0:
                raise SpecError(f"step 'normalise': std must be positive, is {std}")
            gain, offset = np.float32(1 / std), np.float32(-mean / std)
            out = np.zeros_like(x)

            def normalise(x: F32) -> F32:
                np.multiply(x, gain, out=out)
                return np.add(out, offset, out=out)

            return _Stage(normalise, out, g)
        case "rf_envelope":
            args_of(step)
            return _envelope(x, g)
        case "log_compress":
            (range_db,) = args_of(step, "dynamic_range_db")
            if range_db <= 0:
                raise SpecError(f"step 'log_compress': {range_db} dB is no dynamic range")
            return _log_compress(range_db, x, g)
        case _:
            known = ["physical_crop", "resize", "normalise", "rf_envelope", "log_compress"]
            raise SpecError(f"no ultrasound step {step.op!r}; known: {known}")


@dataclass(frozen=True)
class _Window:
    """A part of a picture in units of its pixels, and the grid it becomes."""

    line0: float
    line1: float
    sample0: float
    sample1: float
    lines: int
    samples: int


def _crop(step: Step, x: F32, g: Geometry) -> _Stage:
    depth0, depth, lines, samples, x0, width = args_of(
        step, "depth0_mm", "depth_mm", "lines", "samples", x0_mm=math.nan, width_mm=math.nan
    )
    n, m = count(step, "lines", lines), count(step, "samples", samples)
    # A single line has no width: it is the whole picture across.
    dx_mm = g.dx_mm or 1.0
    full_mm = g.lines * dx_mm
    width = full_mm if math.isnan(width) else width
    x0 = (full_mm - width) / 2 if math.isnan(x0) else x0
    z0 = (depth0 - g.depth0_mm) / g.dz_mm
    w = _Window(x0 / dx_mm, (x0 + width) / dx_mm, z0, z0 + depth / g.dz_mm, n, m)
    slack = 0.5  # pixels: rasters are measured with a ruler, not with a laser
    inside = (
        -slack <= w.line0 < w.line1 <= g.lines + slack
        and -slack <= w.sample0 < w.sample1 <= g.samples + slack
    )
    if not inside:
        bottom_mm = g.depth0_mm + g.samples * g.dz_mm
        raise SpecError(
            f"step 'physical_crop' wants {x0:g}..{x0 + width:g} mm across and {depth0:g}.."
            f"{depth0 + depth:g} mm deep, the probe shows 0..{full_mm:g} mm and "
            f"{g.depth0_mm:g}..{bottom_mm:g} mm: set its depth, or choose a model for it"
        )
    out_g = replace(
        g, lines=n, samples=m, dx_mm=width / n, dz_mm=depth / m, depth0_mm=depth0
    )  # fmt: skip
    return _resample(w, x, out_g)


def _resample(w: _Window, x: F32, g: Geometry) -> _Stage:
    run, out = resampler(
        x.shape, (w.line0, w.line1, w.lines), (w.sample0, w.sample1, w.samples)
    )  # fmt: skip
    return _Stage(run, out, g)


def _envelope(x: F32, g: Geometry) -> _Stage:
    """Magnitude of the analytic signal along depth (Marple 1999), without the DC offset."""
    n = x.shape[1]
    level = np.zeros((len(x), 1), np.float32)
    centred, out = np.zeros_like(x), np.zeros_like(x)

    def envelope(x: F32) -> F32:
        np.mean(x, axis=1, keepdims=True, out=level)
        np.subtract(x, level, out=centred)
        spectrum = scipy.fft.rfft(centred, axis=1)
        spectrum *= np.complex64(-1j)  # a quarter turn; offset and Nyquist have no such part
        quadrature = scipy.fft.irfft(spectrum, n, axis=1, overwrite_x=True)
        np.hypot(centred, quadrature, out=out)
        return out

    return _Stage(envelope, out, g)


def _log_compress(range_db: float, x: F32, g: Geometry) -> _Stage:
    out = np.zeros_like(x)
    gain = np.float32(255.0 * 20.0 / range_db)

    def log_compress(x: F32) -> F32:
        top = float(x.max())
        if not top > 0:
            out.fill(0)
            return out
        np.multiply(x, 1.0 / top, out=out)
        np.maximum(out, 1e-9, out=out)
        np.log10(out, out=out)
        np.multiply(out, gain, out=out)
        np.add(out, 255.0, out=out)
        return np.maximum(out, 0.0, out=out)

    return _Stage(log_compress, out, replace(g, kind="bmode"))
