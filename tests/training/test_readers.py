import csv
import os
from pathlib import Path

import numpy as np
import pytest

from training import readers
from training.datasets import DataMissing

DATA = os.environ.get("SONOMYO_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SONOMYO_DATA is not set")


def rows(name):
    with (Path(DATA) / name).open() as f:
        return list(csv.DictReader(f))


def test_the_lists_need_no_recordings():
    assert len(readers.mg_clips()) == 16
    assert readers.mg_clips()["p6_passive_ROM_01_push_03"] == "passive_ROM"
    assert readers.mg_clips()["p6_isometric_max_01_push_04"] == "isometric_max"
    assert "Ref_Long_01" in readers.ta_trials()
    assert len(readers.ta_trials()) == 11
    assert len(readers.knee_recordings()) == 22


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    "read",
    [
        lambda: readers.mg_clip("p6_passive_ROM_01_push_03"),
        lambda: readers.ta_trial("PL_50_02"),
        lambda: readers.knee_recording("N05_sitting"),
        lambda: readers.gait_emg(),
    ],
)
def test_readers_say_how_to_get_what_is_missing(read):
    with pytest.raises(DataMissing, match="SONOMYO_DATA"):
        read()


@needs_data
@pytest.mark.parametrize("name", readers.mg_clips())
def test_signals_are_those_of_the_frame_table(name):
    clip = readers.mg_clip(name)
    table = [r for r in rows("us_mg_dynamometer/frames.csv") if r["clip"] == name]
    for field in ("time_s", "angle_deg", "velocity_deg_s", "torque_nm"):
        written = [float(r[field]) for r in table]
        np.testing.assert_allclose(getattr(clip, field), written, rtol=0, atol=1e-9)
    (about,) = [r for r in rows("us_mg_dynamometer/clips.csv") if r["clip"] == name]
    assert clip.condition == about["condition"]


@needs_data
def test_there_is_an_image_for_every_label():
    clip = readers.mg_clip("p6_isokinetic500_01_push_01")
    frames = clip.frames()
    assert frames.shape == (len(clip.torque_nm), 574, 720)
    assert frames.dtype == np.uint8
    assert frames.std(axis=(1, 2)).min() > 10  # an image, not the border of the screen
    assert np.abs(np.diff(frames.astype(np.int16), axis=0)).mean(axis=(1, 2)).min() > 0


@needs_data
def test_the_crop_and_scale_are_those_of_the_calibration():
    import json

    about = json.loads((Path(DATA) / "us_mg_dynamometer/calibration.json").read_text())
    x, y, width, height = readers.MG_CROP
    assert (x, y) == (about["image_left_px"], about["image_top_px"])
    assert (width, height) == (about["image_width_px"], about["image_height_px"])
    assert about["mm_per_px_x"] == pytest.approx(readers.MG_PX_MM, abs=1e-5)
    assert about["mm_per_px_y"] == pytest.approx(readers.MG_PX_MM, abs=1e-5)
    assert about["video_fps"] == readers.MG_FPS


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"not a video")
    with pytest.raises(ValueError, match="x.mp4"):
        next(readers.video_frames(tmp_path / "x.mp4"))


@needs_data
@pytest.mark.parametrize("name", readers.ta_trials())
def test_trials_have_every_signal_on_one_axis(name):
    t = readers.ta_trial(name)
    assert t.fs_hz == pytest.approx(2000)
    assert t.emg_uv.shape == (34_000, len(readers.TA_CHANNELS))
    assert t.emg_uv.dtype == np.float32
    assert t.torque_nm.shape == t.angle_deg.shape == (34_000,)
    assert t.fascicle_mm.shape == t.pennation_deg.shape == (len(t.us_t_s), 2)
    if name.startswith("Pas"):  # no ultrasound, and a relaxed muscle
        assert len(t.us_t_s) == 0
        assert t.emg_uv.std() < 10
    else:
        assert np.diff(t.us_t_s) == pytest.approx(0.030, abs=0.001)
        assert 40 < t.fascicle_mm.min() < t.fascicle_mm.max() < 90
        assert 0 < t.pennation_deg.min() < t.pennation_deg.max() < 30
        assert t.emg_uv.std() > 100


@needs_data
def test_dorsiflexion_torque_grows_with_the_emg_of_tibialis_anterior():
    t = readers.ta_trial("Ref_Long_01")
    effort = np.convolve(np.abs(t.emg_uv[:, 0]), np.ones(1000) / 1000, "same")
    assert np.corrcoef(effort, t.torque_nm)[0, 1] > 0.9


@needs_data
def test_knee_recordings_are_those_of_the_table_with_flexion_positive():
    for r in rows("leg_emg_knee_angle/recordings.csv"):
        k = readers.knee_recording(r["file"].removesuffix(".csv.gz"))
        assert (k.subject, k.task) == (int(r["subject"]), r["task"])
        assert k.emg_uv.shape == (int(r["samples"]), len(readers.KNEE_CHANNELS))
        assert k.emg_uv.dtype == np.float32
        assert len(k.angle_deg) / k.fs_hz == pytest.approx(float(r["seconds"]), abs=0.006)
        ends = sorted(int(r["angle_sign"]) * float(r[f"angle_{end}_deg"]) for end in ("min", "max"))
        assert [k.angle_deg.min(), k.angle_deg.max()] == pytest.approx(ends, abs=0.051)
        assert 1 < np.abs(k.emg_uv).mean() < 300  # microvolts


@needs_data
def test_gait_has_thirteen_channels_in_the_order_of_the_file():
    g = readers.gait_emg()
    with (Path(DATA) / "gait_emg_raw_13ch/emg.csv").open() as f:
        assert tuple(f.readline().strip().split(",")[1:]) == readers.GAIT_CHANNELS
    assert g.emg_uv.shape == (5487, 13)
    steps = np.ravel(np.column_stack([g.touchdown_s, g.liftoff_s]))
    assert (np.diff(steps) > 0).all()
    assert 0 < steps[0] < steps[-1] < len(g.emg_uv) / g.fs_hz
