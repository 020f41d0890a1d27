"""``python -m bench.bmode``: the simulated scanner beside PyMUST, on the same point scatterers.

PyMUST (Garcia 2022, doi 10.1016/j.cmpb.2022.106726) knows of elements, delays and wave fields;
``training.cohort.psf`` convolves with a Gaussian pulse and a Gaussian beam.  Both image a small
phantom of tissue, and wires at several depths, with the scan lines of a focused linear array.
Prints a table, draws ``out/bmode.png``, and ends with one line of JSON.  A minute or two.
"""

import copy
import json
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from training.cohort.bmode import SOUND_MM_US, render
from training.cohort.mechanics import solve
from training.cohort.participant import participant
from training.cohort.psf import DX_MM, DZ_MM, Optics, field_grid, power
from training.cohort.scene import MIDDLE_MM, make_scene

F64 = NDArray[np.float64]

FIGURE = Path("out/bmode.png")
INSTALL = "pip install pymust==0.1.9"

FREQUENCY_MHZ, BANDWIDTH_PCT, CYCLES = 6.5, 60.0, 3
PITCH_MM, ELEMENTS, SENDING = 0.3, 33, 17  # of the line's own array; the middle ones transmit
F_NUMBER, FOCUS_MM = 5.0, 25.0
LINE_MM, DEPTH_MM = 2 * DX_MM, 2 * DZ_MM  # between samples of the echo
LINES = np.arange(44, 84)  # of the picture
TISSUE_MM = (18.0, 32.0)  # depths between which speckle is compared
PER_MM2 = 40.0
REACH_MM = 4.0  # tissue further than that from a line does not matter to it
WIRES_MM = (10.0, 17.5, 25.0, 32.5, 40.0)
TOLERANCE = 0.15  # of speckle: widths, signal-to-noise ratio
WIRE_TOLERANCE = 0.3  # a Gaussian beam knows no near field
RAYLEIGH = 1.91  # mean / SD of a Rayleigh envelope
FRAMES = 200


@dataclass(frozen=True)
class Points:
    """Scatterers (n,): place in mm, and reflection coefficient."""

    x_mm: F64
    z_mm: F64
    size: F64

    def near(self, x_mm: float) -> "Points":
        """Those within reach of a line, as seen from it."""
        near = np.abs(self.x_mm - x_mm) < REACH_MM
        return Points(self.x_mm[near] - x_mm, self.z_mm[near], self.size[near])


class Must:
    """Scan lines by PyMUST.  Raises ModuleNotFoundError."""

    def __init__(self) -> None:
        self.pm = import_module("pymust")
        p = self.pm.getparam("L11-5v")
        p.fc, p.bandwidth, p.TXnow = FREQUENCY_MHZ * 1e6, BANDWIDTH_PCT, CYCLES
        p.Nelements, p.pitch, p.kerf, p.width = ELEMENTS, PITCH_MM * 1e-3, 3e-5, 2.7e-4
        p.c, p.fs, p.fnumber = SOUND_MM_US * 1e3, 4 * p.fc, F_NUMBER
        self.param = p
        delays = np.array(self.pm.txdelayFocused(p, 0.0, FOCUS_MM * 1e-3)).reshape(1, -1)
        delays[0, np.abs(np.arange(ELEMENTS) - ELEMENTS // 2) > SENDING // 2] = np.nan
        self.delays = delays
        self.seconds, self.lines = 0.0, 0

    def line(self, near: Points, z_mm: F64) -> F64:
        """Envelope at depths ``z_mm`` below the middle of the array."""
        begin = time.perf_counter()
        # two that do not reflect make every record equally long
        x, z, size = (
            np.append(a, b)
            for a, b in ((near.x_mm, (0, 0)), (near.z_mm, (1, 45)), (near.size, (0, 0)))
        )
        rf, _ = self.pm.simus(x * 1e-3, z * 1e-3, size, self.delays, copy.deepcopy(self.param))
        param = copy.deepcopy(self.param)
        param.TXdelay = self.delays
        iq = self.pm.rf2iq(rf, param)
        iq = iq[0] if isinstance(iq, tuple) else iq
        depth = z_mm[:, None] * 1e-3
        das = self.pm.dasmtx(1j * np.array(iq.shape), np.zeros_like(depth), depth, param)
        envelope: F64 = np.abs(das @ iq.flatten(order="F"))
        self.seconds += time.perf_counter() - begin
        self.lines += 1
        return envelope

    def pulse_mm(self) -> float:
        """-6 dB width of the two-way pulse."""
        from scipy.signal import hilbert

        pulse, t = self.pm.getpulse(self.param, 2)
        return width(np.abs(hilbert(np.ravel(pulse))), float(t[1] - t[0]) * SOUND_MM_US * 1e6 / 2)


def ours(points: Points, optics: Optics) -> F64:
    """Envelope ``(128, 256)`` of the same scatterers by ``training.cohort.psf``."""
    x, z = field_grid()
    i = np.rint((points.x_mm - x[0, 0]) / DX_MM).astype(int)
    j = np.rint((points.z_mm - z[0, 0]) / DZ_MM).astype(int)
    turn = np.exp(-4j * np.pi * FREQUENCY_MHZ / SOUND_MM_US * points.z_mm)
    field = np.zeros((x.size, z.size), np.complex128)
    np.add.at(field, (i, j), points.size * turn)
    return np.sqrt(power(field.astype(np.complex64), optics)).astype(np.float64)


def width(values: F64, step: float) -> float:
    """Full width at half of the maximum around the peak; ``step`` between values."""
    peak, half = int(values.argmax()), values.max() / 2
    right = peak + int(np.argmax(values[peak:] < half))
    left = peak - int(np.argmax(values[peak::-1] < half))
    before = (half - values[left]) / (values[left + 1] - values[left])
    after = (half - values[right]) / (values[right - 1] - values[right])
    return float((right - after - left - before) * step)


def speckle_mm(envelope: F64) -> tuple[float, float]:
    """Lateral and axial -6 dB width of the autocovariance of an envelope."""
    n, m = envelope.shape
    spectrum = np.abs(np.fft.fft2(envelope - envelope.mean(), (2 * n, 2 * m))) ** 2
    pairs = np.abs(np.fft.fft2(np.ones((n, m)), (2 * n, 2 * m))) ** 2
    cov = np.fft.fftshift(np.fft.ifft2(spectrum).real / np.fft.ifft2(pairs).real.clip(1))
    return width(cov[n // 2 : -n // 2, m], LINE_MM), width(cov[n, m // 2 : -m // 2], DEPTH_MM)


def main() -> int:
    """Exit codes: 0 both agree to within the tolerances, 1 they do not, 2 PyMUST is missing."""
    try:
        must = Must()
    except ModuleNotFoundError:
        print(f"bench.bmode: this comparison needs PyMUST: {INSTALL}", file=sys.stderr)
        return 2
    wavelength = SOUND_MM_US / FREQUENCY_MHZ
    # -6 dB width of sinc^2: two apertures of one f-number (Szabo 2014, chapter 6)
    optics = Optics(must.pulse_mm(), 0.886 * wavelength * F_NUMBER, FOCUS_MM, looks=1)
    speckle = dict(zip(("ours", "PyMUST"), _speckle(must, optics), strict=True))
    lines_per_s = must.lines / must.seconds
    wires = _wires(must, optics)

    report: dict[str, Any] = {"frames_per_s": round(_frames_per_s(), 1)}
    report["pymust_frames_per_s"] = round(lines_per_s / 128, 4)
    for name, envelope in speckle.items():
        lateral, axial = speckle_mm(envelope)
        report[f"{name.lower()}_speckle_snr"] = round(float(envelope.mean() / envelope.std()), 3)
        report[f"{name.lower()}_speckle_lateral_mm"] = round(lateral, 3)
        report[f"{name.lower()}_speckle_axial_mm"] = round(axial, 3)
        report[f"{name.lower()}_wire_mm"] = [round(w, 3) for w in wires[name]]
    both = np.corrcoef(speckle["ours"].ravel(), speckle["PyMUST"].ravel())[0, 1]
    report["envelope_correlation"] = round(float(both), 3)
    report["agree"] = _agree(report)
    _print(report)
    _draw(speckle, wires, optics)
    print(json.dumps(report | {"figure": str(FIGURE)}))
    return 0 if report["agree"] else 1


def _speckle(must: Must, optics: Optics) -> tuple[F64, F64]:
    """Envelopes of the same tissue (lines, depths): ours, PyMUST's; each of mean 1."""
    rng = np.random.default_rng(1)
    x_mm = (LINES + 0.5) * LINE_MM
    left, right = x_mm[0] - REACH_MM, x_mm[-1] + REACH_MM
    top, end = TISSUE_MM[0] - 1, TISSUE_MM[1] + 1
    n = int(PER_MM2 * (right - left) * (end - top))
    points = Points(rng.uniform(left, right, n), rng.uniform(top, end, n), rng.standard_normal(n))
    rows = np.arange(round(TISSUE_MM[0] / DEPTH_MM), round(TISSUE_MM[1] / DEPTH_MM))
    z_mm = np.asarray((rows + 0.5) * DEPTH_MM, np.float64)
    theirs = np.stack([must.line(points.near(x), z_mm) for x in x_mm])
    mine = ours(points, optics)[np.ix_(LINES, rows)]
    return mine / mine.mean(), theirs / theirs.mean()


def _wires(must: Must, optics: Optics) -> dict[str, list[float]]:
    """Lateral width of a wire at each depth of WIRES_MM."""
    found: dict[str, list[float]] = {"ours": [], "PyMUST": []}
    step = LINE_MM / 4
    x_mm = np.arange(-16, 17) * step
    for z in WIRES_MM:
        wire = Points(np.zeros(1), np.array([z]), np.ones(1))
        at = np.array([z])
        profile = [must.line(Points(wire.x_mm - x, at, wire.size), at)[0] for x in x_mm]
        found["PyMUST"].append(width(np.array(profile), step))
        image = ours(Points(wire.x_mm + MIDDLE_MM, at, wire.size), optics)
        found["ours"].append(width(image[:, int(z / DEPTH_MM)], LINE_MM))
    return found


def _frames_per_s() -> float:
    """Pictures of a simulated person a second, by this process alone: the median of batches."""
    p = participant(0)
    state, scene = solve(p, np.zeros(1), np.full(1, 0.3)), make_scene(p)
    rates = []
    for batch in range(10):
        begin = time.perf_counter()
        for k in range(FRAMES // 10):
            render(
                scene, state.fascicle_mm[0], state.pennation_deg[0], state.thickness_mm[0], 0.3,
                frame=batch * FRAMES + k,
            )  # fmt: skip
        rates.append(FRAMES / 10 / (time.perf_counter() - begin))
    return float(np.median(rates))


def _agree(report: dict[str, Any]) -> bool:
    keys = ("speckle_snr", "speckle_lateral_mm", "speckle_axial_mm")
    speckle = [report[f"ours_{k}"] / report[f"pymust_{k}"] for k in keys]
    wires = np.divide(report["ours_wire_mm"], report["pymust_wire_mm"])
    return all(abs(r - 1) < TOLERANCE for r in speckle) and bool(
        np.all(np.abs(wires - 1) < WIRE_TOLERANCE)
    )


def _print(report: dict[str, Any]) -> None:
    table = Table("quantity", "ours", "PyMUST", title="the same scatterers")
    rows = [
        (f"speckle mean / SD (Rayleigh {RAYLEIGH})", "speckle_snr"),
        ("speckle, lateral -6 dB, mm", "speckle_lateral_mm"),
        ("speckle, axial -6 dB, mm", "speckle_axial_mm"),
    ]
    for label, key in rows:
        table.add_row(label, f"{report[f'ours_{key}']:.2f}", f"{report[f'pymust_{key}']:.2f}")
    for k, z in enumerate(WIRES_MM):
        a, b = (report[f"{name}_wire_mm"][k] for name in ("ours", "pymust"))
        table.add_row(f"wire {z:g} mm deep, lateral -6 dB, mm", f"{a:.2f}", f"{b:.2f}")
    table.add_row(
        "pictures of 128 lines a second",
        f"{report['frames_per_s']:.0f}",
        f"{report['pymust_frames_per_s']:.3f}",
    )
    Console().print(table)


def _draw(speckle: dict[str, F64], wires: dict[str, list[float]], optics: Optics) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), constrained_layout=True)
    axes = figure.subplots(2, 2)
    left, right = LINES[0] * LINE_MM, (LINES[-1] + 1) * LINE_MM
    for axis, (name, envelope) in zip(axes[0], speckle.items(), strict=True):
        axis.imshow(
            20 * np.log10(envelope.T), cmap="gray", vmin=-30, vmax=10,
            extent=(left, right, TISSUE_MM[1], TISSUE_MM[0]),
        )  # fmt: skip
        axis.set(title=f"{name}: 40 dB", xlabel="mm", ylabel="depth, mm")
    e = np.linspace(0, 4, 200)
    for name, envelope in speckle.items():
        axes[1, 0].hist(
            envelope.ravel(), 40, range=(0, 4), density=True, histtype="step", label=name
        )
    axes[1, 0].plot(e, np.pi / 2 * e * np.exp(-np.pi / 4 * e**2), "k:", label="Rayleigh")
    axes[1, 0].set(xlabel="envelope / mean", ylabel="density")
    z_mm = np.linspace(5, 45, 81, dtype=np.float32)
    axes[1, 1].plot(z_mm, optics.beam_at_mm(z_mm), ":", label="Gaussian beam")
    for name, widths in wires.items():
        axes[1, 1].plot(WIRES_MM, widths, "o", label=name)
    axes[1, 1].set(xlabel="depth, mm", ylabel="-6 dB width of a wire, mm", ylim=(0, None))
    for axis in axes[1]:
        axis.legend()
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
