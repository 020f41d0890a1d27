"""B-mode pictures from files: a still, every frame of a video, every frame of a recording."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.recording import open_recording

STILLS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".wmv")
RECORDING = ".mcap"


class PictureError(RuntimeError):
    """A file or an argument that gives no picture; the message names the remedy."""


@dataclass(frozen=True)
class Picture:
    """One B-mode picture."""

    file: str
    frame: int  # within the file, from 0
    t_s: float  # since the file's first frame; NaN: not known
    image: NDArray[np.uint8]  # (lines, samples): along the leg, then depth
    dx_mm: float  # between lines; NaN: not known
    dz_mm: float


@dataclass(frozen=True)
class View:
    """What to take of each picture, and at which scale."""

    mm_per_pixel: float = math.nan  # of stills and videos; recordings know theirs
    box: tuple[int, int, int, int] | None = None  # first and last-plus-one line, then sample
    mirror: bool = False  # left to right, after cutting out the box

    def of(self, image: NDArray[Any], file: str) -> NDArray[np.uint8]:
        """The part of a picture ``(lines, samples)`` to look at.  Raises PictureError."""
        if self.box is not None:
            x0, x1, z0, z1 = self.box
            lines, samples = image.shape
            if not (0 <= x0 < x1 <= lines and 0 <= z0 < z1 <= samples):
                raise PictureError(
                    f"{file}: --box {x0},{x1},{z0},{z1} does not lie in a picture of "
                    f"{lines} x {samples} pixels: give x0,x1,y0,y1 with y downwards"
                )
            image = image[x0:x1, z0:z1]
        if min(image.shape) < 32:
            raise PictureError(f"{file}: {image.shape[0]} x {image.shape[1]} pixels are too few")
        return np.ascontiguousarray(image[::-1] if self.mirror else image)


def pictures(path: Path, view: View) -> Iterator[Picture]:
    """Every picture in a file, one at a time.

    Raises PictureError, and RecordingError for a recording that cannot be read.
    """
    if not path.is_file():
        raise PictureError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix == RECORDING:
        return _recorded(path, view)
    if suffix in VIDEOS:
        return _video(path, view)
    if suffix in STILLS:
        return _still(path, view)
    known = ", ".join((*STILLS, *VIDEOS, RECORDING))
    raise PictureError(f"{path}: not one of {known}")


def _still(path: Path, view: View) -> Iterator[Picture]:
    import cv2

    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise PictureError(f"{path}: OpenCV cannot read this picture: save it as PNG")
    mm = view.mm_per_pixel
    yield Picture(str(path), 0, math.nan, view.of(grey.T, str(path)), mm, mm)


def _video(path: Path, view: View) -> Iterator[Picture]:
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        rate_hz = capture.get(cv2.CAP_PROP_FPS)  # nominal; 0: not written in the file
        frame, mm = 0, view.mm_per_pixel
        while True:
            there, bgr = capture.read()
            if not there:
                break
            image = view.of(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).T, str(path))
            t_s = frame / rate_hz if rate_hz > 0 else math.nan
            yield Picture(str(path), frame, t_s, image, mm, mm)
            frame += 1
        if not frame:
            raise PictureError(f"{path}: OpenCV cannot read this video: convert it to H.264 in MP4")
    finally:
        capture.release()


def _recorded(path: Path, view: View) -> Iterator[Picture]:
    if not math.isnan(view.mm_per_pixel):
        raise PictureError(f"{path}: a recording knows its scale: leave out --mm-per-pixel")
    recording = open_recording(path)
    g = recording.geometry
    if g is None or g.kind != "bmode":
        raise PictureError(f"{path}: no B-mode pictures in it: sonomyo info {path}")
    start_ns: int | None = None
    for k, frame in enumerate(recording.frames()):
        start_ns = frame.t_ns if start_ns is None else start_ns
        image = view.of(frame.data, str(path))
        yield Picture(str(path), k, (frame.t_ns - start_ns) * 1e-9, image, g.dx_mm, g.dz_mm)
    if start_ns is None:
        raise PictureError(f"{path}: not one picture in it: sonomyo info {path}")
