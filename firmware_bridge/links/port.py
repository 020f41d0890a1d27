"""A serial port as the operating system has it: open, read, ask how much waits, let it drain."""

import errno
import fcntl
import os
import select
import sys
import termios
import time
from typing import Any

from firmware_bridge.types import DeviceError

POLL_S = 0.1
DRAIN_S = 0.2  # for the last packets, on closing

REMEDIES = {
    errno.ENOENT: "there is no such port: plug the device in, or use one of {ports}",
    errno.ENODEV: "the device is gone: plug it in again",
    errno.ENXIO: "the device is gone: plug it in again",
    errno.EACCES: "not permitted: sudo usermod -aG dialout $USER, then log in again",
    errno.EBUSY: "in use by another program: stop it (fuser {path} names it)",
    errno.EAGAIN: "in use by another program: stop it (fuser {path} names it)",
}


def open_port(path: str, baud: int) -> Any:
    """A configured, exclusive, non-blocking ``serial.Serial``.  Raises DeviceError."""
    import serial
    from serial.tools import list_ports

    try:
        port = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
    except (ValueError, OSError, termios.error) as e:
        remedy = REMEDIES.get(getattr(e, "errno", None) or 0, "{error}")
        ports = ", ".join(p.device for p in list_ports.comports()) or "none present"
        text = remedy.format(path=path, ports=ports, error=e)
        raise DeviceError(f"serial:{path}: {text}") from e
    os.set_blocking(port.fileno(), False)
    return port


def wait(fd: int) -> bool:
    """Whether something arrives within ``POLL_S``, or the port is gone, as ``read`` then says."""
    try:
        return bool(select.select([fd], [], [], POLL_S)[0])
    except OSError:
        return True


def read(fd: int, most: int) -> bytes | None:
    """Up to ``most`` bytes of what arrived, None if nothing did, empty if the port is gone."""
    try:
        if not select.select([fd], [], [], 0)[0]:  # a port that is there reads as empty, too
            return None
        return os.read(fd, most)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def queued(fd: int) -> int:
    """Bytes the kernel has not given to the port yet.  Raises OSError when it is gone."""
    return int.from_bytes(fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0"), sys.byteorder)


def drain(fd: int) -> None:
    """Wait up to ``DRAIN_S`` for the port, then forget the rest: closing would wait 30 s for it."""
    deadline = time.monotonic() + DRAIN_S
    try:
        while queued(fd):
            if time.monotonic() > deadline:
                termios.tcflush(fd, termios.TCOFLUSH)
                return
            time.sleep(0.005)
    except (OSError, termios.error):
        pass  # unplugged meanwhile: nothing is left to flush
