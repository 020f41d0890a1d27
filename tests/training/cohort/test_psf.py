import dataclasses

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from training.cohort.psf import BORDER, DX_MM, DZ_MM, FWHM, Optics, field_grid, power

ONE = Optics(pulse_mm=0.5, beam_mm=1.2, focus_mm=25.0, looks=1)


def white(seed):
    x, z = field_grid()
    rng = np.random.default_rng(seed)
    pair = rng.standard_normal((2, x.size, z.size))
    return ((pair[0] + 1j * pair[1]) / np.sqrt(2)).astype(np.complex64)


def point(x_mm, z_mm):
    """The field of one scatterer, at the grid point next to a place; and that grid point."""
    x, z = field_grid()
    i, j = np.abs(x[:, 0] - x_mm).argmin(), np.abs(z[0] - z_mm).argmin()
    field = np.zeros((x.size, z.size), np.complex64)
    field[i, j] = 1
    return field, float(x[i, 0]), float(z[0, j])


def width_at_half(values, step):
    """Full width at half of the maximum, by interpolation."""
    above = np.flatnonzero(values >= values.max() / 2)
    a, b = above[0], above[-1]
    half = values.max() / 2
    left = a - (values[a] - half) / (values[a] - values[a - 1])
    right = b + (values[b] - half) / (values[b] - values[b + 1])
    return (right - left) * step


def test_many_scatterers_make_rayleigh_speckle():
    envelope = np.sqrt(power(white(1), ONE))
    # points further apart than pulse and beam, which therefore know nothing of each other
    apart = envelope[::8, ::6].ravel()
    assert scipy.stats.kstest(apart, scipy.stats.rayleigh(scale=np.sqrt(0.5)).cdf).pvalue > 0.05
    assert envelope.mean() / envelope.std() == pytest.approx(1.91, abs=0.08)


@pytest.mark.parametrize("looks", [2, 3, 4, 5])
def test_looks_calm_the_speckle_as_their_number_says(looks):
    echo = power(white(2), dataclasses.replace(ONE, looks=looks))
    assert echo.mean() == pytest.approx(1, abs=0.05)
    # n independent looks: a gamma distribution of shape n; neighbouring bands overlap a little
    assert 0.75 * looks < echo.mean() ** 2 / echo.var() < 1.1 * looks


@pytest.mark.parametrize(("x_mm", "z_mm"), [(12.0, 10.0), (30.3, 25.0), (51.0, 44.0)])
def test_a_point_is_seen_where_it_is_and_as_wide_as_pulse_and_beam(x_mm, z_mm):
    field, x_mm, z_mm = point(x_mm, z_mm)
    envelope = np.sqrt(power(field, ONE))
    i, j = np.unravel_index(envelope.argmax(), envelope.shape)
    x, z = (np.arange(128) + 0.5) * 2 * DX_MM, (np.arange(256) + 0.5) * 2 * DZ_MM
    line, depth = envelope[:, j], envelope[i]
    assert line @ x / line.sum() == pytest.approx(x_mm, abs=0.02)
    assert depth @ z / depth.sum() == pytest.approx(z_mm, abs=0.01)
    beam_mm = float(ONE.beam_at_mm(np.float32(z_mm)))
    assert width_at_half(line, 2 * DX_MM) == pytest.approx(beam_mm, rel=0.05)
    assert width_at_half(depth, 2 * DZ_MM) == pytest.approx(ONE.pulse_mm, rel=0.05)


def test_the_beam_is_narrowest_in_focus_and_never_wider_than_the_receiver_makes_it():
    z_mm = np.linspace(0, 50, 51, dtype=np.float32)
    beam = ONE.beam_at_mm(z_mm)
    assert z_mm[beam.argmin()] == ONE.focus_mm
    assert beam.min() == pytest.approx(ONE.beam_mm)
    assert beam.max() < np.sqrt(2) * ONE.beam_mm


def test_echoes_equal_a_plain_convolution():
    """Against scipy, in the focal zone, where the beam is as good as constant."""
    field = white(3)
    sigma = np.array([ONE.beam_mm / DX_MM, ONE.pulse_mm / DZ_MM]) / FWHM
    taps = [np.arange(-b, b) + 0.5 for b in BORDER]
    kernels = [np.exp(-((t / s) ** 2) / 2) for t, s in zip(taps, sigma, strict=True)]
    kernel = np.outer(*(k / np.sqrt((k**2).sum()) for k in kernels))
    plain = np.abs(scipy.signal.fftconvolve(field, kernel, mode="valid")) ** 2
    focus = slice(126, 131)
    np.testing.assert_allclose(
        power(field, ONE)[:, focus], plain[1::2, 1::2][:128, :256][:, focus], rtol=0.02, atol=0.005
    )


def test_noise_is_added_to_every_look():
    quiet = dataclasses.replace(ONE, looks=2)
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((2, 128, 256, 2)).astype(np.float32).view(np.complex64)[..., 0]
    dark = np.zeros_like(white(5))
    np.testing.assert_allclose(power(dark, quiet, noise), (np.abs(noise) ** 2).sum(0), rtol=1e-5)
