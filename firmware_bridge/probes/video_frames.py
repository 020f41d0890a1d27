"""Frames of a probe out of B-mode video files: crop, reduce by area averaging, turn."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.types import DeviceError

Crop = tuple[int, int, int, int]  # x, y, width, height of the image in the picture, pixels


class Video(NamedTuple):
    """``frames`` (n, lines, samples) uint8, read-only: a row of the picture is a depth."""

    frames: NDArray[np.uint8]
    fps: float  # as the file says
    pixels: tuple[float, float]  # of the picture, per line and per sample


def video_frames(
    path: str | Path, crop: Crop | None = None, lines: int = 0, samples: int = 0
) -> NDArray[np.uint8]:
    """All frames of one file, (n, lines, samples) uint8; see ``read_video``."""
    return read_video((str(path),), crop, lines, samples).frames


def parse_crop(text: str) -> Crop:
    """``x,y,width,height``.  Raises ValueError."""
    x, y, width, height = (int(n) for n in text.split(","))
    return x, y, width, height


@lru_cache(maxsize=2)  # decoding takes seconds: a probe that is opened again must not wait
def read_video(
    paths: tuple[str, ...], crop: Crop | None = None, lines: int = 0, samples: int = 0
) -> Video:
    """Frames of all files, one after another; 0 lines or samples: as many as there are pixels.

    Raises DeviceError when OpenCV is missing, a file is no video or the crop does not fit.
    """
    videos = [_decode(path, crop, lines, samples) for path in paths]
    first = videos[0]
    if any(v.frames.shape[1:] != first.frames.shape[1:] or v.fps != first.fps for v in videos):
        raise DeviceError(f"{', '.join(paths)} differ in size or rate; show one of them")
    frames = first.frames if len(videos) == 1 else np.concatenate([v.frames for v in videos])
    frames.setflags(write=False)
    return first._replace(frames=frames)


def _decode(path: str, crop: Crop | None, lines: int, samples: int) -> Video:
    try:
        import cv2
    except ImportError as e:
        raise DeviceError("video files need OpenCV: pip install opencv-python-headless") from e
    capture = cv2.VideoCapture(path) if Path(path).is_file() else None
    if capture is None or not capture.isOpened():
        raise DeviceError(f"{path} is not a video file that OpenCV can read")
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    x, y, width, height = crop or (0, 0, *size)
    if min(x, y) < 0 or min(width, height) < 1 or x + width > size[0] or y + height > size[1]:
        raise DeviceError(f"crop={x},{y},{width},{height} leaves the picture of {path}, {size}")
    reduced = lines or width, samples or height
    frames = []
    while (got := capture.read())[0]:
        image = cv2.cvtColor(got[1][y : y + height, x : x + width], cv2.COLOR_BGR2GRAY)
        frames.append(cv2.resize(image, reduced, interpolation=cv2.INTER_AREA).T)
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    capture.release()
    if not frames:
        raise DeviceError(f"{path} has no pictures")
    return Video(np.stack(frames), fps, (width / reduced[0], height / reduced[1]))
