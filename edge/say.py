"""What ``sonomyo listen`` says as the rehab device: HELLO, joint angles from a file, a load."""

import contextlib
import os
import threading
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.clock import Pacer, now_ns
from firmware_bridge.links.commands import (
    MAX_ANGLE_DEG,
    Command,
    Encoder,
    Hello,
    Load,
    encode_command,
)
from firmware_bridge.types import DeviceError

HELLO_S = 1.0  # HELLO, and LOAD with it
IDLE_S = 0.2  # how long closing waits where there is no angle to send


class Angles(NamedTuple):
    """A movement to be played for ever; NaN where the encoder is silent."""

    deg: NDArray[np.float64]  # (n,)
    rate_hz: float


def read_angles(address: str) -> Angles:
    """``FILE.npz:NAME``: the array NAME ``(n,)`` in deg, at ``rate_hz`` of the same file.

    NAME may also be one of ``names``, the columns of ``values (n, names)``, as ``--measured`` has
    it.  Raises DeviceError with the remedy.
    """
    path, _, name = address.rpartition(":")
    try:
        with np.load(Path(path)) as f:
            rate_hz = float(f["rate_hz"])
            if name in f:
                deg = np.asarray(f[name], np.float64)
            else:
                column = [str(n) for n in f["names"]].index(name)
                deg = np.asarray(f["values"], np.float64)[:, column]
    except (OSError, KeyError, ValueError, TypeError, IndexError, zipfile.BadZipFile) as e:
        raise DeviceError(
            f"--encoder {address}: {e}: write FILE.npz:NAME, an array NAME in deg and its rate_hz"
        ) from e
    if deg.ndim != 1 or not len(deg) or not 1 <= rate_hz <= 1000:
        raise DeviceError(
            f"--encoder {address}: {deg.shape} at {rate_hz:g} Hz: one angle after the other is"
            " wanted, at 1 to 1000 Hz"
        )
    if (np.abs(deg) > MAX_ANGLE_DEG).any():
        raise DeviceError(
            f"--encoder {address}: up to {np.nanmax(np.abs(deg)):g}: angles are in deg, and within"
            f" {MAX_ANGLE_DEG:g}"
        )
    return Angles(deg, rate_hz)


class Speaker:
    """Sends on a thread of its own until ``close``; the port stays the caller's."""

    def __init__(self, fd: int, angles: Angles | None = None, load_kg: float | None = None):
        self._fd, self._angles, self._load_kg = fd, angles, load_kg
        self._seq = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="say", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Say no more."""
        self._closing = True
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        period_s = 1 / self._angles.rate_hz if self._angles else IDLE_S
        pacer = Pacer(int(1e9 * period_s), now_ns())
        hello = 0.0
        while not self._closing:
            k = pacer.wait()
            if self._angles and np.isfinite(deg := self._angles.deg[k % len(self._angles.deg)]):
                self._say(Encoder(self._next(), now_ns(), float(deg), float("nan")))
            if time.monotonic() >= hello:
                hello = time.monotonic() + HELLO_S
                self._say(Hello(self._next(), now_ns(), "sonomyo listen"))
                if self._load_kg is not None:
                    self._say(Load(self._next(), now_ns(), self._load_kg, "kg"))

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _say(self, command: Command) -> None:
        with contextlib.suppress(OSError):  # nobody at the other end yet
            os.write(self._fd, encode_command(command, now_ns()))
