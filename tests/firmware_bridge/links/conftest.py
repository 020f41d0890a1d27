"""A pseudo-terminal as the serial port of a device, and a clock that can be stopped."""

import os
import select
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridge.links import Link, open_link
from firmware_bridge.links.packet import Decoder, Packet


class Port:
    """A pseudo-terminal whose slave is found at ``path``; the test is the device at the master."""

    def __init__(self, path: Path):
        self.path = path
        self.plug()

    def plug(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self.master, False)
        self.path.symlink_to(os.ttyname(slave))
        os.close(slave)
        self.decoder = Decoder()

    def unplug(self) -> None:
        self.path.unlink()
        os.close(self.master)

    def read(self, most: int = 65536, quiet_s: float = 0.05) -> bytes:
        """What comes until the line is quiet: the kernel passes bytes on in its own time."""
        data = b""
        while len(data) < most and select.select([self.master], [], [], quiet_s)[0]:
            try:
                data += os.read(self.master, most - len(data))
            except OSError:  # the link has closed its end
                break
        return data

    def packets(self) -> list[Packet]:
        return self.decoder.feed(self.read(10**7))


class Clock:
    """CLOCK_MONOTONIC that stands still unless told."""

    def __init__(self) -> None:
        self.now_ns = time.monotonic_ns()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    c = Clock()
    monkeypatch.setattr(time, "monotonic_ns", lambda: c.now_ns)
    return c


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    p = Port(tmp_path / "tty")
    yield p
    if p.path.is_symlink():
        p.unplug()


@pytest.fixture
def link(port: Port) -> Iterator[Link]:
    opened = open_link(f"serial:{port.path}?baud=115200")
    yield opened
    opened.close()
