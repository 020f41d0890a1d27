"""A picture with what was measured drawn into it: both sheets, one fascicle, the numbers."""

import math
from pathlib import Path

import numpy as np

from edge.architecture import Architecture
from edge.pictures import Picture, PictureError

SHEET, FASCICLE, TEXT = (80, 200, 255), (80, 80, 255), (255, 255, 255)  # blue, green, red
TALL = 480  # pixels at least, so that the text fits


def draw(picture: Picture, found: Architecture, text: str, folder: Path) -> Path:
    """Write ``<file>_<frame>.png`` into ``folder``, which exists; what is NaN is not drawn.

    ``found`` is in the picture's millimetres, or pixels where its scale is not known.  Raises
    PictureError.
    """
    import cv2

    lines, samples = picture.image.shape
    dx, dz = (1.0, 1.0) if math.isnan(picture.dz_mm) else (picture.dx_mm, picture.dz_mm)
    per_px = min(dx, dz, samples * dz / TALL)  # square pixels
    size = round(lines * dx / per_px), round(samples * dz / per_px)
    grey = cv2.resize(np.ascontiguousarray(picture.image.T), size)
    canvas = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)

    def line(a: tuple[float, float], b: tuple[float, float], colour: tuple[int, int, int]) -> None:
        if all(map(math.isfinite, (*a, *b))):
            start, stop = ((round(x / per_px), round(z / per_px)) for x, z in (a, b))
            cv2.line(canvas, start, stop, colour, 2, cv2.LINE_AA)

    for sheet in (found.superficial, found.deep):
        line((0.0, sheet.at(0.0)), (lines * dx, sheet.at(lines * dx)), SHEET)
    line(*found.ends_mm, FASCICLE)
    cv2.putText(
        canvas, text, (8, size[1] - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.5, TEXT, 1, cv2.LINE_AA
    )
    path = folder / f"{Path(picture.file).stem}_{picture.frame:06d}.png"
    if not cv2.imwrite(str(path), canvas):
        raise PictureError(f"{path}: cannot be written: is there room, and is it allowed?")
    return path
