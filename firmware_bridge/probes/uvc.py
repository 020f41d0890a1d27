"""A scanner's screen through a V4L2 video grabber, or a probe that shows up as a webcam.

    uvc:/dev/video0?px_mm=0.0883&crop=215,45,720,574&lines=180&samples=287
    uvc:/dev/v4l/by-id/usb-...-video-index0?calibration=calf.json&size=1920x1080&fps=60

How frames are cut out of pictures is in ``pixels.py``.  ``size``, ``fps`` and ``format`` are asked
of the grabber; without them it keeps its size and rate, and the first of GREY, YUYV, UYVY and NV12
that it offers is taken.  ``format=MJPG`` needs OpenCV, costs time, and its blocks blur speckle.
"""

import importlib.util
import time
from typing import Any

import numpy as np

from firmware_bridge.address import Address
from firmware_bridge.parameters import positive
from firmware_bridge.probes.by_id import stable_path
from firmware_bridge.probes.pixels import Grey, Pixels, take_pixels
from firmware_bridge.probes.v4l2 import Capture, Kernel, Linux, Picture, PictureFormat
from firmware_bridge.types import DeviceError, Frame

# Bytes from one luma sample to the next, and where the first one is.
LUMA = {"GREY": (1, 0), "YUYV": (2, 0), "UYVY": (2, 1), "NV12": (1, 0)}
COMPRESSED = "MJPG"
FIRST_PICTURE_S = 2.0
WARM_UP_PICTURES = 60  # grabbers begin with black ones
MAX_AGE_NS = 1_000_000_000  # a kernel time stamp older than this is not believed


class Uvc:
    """Pictures become frames at once, in the thread that reads.

    ``t_ns`` is the kernel's capture time.  Where it has none it is that of arrival, for a picture
    that lay ready when ``read`` was called the earliest it can have been.
    ``counters``: ``damaged`` and ``short`` pictures, ``skipped`` ones the grabber had no buffer
    for, ``ruler_changed`` ones of another depth than was calibrated: none of them becomes a frame.
    """

    live = True

    def __init__(self, address: str, capture: Capture, form: PictureFormat, pixels: Pixels):
        self.address = address
        self.geometry = pixels.geometry
        self.counters = dict.fromkeys(("damaged", "short", "skipped", "ruler_changed"), 0)
        self._capture, self._form, self._pixels = capture, form, pixels
        self._seq, self._last = -1, 0
        self._check_first_pictures()

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or None within ``timeout_s``.  Raises DeviceError when it is gone."""
        try:
            picture = self._capture.take(timeout_s)
            if picture is None:
                return None
            t_ns = _captured_ns(picture, time.monotonic_ns())
            self._advance(picture.sequence)
            data = self._frame_of(picture)
            self._capture.give_back(picture)
        except OSError as e:
            raise DeviceError(f"{self.address}: the grabber is gone ({e}): plug it in") from e
        return None if data is None else Frame(t_ns, self._seq, data)

    def close(self) -> None:
        """Stop the stream; may be called twice."""
        self._capture.close()

    def _check_first_pictures(self) -> None:
        """The pictures are there and show what was calibrated.  Raises DeviceError, OSError."""
        complaint = ""
        for _ in range(WARM_UP_PICTURES):
            picture = self._capture.take(FIRST_PICTURE_S)
            if picture is None:
                raise DeviceError(
                    f"{self.address}: no picture in {FIRST_PICTURE_S:g} s: is there a signal at "
                    "the grabber's input?"
                )
            complaint = self._complaint(picture)
            self._capture.give_back(picture)
            if not complaint:
                return
        raise DeviceError(f"{self.address}: {complaint}")

    def _complaint(self, picture: Picture) -> str:
        shown = _grey(picture, self._form)
        if shown is None:
            return "every picture is damaged: try another cable, or another format="
        return self._pixels.complaint(shown)

    def _advance(self, sequence: int) -> None:
        step = (sequence - self._last) & 0xFFFF_FFFF if self._seq >= 0 else 1
        self.counters["skipped"] += max(step - 1, 0)
        self._last = sequence
        self._seq += max(step, 1)

    def _frame_of(self, picture: Picture) -> Grey | None:
        if picture.damaged:
            self.counters["damaged"] += 1
            return None
        shown = _grey(picture, self._form)
        if shown is None:
            self.counters["damaged" if self._form.fourcc == COMPRESSED else "short"] += 1
            return None
        if not self._pixels.ruler_fits(shown):
            self.counters["ruler_changed"] += 1
            return None
        return self._pixels.cut(shown)


def open_uvc(address: str, kernel: Kernel | None = None) -> Uvc:
    """Start the grabber and look at its first pictures.  Raises DeviceError with the remedy."""
    parsed = Address(address)
    device = stable_path(parsed.target, "/dev/v4l/by-id")
    _, mark, query = address.partition("?")
    try:
        capture = Capture(device, kernel or Linux())
    except OSError as e:
        raise DeviceError(
            f"cannot open {device!r} ({e}): plug the grabber in, write it as uvc:/dev/video0, and "
            "join the group that owns it (often video)"
        ) from e
    try:
        if not capture.can_capture():
            raise DeviceError(f"{device} gives no video: grabbers often have two nodes, try both")
        form = _agree(parsed, capture)
        pixels = take_pixels(parsed, form.width, form.height)
        parsed.done()
        capture.start()
        return Uvc(f"uvc:{device}{mark}{query}", capture, form, pixels)
    except OSError as e:
        capture.close()
        raise DeviceError(f"{device} refuses ({e}): close other programs that use it") from e
    except DeviceError:
        capture.close()
        raise


def _agree(address: Address, capture: Capture) -> PictureFormat:
    """Settle format, size and rate with the grabber."""
    offered = capture.formats()
    wanted = address.take("format", "", str)
    size = address.take("size", None, _size)
    fps = address.take("fps", 0.0, positive)
    fourcc = wanted or next((f for f in LUMA if f in offered), "")
    if fourcc not in offered or fourcc not in (*LUMA, COMPRESSED):
        raise DeviceError(
            f"{address.text!r}: the grabber offers {offered}, known are {[*LUMA, COMPRESSED]}: "
            "choose one that is in both with format="
        )
    if fourcc == COMPRESSED and importlib.util.find_spec("cv2") is None:
        raise DeviceError(
            f"{address.text!r}: {COMPRESSED} needs OpenCV: pip install opencv-python-headless, or "
            f"choose another of {offered}"
        )
    form = capture.set_format(fourcc, size)
    if form.fourcc != fourcc or size not in (None, (form.width, form.height)):
        raise DeviceError(
            f"{address.text!r}: the grabber gives {form.fourcc} {form.width}x{form.height} "
            "instead: ask for that, or see v4l2-ctl --list-formats-ext"
        )
    if fps:
        actual = capture.set_rate(fps)
        if abs(actual - fps) > 0.05 * fps:
            raise DeviceError(
                f"{address.text!r}: the grabber gives {actual:g} pictures/s at "
                f"{form.width}x{form.height}: ask for that, or for another size"
            )
    return form


def _size(text: str) -> tuple[int, int]:
    width, height = (int(n) for n in text.split("x"))
    return width, height


def _grey(picture: Picture, form: PictureFormat) -> Grey | None:
    """The picture's brightness ``(height, width)``, a view where possible; None if incomplete."""
    data: Any = np.frombuffer(picture.data, np.uint8)
    if form.fourcc == COMPRESSED:
        import cv2

        shown = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
        return shown if shown is not None and shown.shape == (form.height, form.width) else None
    step, first = LUMA[form.fourcc]
    stride = form.stride or form.width * step
    if len(data) < form.height * stride:
        return None
    rows = data[: form.height * stride].reshape(form.height, stride)
    shown = rows[:, first : form.width * step : step]
    return np.asarray(shown)


def _captured_ns(picture: Picture, now_ns: int) -> int:
    """The kernel's time, if it is from this clock: never in the future, never long ago."""
    known = 0 <= now_ns - picture.kernel_ns < MAX_AGE_NS
    return picture.kernel_ns if known else picture.arrived_ns
