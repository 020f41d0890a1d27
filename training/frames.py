"""B-mode frames with ankle angle and torque: a probe's raster, prepared as on the device."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.preprocess import UsPipeline
from firmware_bridge.probes.calf import bmode_geometry, make_calf, render
from firmware_bridge.types import Geometry
from firmware_bridge.wearer import truth
from models.spec import Input, Step
from training.readers import MG_PX_MM, mg_clip

# The raster the demo's probe serves of the 720 x 574 pixel recordings.
LINES, SAMPLES = 180, 287
RASTER = Geometry("bmode", LINES, SAMPLES, dz_mm=2 * MG_PX_MM, dx_mm=4 * MG_PX_MM)

# 60 x 50 mm from the skin down, whatever the probe's own pixels are.
IMAGE = Input(
    name="image",
    shape=(1, 1, 128, 128),
    source="us",
    steps=(
        Step(
            "physical_crop",
            {"depth0_mm": 0, "depth_mm": 50, "width_mm": 60, "lines": 128, "samples": 128},
        ),
        Step("normalise", {"mean": 50, "std": 50}),
    ),
    kind="bmode",
)


@dataclass(frozen=True)
class Clips:
    """Frames of several clips, one after the other.

    ``images`` is ``(n, *Input.shape[1:])`` float32 after the input's steps, ``targets`` is
    ``(n, 2)`` float32: ankle angle in degrees, torque in N m; ``clip (n,)`` indexes ``names``.
    """

    names: tuple[str, ...]
    conditions: tuple[str, ...]  # of each clip
    images: NDArray[np.float32]
    targets: NDArray[np.float32]
    clip: NDArray[np.intp]

    def part(self, clips: Sequence[int]) -> "Clips":
        """Only these clips, by index; their numbers stay."""
        keep = np.isin(self.clip, clips)
        return Clips(
            self.names, self.conditions, self.images[keep], self.targets[keep], self.clip[keep]
        )


def probe_raster(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A video picture ``(574, 720)``, rows along depth, as a frame ``(180, 287)`` of the probe."""
    import cv2

    small = cv2.resize(picture, (LINES, SAMPLES), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small.T, np.uint8)


def prepare(
    frames: Iterable[NDArray[np.uint8]], geometry: Geometry, inp: Input
) -> NDArray[np.float32]:
    """Frames through the device's own preprocessing: ``(n, *inp.shape[1:])`` float32."""
    pipeline = UsPipeline(geometry, inp)
    return np.stack([pipeline.run(frame)[0].copy() for frame in frames])


def mg_frames(names: Sequence[str], inp: Input) -> Clips:
    """Every frame of these clips of us_mg_dynamometer.  Raises DataMissing."""
    images, targets, clip, conditions = [], [], [], []
    for k, name in enumerate(names):
        one = mg_clip(name)
        images.append(prepare(map(probe_raster, one.frames()), RASTER, inp))
        targets.append(np.stack([one.angle_deg, one.torque_nm], axis=1).astype(np.float32))
        clip.append(np.full(len(one.time_s), k))
        conditions.append(one.condition)
    return Clips(
        tuple(names),
        tuple(conditions),
        np.concatenate(images),
        np.concatenate(targets),
        np.concatenate(clip),
    )


def simulated_frames(
    inp: Input, legs: Sequence[int], frames: int, first_s: float, last_s: float
) -> Clips:
    """``frames`` pictures of each simulated leg (a seed) at random moments of a time span."""
    images, targets = [], []
    for leg in legs:
        geometry = bmode_geometry(LINES, SAMPLES)
        calf = make_calf(geometry, leg)
        t_s = np.random.default_rng([leg, int(first_s)]).uniform(first_s, last_s, frames)
        now = truth(t_s, leg)
        pictures = (render(calf, a, f) for a, f in zip(now.angle_deg, now.force, strict=True))
        images.append(prepare(pictures, geometry, inp))
        targets.append(np.stack([now.angle_deg, now.torque_nm], axis=1).astype(np.float32))
    return Clips(
        tuple(f"leg {leg}" for leg in legs),
        tuple(f"leg {leg}" for leg in legs),
        np.concatenate(images),
        np.concatenate(targets),
        np.repeat(np.arange(len(legs)), frames),
    )
