"""A simulated probe on a simulated wearer's calf, for demos and tests without hardware.

    synthetic:calf
    synthetic:calf?fps=61&lines=180&samples=287&seed=1

The wearer of the same ``seed`` in ``wearer.py`` is what an estimator should find in the images.
"""

import time

from firmware_bridge.address import Address
from firmware_bridge.parameters import positive, whole
from firmware_bridge.probes.calf import bmode_geometry, make_calf, render
from firmware_bridge.probes.pacing import wait_until
from firmware_bridge.types import DeviceError, Frame
from firmware_bridge.wearer import Truth, truth

MIN_PIXELS, MAX_PIXELS = 16, 2048  # per axis


class SyntheticProbe:
    """Frame ``seq`` shows the wearer ``seq / fps`` seconds after opening.

    ``counters``: ``skipped`` frames fell due while nobody read.
    """

    live = False

    def __init__(self, address: str, fps: float, lines: int, samples: int, seed: int):
        self.address = address
        self.geometry = bmode_geometry(lines, samples)
        self.counters = {"skipped": 0}
        self._fps, self._seed = fps, seed
        self._calf = make_calf(self.geometry, seed)
        self._ahead: Frame | None = None  # drawn before it is due, so that drawing adds no delay
        self._seq = 0
        self._t0_ns = time.monotonic_ns()

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame once it is due, with that time on it, or None within ``timeout_s``."""
        newest = int((time.monotonic_ns() - self._t0_ns) * 1e-9 * self._fps)
        if newest > self._seq + 1:
            self.counters["skipped"] += newest - self._seq
            self._seq, self._ahead = newest, None
        if self._ahead is None:
            self._ahead = self._draw(self._seq)
        frame = self._ahead
        if not wait_until(frame.t_ns, timeout_s):
            return None
        self._seq, self._ahead = self._seq + 1, None
        return frame

    def truth(self, frame: Frame) -> Truth:
        """What the wearer did in a frame; all values are 0-dimensional arrays."""
        return truth(frame.seq / self._fps, self._seed)

    def close(self) -> None:
        """Nothing to release."""

    def _draw(self, seq: int) -> Frame:
        now = truth(seq / self._fps, self._seed)
        image = render(self._calf, float(now.angle_deg), float(now.force))
        image.flags.writeable = False
        return Frame(self._t0_ns + round(seq * 1e9 / self._fps), seq, image)


def open_synthetic(address: str) -> SyntheticProbe:
    """Start the simulation.  Raises DeviceError for a parameter that is not one."""
    parsed = Address(address)
    fps = parsed.take("fps", 61.0, positive)
    lines, samples = parsed.take("lines", 180, whole), parsed.take("samples", 287, whole)
    seed = parsed.take("seed", 1, whole)
    parsed.done()
    if parsed.target != "calf":
        raise DeviceError(f"{address!r}: nothing to simulate but synthetic:calf")
    if not all(MIN_PIXELS <= n <= MAX_PIXELS for n in (lines, samples)):
        raise DeviceError(f"{address!r}: lines and samples must be {MIN_PIXELS}..{MAX_PIXELS}")
    return SyntheticProbe(address, fps, lines, samples, seed)
