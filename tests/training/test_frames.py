import os

import numpy as np
import pytest

from firmware_bridge.types import Geometry
from models.spec import Input, Step
from training.frames import LINES, RASTER, SAMPLES, mg_frames, probe_raster, simulated_frames
from training.readers import MG_CROP, mg_clip

SMALL = Input("image", (1, 1, 16, 16), "us", (Step("resize", {"lines": 16, "samples": 16}),))
needs_data = pytest.mark.skipif(
    not os.environ.get("SONOMYO_DATA"), reason="set SONOMYO_DATA to the folder of recordings"
)


def test_a_raster_averages_areas_and_lies_on_its_side():
    picture = np.zeros((574, 720), np.uint8)
    picture[100:102] = 200  # two rows: one sample deep
    raster = probe_raster(picture)
    assert raster.shape == (LINES, SAMPLES)
    assert (raster[:, 50] == 200).all()
    assert np.delete(raster, 50, axis=1).max() == 0


@needs_data
def test_training_sees_what_the_simulated_probe_serves():
    from firmware_bridge.probes.video_frames import video_frames

    clip = mg_clip("p6_isokinetic500_01_push_01")
    served = video_frames(clip.video, MG_CROP, LINES, SAMPLES)
    ours = np.stack([probe_raster(picture) for picture in clip.frames()])
    np.testing.assert_array_equal(ours, served)


@needs_data
def test_clips_bring_their_labels():
    clips = mg_frames(("p6_isokinetic500_01_push_01", "p6_isokinetic500_01_push_02"), SMALL)
    assert clips.images.shape == (129, 1, 16, 16)
    assert clips.targets.shape == (129, 2)
    assert np.bincount(clips.clip).tolist() == [59, 70]
    second = clips.part([1])
    assert second.names[second.clip[0]].endswith("push_02")
    np.testing.assert_array_equal(second.images, clips.images[59:])


def test_the_raster_covers_the_picture():
    assert isinstance(RASTER, Geometry)
    assert RASTER.lines * RASTER.dx_mm == pytest.approx(720 * 0.0883, rel=1e-3)
    assert RASTER.samples * RASTER.dz_mm == pytest.approx(574 * 0.0883, rel=1e-3)


def test_simulated_legs_differ_and_repeat():
    a = simulated_frames(SMALL, (1, 2), 3, 0.0, 60.0)
    b = simulated_frames(SMALL, (1, 2), 3, 0.0, 60.0)
    np.testing.assert_array_equal(a.images, b.images)
    assert a.clip.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.abs(a.images[0] - a.images[3]).mean() > 1
