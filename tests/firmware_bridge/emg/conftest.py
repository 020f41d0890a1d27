"""A Cyton made of software: BrainFlow's own Cyton driver talks to it over a pseudo-terminal."""

import os
import pty
import select
import threading
import tty
from collections.abc import Callable, Iterator

import pytest

UV_PER_COUNT = 4.5 / (2**23 - 1) / 24 * 1e6  # at the Cyton's default gain of 24


class SoftCyton:
    """Sends ``packages`` (package number, eight microvolt values) each time it is told to start."""

    def __init__(self, packages: list[tuple[int, list[float]]]):
        self._packages = packages
        self._master, self._slave = pty.openpty()
        tty.setraw(self._master)
        self.port = os.ttyname(self._slave)
        self._stop, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.write(self._wake, b"x")
        self._thread.join()
        for fd in (self._master, self._slave, self._stop, self._wake):
            os.close(fd)

    def _run(self) -> None:
        while True:
            readable, _, _ = select.select([self._master, self._stop], [], [])
            if self._stop in readable:
                return
            for command in os.read(self._master, 64).decode("ascii", "replace"):
                if command == "b":
                    for number, values_uv in self._packages:
                        os.write(self._master, _package(number, values_uv))
                else:
                    os.write(self._master, b"OpenBCI V3 8-16 channel\nFirmware: v3.1.2\n$$$")


def _package(number: int, values_uv: list[float]) -> bytes:
    counts = [round(v / UV_PER_COUNT) for v in values_uv]
    body = b"".join(c.to_bytes(3, "big", signed=True) for c in counts)
    return b"\xa0" + bytes([number & 0xFF]) + body + bytes(6) + b"\xc0"


@pytest.fixture
def soft_cyton() -> Iterator[Callable[[list[tuple[int, list[float]]]], str]]:
    """Gives a function: packages in, serial port out."""
    boards: list[SoftCyton] = []

    def start(packages: list[tuple[int, list[float]]]) -> str:
        boards.append(SoftCyton(packages))
        return boards[-1].port

    yield start
    for board in boards:
        board.close()
