"""Why ``uvc:`` needs no OpenCV: what a grabber's picture costs to become a frame, both ways.

``make bench-grabber`` takes a few seconds.  A 1080p YUYV picture, cropped to the B-mode image and
averaged to the raster of a probe, in one thread; alternating, so that both see the same machine.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from firmware_bridge.probes.pixels import Pixels

WIDTH, HEIGHT = 1920, 1080
CROP = (600, 200, 720, 574)
LINES, SAMPLES = 180, 287
ROUNDS = 500


def main() -> int:
    """Print the table and one line of JSON."""
    import cv2

    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    yuyv = rng.integers(0, 256, (HEIGHT, WIDTH, 2), np.uint8)
    pixels = Pixels(
        WIDTH, HEIGHT, CROP, mm_per_px_x=0.1, mm_per_px_y=0.1, lines=LINES, samples=SAMPLES
    )
    x, y, w, h = CROP

    def ours() -> Any:
        return pixels.cut(yuyv[..., 0])

    def opencv() -> Any:
        grey = cv2.cvtColor(yuyv, cv2.COLOR_YUV2GRAY_YUYV)[y : y + h, x : x + w]
        return cv2.resize(grey, (LINES, SAMPLES), interpolation=cv2.INTER_AREA).T

    largest = int(np.abs(ours().astype(int) - opencv().astype(int)).max())
    took: dict[str, list[float]] = {"numpy": [], "opencv": []}
    for _ in range(ROUNDS):
        for name, convert in (("numpy", ours), ("opencv", opencv)):
            took[name].append(_ms(convert))
    table = Table("ms per picture", "p50", "p99")
    found = {k: [round(float(q), 3) for q in np.percentile(v, (50, 99))] for k, v in took.items()}
    for name, (p50, p99) in found.items():
        table.add_row(name, f"{p50:.3f}", f"{p99:.3f}")
    Console().print(table)
    ratio = round(found["opencv"][0] / found["numpy"][0], 2)
    print(json.dumps({"ms": found, "opencv_over_numpy": ratio, "largest_difference": largest}))
    return 0


def _ms(convert: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    convert()
    return (time.perf_counter_ns() - start) * 1e-6


if __name__ == "__main__":
    sys.exit(main())
