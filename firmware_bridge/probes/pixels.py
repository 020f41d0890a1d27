"""From a screen picture to a B-mode frame: crop, scale, and a watch on the depth ruler.

Parameters of ``uvc:`` and of ``replay:`` with a video file:

    crop=215,45,720,574   x, y, width, height of the B-mode image; without it, the whole picture
    px_mm=0.0883          size of a pixel in mm
    lines=180&samples=287 average blocks of pixels; must divide the width and the height
    calibration=FILE      instead of crop and px_mm, JSON:

    {"crop": [215, 45, 720, 574], "mm_per_px_x": 0.0883, "mm_per_px_y": 0.0883,
     "ruler": {"rect": [940, 45, 60, 574], "sha256": "..."}}

``ruler`` (optional) is where the scanner writes its depth scale.  Another depth setting changes
what a pixel is worth and nothing else tells: pictures with another ruler are not used.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.address import Address
from firmware_bridge.parameters import positive, whole
from firmware_bridge.types import DeviceError, Geometry

Grey = NDArray[np.uint8]
Rect = tuple[int, int, int, int]  # x, y, width, height

WHITE = 128  # graphics are light on dark; the noise of a grabber does not cross the middle


@dataclass(frozen=True)
class Pixels:
    """How to cut frames out of pictures of ``(height, width)`` uint8.

    Raises DeviceError when that does not fit the pictures.
    """

    width: int
    height: int
    crop: Rect
    mm_per_px_x: float
    mm_per_px_y: float
    lines: int
    samples: int
    ruler: Rect | None = None
    ruler_sha256: str = ""

    def __post_init__(self) -> None:
        for name, (x, y, w, h) in (("crop", self.crop), ("ruler", self.ruler or self.crop)):
            if min(x, y) < 0 or min(w, h) < 1 or x + w > self.width or y + h > self.height:
                raise DeviceError(
                    f"{name} {(x, y, w, h)} is not inside the picture, "
                    f"{self.width} x {self.height}: it is x,y,width,height in pixels"
                )
        for name, n, size in (
            ("lines", self.lines, self.crop[2]),
            ("samples", self.samples, self.crop[3]),
        ):
            if n < 1 or size % n:
                fit = [size // k for k in range(1, 9) if size % k == 0]
                raise DeviceError(
                    f"{name}={n} does not divide the {size} pixels of the crop: "
                    f"choose one of {fit}, or another crop"
                )

    @property
    def geometry(self) -> Geometry:
        """Raster of the frames; the top of the crop is taken as the skin."""
        _, _, w, h = self.crop
        dz_mm, dx_mm = self.mm_per_px_y * h / self.samples, self.mm_per_px_x * w / self.lines
        return Geometry("bmode", self.lines, self.samples, dz_mm, dx_mm)

    def ruler_fits(self, picture: Grey) -> bool:
        """Whether the scanner's depth is still the one that was calibrated, as far as is known."""
        return self.ruler is None or ruler_hash(picture, self.ruler) == self.ruler_sha256

    def complaint(self, picture: Grey) -> str:
        """What is wrong with the depth, with the hash that is seen; ``""`` when it fits."""
        if self.ruler is None or self.ruler_fits(picture):
            return ""
        return (
            "the depth ruler is not the calibrated one: set the scanner to the depth of the "
            "calibration; or calibrate again, with "
            f'"sha256": "{ruler_hash(picture, self.ruler)}"'
        )

    def cut(self, picture: Grey) -> Grey:
        """The frame in a picture: ``(lines, samples)``, newly allocated, read-only."""
        x, y, w, h = self.crop
        image = picture[y : y + h, x : x + w]
        blocks = h // self.samples, w // self.lines
        frame = np.array(image.T if blocks == (1, 1) else _block_means(image, *blocks).T, order="C")
        frame.flags.writeable = False
        return frame


def _block_means(image: Grey, down: int, across: int) -> Grey:
    """Rounded means; sums of slices in place are seven times faster than one mean over two axes."""
    rows = image[::down].astype(np.uint32)
    for i in range(1, down):
        rows += image[i::down]
    total = rows[:, ::across].copy()
    for i in range(1, across):
        total += rows[:, i::across]
    total += down * across // 2
    total //= down * across
    return total.astype(np.uint8)


def take_pixels(address: Address, width: int, height: int) -> Pixels:
    """The parameters above, for pictures of this size.  Raises DeviceError."""
    path = address.take("calibration", None, Path)
    crop = address.take("crop", None, _rect)
    px_mm = address.take("px_mm", None, positive)
    lines, samples = address.take("lines", 0, whole), address.take("samples", 0, whole)
    if path is not None and (crop or px_mm):
        raise DeviceError(
            f"{address.text!r}: crop and px_mm are in the calibration; leave them out"
        )
    known: dict[str, Any]
    if path is not None:
        known = _load(path)
    elif px_mm is not None:
        known = {"crop": crop or (0, 0, width, height), "mm_per_px_x": px_mm, "mm_per_px_y": px_mm}
    else:
        raise DeviceError(f"{address.text!r}: say how large a pixel is: px_mm= or calibration=")
    _, _, w, h = known["crop"]
    return Pixels(width, height, **known, lines=lines or w, samples=samples or h)


def ruler_hash(picture: Grey, rect: Rect) -> str:
    """SHA-256 of the bright pixels of a rectangle, one bit each."""
    x, y, w, h = rect
    return hashlib.sha256(np.packbits(picture[y : y + h, x : x + w] >= WHITE).tobytes()).hexdigest()


def _rect(text: str) -> Rect:
    return _as_rect(text.split(","))


def _as_rect(values: Any) -> Rect:
    x, y, w, h = (int(v) for v in values)  # ValueError for three or five
    return x, y, w, h


def _load(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text())
        ruler = raw.pop("ruler", None)
        known: dict[str, Any] = {
            "crop": _as_rect(raw.pop("crop")),
            "mm_per_px_x": float(raw.pop("mm_per_px_x")),
            "mm_per_px_y": float(raw.pop("mm_per_px_y")),
        }
        if ruler is not None:
            known |= {"ruler": _as_rect(ruler["rect"]), "ruler_sha256": str(ruler["sha256"])}
        if raw:
            raise ValueError(f"unknown entries {sorted(raw)}")
        if not all(0 < known[k] < math.inf for k in ("mm_per_px_x", "mm_per_px_y")):
            raise ValueError("mm_per_px must be above 0")
    except OSError as e:
        raise DeviceError(f"cannot read the calibration {path}: {e.strerror}") from e
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise DeviceError(
            f'{path} is not a calibration ({e!r}): expected {{"crop": [x, y, w, h], '
            '"mm_per_px_x": 0.09, "mm_per_px_y": 0.09}'
        ) from e
    return known
