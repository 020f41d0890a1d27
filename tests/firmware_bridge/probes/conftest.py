import errno
import mmap
import struct

import numpy as np
import pytest

W, H = 16, 8
NOW_NS = 50_000_000_000


@pytest.fixture
def v4l2_driver():
    """The class of the fake: ``v4l2_driver(("GREY",))``."""
    return FakeKernel


def code(fourcc):
    return int.from_bytes(fourcc.encode(), "little")


class FakeKernel:
    """Plays a V4L2 driver at the system calls, with offsets as in linux/videodev2.h."""

    def __init__(self, formats=("YUYV",), size=(W, H), caps=0x0420_0001, padding=0, fps=30.0):
        self.formats, self.size, self.caps, self.fps = formats, size, caps, fps
        self.padding = padding  # bytes at the end of each row
        self.fourcc = formats[0] if formats else ""
        self.memory, self.queued, self.calls = [], [], []
        self.pictures = []  # (grey or bytes, sequence, kernel_ns, flags, cut)
        self.coming = []  # those it will see when somebody waits
        self.gone = self.streaming = self.open_fd = False

    # --- the system calls

    def open(self, path):
        if self.gone:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.open_fd = True
        return 7

    def close(self, fd):
        assert fd == 7
        self.open_fd = False

    def map(self, fd, length, offset):
        index = offset // 4096
        assert (fd, length) == (7, len(self.memory[index]))
        return self.memory[index]

    def wait(self, fd, timeout_s):
        if timeout_s > 0:
            self.pictures += self.coming
            self.coming = []
        return self.gone or bool(self.pictures)

    def ioctl(self, fd, request, data):
        number, size = request & 0xFF, request >> 16 & 0x3FFF
        assert (fd, request >> 8 & 0xFF, size) == (7, ord("V"), len(data))
        if self.gone:
            raise OSError(errno.ENODEV, "No such device")
        self.calls.append(number)
        getattr(self, f"_{number}")(data)

    def _0(self, d):  # QUERYCAP
        struct.pack_into("<II", d, 84, 0x8000_0000 | 0x0420_0001, self.caps)

    def _2(self, d):  # ENUM_FMT
        index, kind = struct.unpack_from("<II", d)
        assert kind == 1
        if index >= len(self.formats):
            raise OSError(errno.EINVAL, "Invalid argument")
        struct.pack_into("<I", d, 44, code(self.formats[index]))

    def _4(self, d):  # G_FMT
        struct.pack_into("<III", d, 8, *self.size, code(self.fourcc))

    def _5(self, d):  # S_FMT
        w, h, wanted = struct.unpack_from("<III", d, 8)
        self.fourcc = next(f for f in self.formats if code(f) == wanted)
        self.size = min(w, 1920), min(h, 1080)
        struct.pack_into("<IIIII", d, 8, *self.size, wanted, 1, self.stride)

    def _22(self, d):  # S_PARM
        struct.pack_into("<II", d, 12, 1000, round(self.fps * 1000))

    def _8(self, d):  # REQBUFS
        count, kind, memory = struct.unpack_from("<III", d)
        assert (kind, memory) == (1, 1)
        self.memory = [mmap.mmap(-1, self.image_bytes) for _ in range(count)]

    def _9(self, d):  # QUERYBUF
        (index,) = struct.unpack_from("<I", d)
        struct.pack_into("<I", d, 64, index * 4096)
        struct.pack_into("<I", d, 72, self.image_bytes)

    def _15(self, d):  # QBUF
        index, kind = struct.unpack_from("<II", d)
        assert kind == 1
        assert struct.unpack_from("<I", d, 60) == (1,)
        assert index not in self.queued
        self.queued.append(index)

    def _17(self, d):  # DQBUF
        if not self.pictures:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        assert self.queued, "the driver holds no buffer to fill"
        index = self.queued.pop(0)
        picture, sequence, kernel_ns, flags, cut = self.pictures.pop(0)
        content = self.encoded(picture)[:cut]
        self.memory[index][: len(content)] = content
        struct.pack_into("<III", d, 0, index, 1, len(content))
        struct.pack_into("<I", d, 12, flags)
        struct.pack_into("<qq", d, 24, kernel_ns // 10**9, kernel_ns % 10**9 // 1000)
        struct.pack_into("<I", d, 56, sequence)

    def _18(self, d):  # STREAMON
        assert struct.unpack("<i", d) == (1,)
        self.streaming = True

    def _19(self, d):  # STREAMOFF
        self.streaming, self.queued = False, []

    # --- the scene

    @property
    def stride(self):
        step = {"YUYV": 2, "UYVY": 2, "MJPG": 0}.get(self.fourcc, 1)
        return self.size[0] * step + (self.padding if step else 0)

    @property
    def image_bytes(self):
        return self.size[1] * max(self.stride, 256) * 2

    def encoded(self, picture):
        """Bytes of a picture in the format of the moment: chroma and padding are 0x80."""
        if isinstance(picture, bytes):
            return picture
        h, w = picture.shape
        rows = np.full((h, self.stride), 0x80, np.uint8)
        step, first = {"YUYV": (2, 0), "UYVY": (2, 1)}.get(self.fourcc, (1, 0))
        rows[:, first : w * step : step] = picture
        return rows.tobytes() + b"\x80" * (rows.size // 2 if self.fourcc == "NV12" else 0)

    def show(self, picture, sequence=0, kernel_ns=NOW_NS, flags=0x2000, cut=None):
        """Film a picture."""
        self.pictures.append((picture, sequence, kernel_ns, flags, cut))
