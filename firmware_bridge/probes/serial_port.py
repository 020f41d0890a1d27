"""A serial port as bytes in and bytes out, for probes."""

import os
import select
from typing import Protocol


class Port(Protocol):
    """A serial port in bytes.  All three raise OSError when it is gone."""

    def recv(self, timeout_s: float) -> bytes:
        """What has arrived, at least one byte; ``b""`` within ``timeout_s``."""

    def send(self, data: bytes) -> None:
        """Write everything."""

    def close(self) -> None:
        """Release the port."""


class SerialPort:
    """A ``Port`` on a serial device file."""

    def __init__(self, path: str, baud: int):
        """Raises OSError or pyserial's subclass of it."""
        import serial

        self._serial = serial.Serial(path, baud, write_timeout=3.0, exclusive=True)
        self._fd: int = self._serial.fileno()

    def recv(self, timeout_s: float) -> bytes:
        """Straight from the file: pyserial would set up the port again for each time-out."""
        readable, _, _ = select.select([self._fd], [], [], timeout_s)
        if not readable:
            return b""
        data = os.read(self._fd, 1 << 16)
        if not data:
            raise OSError("it was unplugged")
        return data

    def send(self, data: bytes) -> None:
        """Blocks for 3 s at most."""
        self._serial.write(data)

    def close(self) -> None:
        """May be called twice."""
        self._serial.close()
