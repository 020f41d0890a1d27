import os
from pathlib import Path

import numpy as np
import pytest

from training.datasets import data_set
from training.demo_data import prepare_demo
from training.splits import MG_DEMO, TA_DEMO

DATA = os.environ.get("SONOMYO_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SONOMYO_DATA is not set")


@needs_data
def test_real_recordings_are_played_with_what_was_measured(tmp_path):
    demo = prepare_demo(tmp_path / "new", offline=True)
    assert demo.kind == "real"
    assert "CC BY 4.0" in demo.attribution
    assert [f.stem for f in demo.video.files] == list(MG_DEMO)
    assert sum(demo.video.frames) == len(demo.video.angle_deg) == len(demo.video.torque_nm)
    assert 13 < sum(demo.video.frames) / demo.video.fps < 15
    assert demo.video.torque_nm.max() > 130  # the maximal effort is in it

    playback = demo.emg.playback
    assert playback.path.parent == tmp_path / "new"
    assert playback.fs_hz == 2000
    assert len(demo.emg.torque_nm) == playback.samples == len(np.loadtxt(playback.path))


@pytest.mark.usefixtures("cache")
def test_offline_without_recordings_is_a_simulation_that_says_so(tmp_path, upstream):
    demo = prepare_demo(tmp_path, offline=True, base=upstream.base)
    assert demo.kind == "simulated"
    assert demo.note.startswith("SIMULATED")
    assert demo.video is None
    assert demo.emg is None
    assert upstream.asked == []


@pytest.mark.usefixtures("cache")
def test_the_first_failing_download_ends_in_a_simulation_that_says_why(tmp_path, upstream):
    demo = prepare_demo(tmp_path, base=upstream.base)
    assert demo.kind == "simulated"
    assert "404" in demo.note
    assert len(upstream.asked) == 1


def test_a_cache_that_cannot_be_written_ends_in_a_simulation(tmp_path, upstream, cache):
    cache.parent.write_text("a file where the cache should be")
    demo = prepare_demo(tmp_path / "demo", base=upstream.base)
    assert demo.kind == "simulated"


@needs_data
def test_a_fresh_machine_downloads_what_it_plays_and_nothing_else(
    tmp_path, upstream, cache, monkeypatch
):
    import scipy.io

    mg, ta = data_set("us_mg_dynamometer"), data_set("emg_torque_fascicle_ta")
    clips = {}
    for name in MG_DEMO:
        with np.load(Path(DATA) / mg.name / f"signals/{name}.npz") as s:
            clips.setdefault(name[:-8], {})[name[-7:]] = {
                "time": s["time"],
                "frameInds": s["frame_sample"] + 1,
                "TOR": s["torque_nm"],
                "POS": s["angle_deg"],
                "VEL": s["velocity_deg_s"],
            }
    scipy.io.savemat(tmp_path / "push_data.mat", {"clips": clips})
    for one in (mg, ta):
        for f in one.files:
            if f.how == "copy":
                upstream.files[f.source] = (Path(DATA) / one.name / f.path).read_bytes()
            elif f.how == "mg_signals":
                upstream.files[f.source] = (tmp_path / "push_data.mat").read_bytes()

    demo = prepare_demo(tmp_path / "demo", base=upstream.base)
    assert demo.kind == "real"
    assert all(f.is_relative_to(cache) for f in demo.video.files)
    assert len(upstream.asked) == len(MG_DEMO) + 1 + 2  # videos, one MATLAB file, TA twice
    assert sum(TA_DEMO in path for path in upstream.asked) == 2

    monkeypatch.setenv("SONOMYO_DATA", DATA)
    local = prepare_demo(tmp_path / "local", offline=True)
    np.testing.assert_array_equal(local.video.torque_nm, demo.video.torque_nm)
    np.testing.assert_array_equal(local.emg.torque_nm, demo.emg.torque_nm)
