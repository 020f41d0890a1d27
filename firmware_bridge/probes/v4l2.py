"""Video4Linux2 capture with mapped buffers: linux/videodev2.h in ``struct`` and ``fcntl``.

Layouts and request numbers are those of 64-bit x86 and ARM kernels.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import select
import struct
import time
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
MMAP = 1  # V4L2_MEMORY_MMAP
CAN_CAPTURE, CAN_STREAM, HAS_DEVICE_CAPS = 0x1, 0x0400_0000, 0x8000_0000
FRAME_ERROR = 0x40  # the buffer's content is damaged
CLOCK_MASK, CLOCK_MONOTONIC = 0xE000, 0x2000
BUFFERS = 2  # one is filled while the other is read: more would only queue stale pictures

CAPABILITY = struct.Struct("@16s32s32sIII12x")  # ..., of all nodes, of this one
FORMAT_DESCRIPTION = struct.Struct("@III32sI16x")  # index, type, ..., fourcc
FORMAT = struct.Struct("@I4xIIIIII176x")  # type, width, height, fourcc, field, stride, size
STREAM_PARAMETERS = struct.Struct("@IIIII184x")  # type, ..., seconds per frame as a fraction
REQUEST_BUFFERS = struct.Struct("@III8x")  # count, type, memory
# index, type, bytes used, flags, field, s, us, time code, sequence, memory, offset, length, ...
BUFFER = struct.Struct("@IIIIIll16xIILI8x0L")
INT = struct.Struct("@i")


def _request(direction: int, number: int, layout: struct.Struct) -> int:
    """_IOC('V'); direction 1 = to the kernel, 2 = from it, 3 = both."""
    return direction << 30 | layout.size << 16 | ord("V") << 8 | number


QUERYCAP = _request(2, 0, CAPABILITY)
ENUM_FMT = _request(3, 2, FORMAT_DESCRIPTION)
G_FMT = _request(3, 4, FORMAT)
S_FMT = _request(3, 5, FORMAT)
REQBUFS = _request(3, 8, REQUEST_BUFFERS)
QUERYBUF = _request(3, 9, BUFFER)
QBUF = _request(3, 15, BUFFER)
DQBUF = _request(3, 17, BUFFER)
STREAMON = _request(1, 18, INT)
STREAMOFF = _request(1, 19, INT)
S_PARM = _request(3, 22, STREAM_PARAMETERS)


class Kernel(Protocol):
    """The system calls a capture needs; they raise OSError."""

    def open(self, path: str) -> int:
        """A file descriptor, non-blocking."""

    def ioctl(self, fd: int, request: int, data: bytearray) -> None:
        """The kernel reads and changes ``data`` in place."""

    def map(self, fd: int, length: int, offset: int) -> Any:
        """Shared memory with the buffer protocol and ``close()``."""

    def wait(self, fd: int, timeout_s: float) -> bool:
        """Whether a picture, or an error, is ready within ``timeout_s``."""

    def close(self, fd: int) -> None:
        """Release the descriptor."""


class Linux:
    """The real one."""

    def open(self, path: str) -> int:
        """See ``Kernel``."""
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def ioctl(self, fd: int, request: int, data: bytearray) -> None:
        """See ``Kernel``."""
        fcntl.ioctl(fd, request, data, True)

    def map(self, fd: int, length: int, offset: int) -> Any:
        """See ``Kernel``."""
        return mmap.mmap(fd, length, offset=offset)

    def wait(self, fd: int, timeout_s: float) -> bool:
        """See ``Kernel``."""
        return bool(select.select([fd], [], [], timeout_s)[0])

    def close(self, fd: int) -> None:
        """See ``Kernel``."""
        os.close(fd)


@dataclass(frozen=True)
class PictureFormat:
    """What the driver agreed to."""

    width: int
    height: int
    fourcc: str
    stride: int  # bytes from one row to the next; 0 when compressed


class Picture(NamedTuple):
    """A filled buffer, the kernel's again after ``Capture.give_back``."""

    buffer: int
    data: memoryview
    sequence: int  # u32, wraps; a gap is a picture the driver had no buffer for
    kernel_ns: int  # CLOCK_MONOTONIC when the driver stamps with it, else 0
    arrived_ns: int  # now if we waited for it, else when its buffer was free: never too young
    damaged: bool


class Capture:
    """A video device: ``set_format``, ``start``, then ``take`` and ``give_back`` each picture.

    All methods raise OSError as the kernel does: ENODEV once the device is unplugged.
    """

    def __init__(self, path: str, kernel: Kernel):
        self._kernel = kernel
        self._fd = kernel.open(path)
        self._maps: list[Any] = []
        self._free_ns: list[int] = []  # since when each buffer may be filled

    def can_capture(self) -> bool:
        """False for what is no camera: metadata nodes, decoders, radios."""
        *_, all_nodes, this_node = self._call(QUERYCAP, CAPABILITY, b"", b"", b"", 0, 0, 0)
        able = this_node if all_nodes & HAS_DEVICE_CAPS else all_nodes
        return bool(able & CAN_CAPTURE and able & CAN_STREAM)

    def formats(self) -> list[str]:
        """Four-character codes, in the driver's order."""
        found: list[str] = []
        while True:
            try:
                answer = self._call(ENUM_FMT, FORMAT_DESCRIPTION, len(found), CAPTURE, 0, b"", 0)
            except OSError as e:
                if e.errno == errno.EINVAL:  # that was the last
                    return found
                raise
            found.append(answer[4].to_bytes(4, "little").decode("latin-1"))

    def set_format(self, fourcc: str, size: tuple[int, int] | None) -> PictureFormat:
        """Ask for a format, at the present size if ``size`` is None; drivers may give another."""
        _, width, height, *_ = self._call(G_FMT, FORMAT, CAPTURE, 0, 0, 0, 0, 0, 0)
        width, height = size or (width, height)
        code = int.from_bytes(fourcc.encode("latin-1"), "little")
        _, width, height, code, _, stride, _ = self._call(
            S_FMT, FORMAT, CAPTURE, width, height, code, 0, 0, 0
        )
        return PictureFormat(width, height, code.to_bytes(4, "little").decode("latin-1"), stride)

    def set_rate(self, fps: float) -> float:
        """Ask for a frame rate; the one the driver gives, 0 if it does not say."""
        ask = (CAPTURE, 0, 0, 1000, round(fps * 1000))
        *_, numerator, denominator = self._call(S_PARM, STREAM_PARAMETERS, *ask)
        return float(denominator / numerator) if numerator else 0.0

    def start(self) -> None:
        """Map the buffers and let pictures flow."""
        count, _, _ = self._call(REQBUFS, REQUEST_BUFFERS, BUFFERS, CAPTURE, MMAP)
        if count < 1:
            raise OSError(errno.ENOMEM, "no buffers")
        for index in range(count):
            answer = self._buffer(QUERYBUF, index)
            offset, length = answer[9], answer[10]
            self._maps.append(self._kernel.map(self._fd, length, offset))
            self._buffer(QBUF, index)
            self._free_ns.append(time.monotonic_ns())
        self._call(STREAMON, INT, CAPTURE)

    def take(self, timeout_s: float) -> Picture | None:
        """The next picture, or None within ``timeout_s``."""
        waited = not self._kernel.wait(self._fd, 0.0)
        if waited and not self._kernel.wait(self._fd, timeout_s):
            return None
        try:
            answer = self._buffer(DQBUF, 0)
        except BlockingIOError:  # EAGAIN: readable, but not a picture
            return None
        index, _, used, flags, _, s, us, sequence, _, _, _ = answer
        monotonic = flags & CLOCK_MASK == CLOCK_MONOTONIC
        return Picture(
            index,
            memoryview(self._maps[index])[:used],
            sequence,
            s * 1_000_000_000 + us * 1000 if monotonic else 0,
            time.monotonic_ns() if waited else self._free_ns[index],
            bool(flags & FRAME_ERROR),
        )

    def give_back(self, picture: Picture) -> None:
        """Let the kernel fill the buffer again; views of ``picture.data`` must be gone."""
        picture.data.release()
        self._free_ns[picture.buffer] = time.monotonic_ns()
        self._buffer(QBUF, picture.buffer)

    def close(self) -> None:
        """Stop the stream and release everything; may be called twice."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if self._maps:
            with contextlib.suppress(OSError):  # unplugged: it has stopped
                self._kernel.ioctl(fd, STREAMOFF, bytearray(INT.pack(CAPTURE)))
        for mapped in self._maps:
            with contextlib.suppress(BufferError):  # a view is left somewhere: it goes later
                mapped.close()
        self._maps = []
        self._kernel.close(fd)

    def _buffer(self, request: int, index: int) -> tuple[Any, ...]:
        return self._call(request, BUFFER, index, CAPTURE, 0, 0, 0, 0, 0, 0, MMAP, 0, 0)

    def _call(self, request: int, layout: struct.Struct, *values: Any) -> tuple[Any, ...]:
        data = bytearray(layout.pack(*values))
        self._kernel.ioctl(self._fd, request, data)
        return layout.unpack(data)
