import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.record import SessionWriter
from firmware_bridge.probes import open_probe, pacing, replay
from firmware_bridge.probes.pixels import ruler_hash
from firmware_bridge.types import DeviceError, Frame, Geometry

BMODE = Geometry("bmode", 8, 12, 0.2, 0.4)
RF = Geometry("rf", 2, 30, 0.1, 4.0)
DATA = os.environ.get("SONOMYO_DATA", "")
MS = 1_000_000


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only in sleep."""

    class Clock:
        now_ns = 5_000_000_000

        def monotonic_ns(self):
            return self.now_ns

        def sleep(self, seconds):
            self.now_ns += round(seconds * 1e9)

    fake = Clock()
    monkeypatch.setattr(pacing, "time", fake)
    monkeypatch.setattr(replay, "time", fake)
    return fake


def image(geometry, i):
    rng = np.random.default_rng(i)
    top = 255 if geometry.kind == "bmode" else 2000
    return rng.integers(0, top, (geometry.lines, geometry.samples)).astype(geometry.dtype)


def session(path, times_ms, seqs=None, geometry=BMODE):
    writer = SessionWriter(path, {}, geometry=geometry, min_free_bytes=0)
    for i, t_ms in enumerate(times_ms):
        seq = seqs[i] if seqs else 100 + i
        writer.frame(Frame(7_000 * MS + t_ms * MS, seq, image(geometry, i)))
    writer.close()
    return path


def film(path, pictures, fps=25.0):
    cv2 = pytest.importorskip("cv2")
    height, width = pictures[0].shape
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*"FFV1"), fps, (width, height), False
    )
    assert writer.isOpened()
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def play(probe, count, timeout_s=10.0):
    return [f for _ in range(count) if (f := probe.read(timeout_s))]


@pytest.mark.parametrize("geometry", [BMODE, RF], ids=["bmode", "rf"])
def test_a_recording_comes_back_with_its_own_timing(tmp_path, clock, geometry):
    path = session(tmp_path / "a.mcap", [0, 16, 40, 41], geometry=geometry)
    probe = open_probe(f"replay:{path}")
    begin_ns = clock.now_ns
    frames = play(probe, 4)
    assert probe.geometry == geometry
    assert [(f.t_ns - begin_ns) / MS for f in frames] == [0, 16, 40, 41]
    assert clock.now_ns == frames[-1].t_ns
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.data, image(geometry, i))
        assert not frame.data.flags.writeable
    assert not probe.live


def test_frames_lost_in_the_recording_are_still_lost(tmp_path, clock):
    path = session(tmp_path / "a.mcap", [0, 10, 20], seqs=[50, 51, 55])
    assert [f.seq for f in play(open_probe(f"replay:{path}"), 3)] == [0, 1, 5]


def test_nothing_before_it_is_due(tmp_path, clock):
    probe = open_probe(f"replay:{session(tmp_path / 'a.mcap', [0, 100])}")
    assert probe.read(0.0).seq == 0
    assert probe.read(0.06) is None
    assert probe.read(0.06).seq == 1


def test_a_late_reader_gets_every_frame_with_the_time_it_was_due(tmp_path, clock):
    probe = open_probe(f"replay:{session(tmp_path / 'a.mcap', [0, 10, 20])}")
    begin_ns = clock.now_ns
    clock.sleep(5.0)
    frames = play(probe, 3, timeout_s=0.0)
    assert [(f.t_ns - begin_ns) / MS for f in frames] == [0, 10, 20]


def test_after_the_end_there_is_nothing_for_ever(tmp_path, clock):
    probe = open_probe(f"replay:{session(tmp_path / 'a.mcap', [0, 10])}")
    assert len(play(probe, 2)) == 2
    before_ns = clock.now_ns
    assert probe.read(0.2) is None
    assert probe.read(0.2) is None
    assert probe.finished
    assert clock.now_ns - before_ns == 400 * MS


def test_a_loop_goes_on_in_time_and_in_count(tmp_path, clock):
    probe = open_probe(f"replay:{session(tmp_path / 'a.mcap', [0, 10, 25])}?loop=on")
    begin_ns = clock.now_ns
    frames = play(probe, 7)
    assert [f.seq for f in frames] == list(range(7))
    assert [(f.t_ns - begin_ns) / MS for f in frames] == [0, 10, 25, 40, 50, 65, 80]
    np.testing.assert_array_equal(frames[3].data, frames[0].data)
    assert not probe.finished


def test_a_loop_of_one_frame_does_not_run_away(tmp_path, clock):
    probe = open_probe(f"replay:{session(tmp_path / 'a.mcap', [0])}?loop=on")
    frames = play(probe, 3)
    assert [f.t_ns - frames[0].t_ns for f in frames] == [0, 100 * MS, 200 * MS]


@pytest.mark.parametrize("loop", ["on", "off"])
def test_a_recording_without_frames_is_finished_at_once(tmp_path, clock, loop):
    probe = open_probe(f"replay:{session(tmp_path / 'a.mcap', [])}?loop={loop}")
    assert probe.read(0.1) is None
    assert probe.finished


@pytest.mark.parametrize(("speed", "expected"), [("2", [0, 10, 20]), ("0.5", [0, 40, 80])])
def test_speed_stretches_time(tmp_path, clock, speed, expected):
    probe = open_probe(f"replay:{session(tmp_path / 'a.mcap', [0, 20, 40])}?speed={speed}")
    frames = play(probe, 3)
    assert [(f.t_ns - frames[0].t_ns) / MS for f in frames] == expected


def test_speed_zero_does_not_wait(tmp_path, clock):
    probe = open_probe(f"replay:{session(tmp_path / 'a.mcap', [0, 9_000, 99_000])}?speed=0")
    begin_ns = clock.now_ns
    assert len(play(probe, 3, timeout_s=0.0)) == 3
    assert clock.now_ns == begin_ns


def test_a_recording_that_breaks_off_ends_and_is_counted(tmp_path, clock):
    path = session(tmp_path / "a.mcap", [0, 10, 20, 30])
    damaged = bytearray(path.read_bytes())
    at = damaged.rfind(image(BMODE, 2).tobytes())
    damaged[at - 80 : at] = b"\xff" * 80
    path.write_bytes(damaged)
    probe = open_probe(f"replay:{path}")
    assert 1 <= len(play(probe, 4)) <= 2
    assert probe.finished
    assert probe.counters["damaged"] == 1


def test_closing_ends_it(tmp_path, clock):
    probe = open_probe(f"replay:{session(tmp_path / 'a.mcap', [0, 10])}?loop=on")
    probe.close()
    probe.close()
    assert probe.read(0.1) is None
    assert probe.finished


def test_a_video_is_cut_scaled_and_paced(tmp_path, clock):
    pictures = [image(Geometry("bmode", 32, 48, 1, 1), i) for i in range(4)]
    path = film(tmp_path / "a.avi", pictures)
    probe = open_probe(f"replay:{path}?px_mm=0.1&crop=8,2,40,30&lines=20&samples=10")
    begin_ns = clock.now_ns
    frames = play(probe, 4)
    assert [(f.t_ns - begin_ns) / MS for f in frames] == [0, 40, 80, 120]
    assert [f.seq for f in frames] == [0, 1, 2, 3]
    assert probe.geometry == Geometry("bmode", 20, 10, pytest.approx(0.3), pytest.approx(0.2))
    blocks = pictures[3][2:32, 8:48].reshape(10, 3, 20, 2).mean(axis=(1, 3)).T
    np.testing.assert_array_equal(frames[3].data, np.floor(blocks + 0.5))
    assert probe.read(0.1) is None
    assert probe.finished


def test_fps_replaces_what_the_video_says(tmp_path, clock):
    path = film(tmp_path / "a.avi", [np.zeros((16, 16), np.uint8)] * 2)
    frames = play(open_probe(f"replay:{path}?px_mm=0.1&fps=50"), 2)
    assert frames[1].t_ns - frames[0].t_ns == 20 * MS


def test_pictures_of_another_depth_are_left_out(tmp_path, clock):
    shallow, deep = np.zeros((2, 16, 32), np.uint8)
    shallow[::4, 28:] = 255
    deep[::2, 28:] = 255
    calibration = tmp_path / "c.json"
    calibration.write_text(
        json.dumps(
            {
                "crop": [0, 0, 16, 16],
                "mm_per_px_x": 0.1,
                "mm_per_px_y": 0.1,
                "ruler": {"rect": [28, 0, 4, 16], "sha256": ruler_hash(shallow, (28, 0, 4, 16))},
            }
        )
    )
    path = film(tmp_path / "a.avi", [shallow, shallow, deep, deep, shallow])
    probe = open_probe(f"replay:{path}?calibration={calibration}")
    assert [f.seq for f in play(probe, 5)] == [0, 1, 4]
    assert probe.counters["ruler_changed"] == 2
    wrong = film(tmp_path / "b.avi", [deep])
    with pytest.raises(DeviceError, match="depth ruler is not the calibrated one"):
        open_probe(f"replay:{wrong}?calibration={calibration}")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "say how large a pixel is"),
        ("?px_mm=0.1&speed=-1", "speed"),
        ("?px_mm=0.1&rate=3", r"unknown parameter \['rate'\]"),
        ("?px_mm=0.1&crop=0,0,99,99", "not inside the picture"),
    ],
)
def test_a_wrong_parameter_for_a_video_is_refused(tmp_path, query, message):
    path = film(tmp_path / "a.avi", [np.zeros((16, 16), np.uint8)])
    with pytest.raises(DeviceError, match=message):
        open_probe(f"replay:{path}{query}")


def test_a_recording_has_its_own_scale(tmp_path):
    path = session(tmp_path / "a.mcap", [0])
    with pytest.raises(DeviceError, match=r"unknown parameter \['px_mm'\]"):
        open_probe(f"replay:{path}?px_mm=0.1")


def test_what_cannot_be_played_says_so(tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    with pytest.raises(DeviceError, match=r"there is no file .*none\.mp4"):
        open_probe(f"replay:{tmp_path}/none.mp4?px_mm=0.1")
    with pytest.raises(DeviceError, match="not a video that OpenCV can read"):
        open_probe(f"replay:{text}?px_mm=0.1")
    with pytest.raises(DeviceError, match=r"none\.mcap"):
        open_probe(f"replay:{tmp_path}/none.mcap")


def test_without_opencv_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    path = tmp_path / "a.mp4"
    path.write_bytes(b"0")
    with pytest.raises(DeviceError, match="pip install opencv-python-headless"):
        open_probe(f"replay:{path}?px_mm=0.1")


@pytest.mark.skipif(not DATA, reason="SONOMYO_DATA does not name a folder with recordings")
def test_a_real_film_of_a_calf_plays_at_its_61_frames_per_second(clock):
    path = Path(DATA) / "us_mg_dynamometer" / "video" / "p6_isokinetic500_01_push_01.mp4"
    probe = open_probe(f"replay:{path}?px_mm=0.0883&crop=215,45,720,574&lines=180&samples=287")
    frames = play(probe, 70)
    assert len(frames) == 59
    assert np.diff([f.t_ns for f in frames]) == pytest.approx(1e9 / 61, rel=1e-3)
    assert frames[0].data.shape == (180, 287)
    assert probe.geometry.dx_mm == pytest.approx(0.3532)
    # The deep aponeurosis, the brightest thing below the fat, lies 15 to 30 mm deep mid-image.
    profile = frames[0].data[80:100].mean(axis=0)[60:]
    assert 15 < (60 + profile.argmax()) * probe.geometry.dz_mm < 30
