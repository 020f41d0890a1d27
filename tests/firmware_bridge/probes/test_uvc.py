import errno
import json

import numpy as np
import pytest

from firmware_bridge.probes import uvc, v4l2
from firmware_bridge.probes.pixels import ruler_hash
from firmware_bridge.probes.uvc import open_uvc
from firmware_bridge.types import DeviceError

W, H = 16, 8
NOW_NS = 50_000_000_000
PX = "px_mm=0.1"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    class Clock:
        now_ns = NOW_NS + 2_000_000

        def monotonic_ns(self):
            return self.now_ns

    fake = Clock()
    monkeypatch.setattr(uvc, "time", fake)
    monkeypatch.setattr(v4l2, "time", fake)
    return fake


def scene(i=0, w=W, h=H):
    return np.random.default_rng(i).integers(0, 256, (h, w), np.uint8)


def opened(kernel, query=PX):
    if not kernel.pictures:
        kernel.show(scene())
    return open_uvc(f"uvc:/dev/video9?{query}", kernel)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("fourcc", ["GREY", "YUYV", "UYVY", "NV12"])
def test_brightness_is_found_in_every_format(v4l2_driver, fourcc, padding):
    kernel = v4l2_driver((fourcc,), padding=padding)
    probe = opened(kernel)
    kernel.show(scene(1), sequence=1)
    frame = probe.read(0.1)
    np.testing.assert_array_equal(frame.data, scene(1).T)
    assert (frame.seq, frame.t_ns, probe.live) == (0, NOW_NS, True)
    assert not frame.data.flags.writeable
    assert not any(probe.counters.values())


def test_frames_outlive_their_buffers(v4l2_driver):
    kernel = v4l2_driver()
    probe = opened(kernel)
    frames = []
    for i in range(6):
        kernel.show(scene(i), sequence=i)
        frames.append(probe.read(0.1))
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.data, scene(i).T)
    assert len(kernel.memory) == 2
    assert sorted(kernel.queued) == [0, 1]


def test_the_least_costly_format_is_preferred_and_another_can_be_asked_for(v4l2_driver):
    kernel = v4l2_driver(("MJPG", "NV12", "YUYV", "GREY"))
    opened(kernel).close()
    assert kernel.fourcc == "GREY"
    opened(kernel, f"{PX}&format=NV12")
    assert kernel.fourcc == "NV12"


def test_nothing_yet_is_none(v4l2_driver):
    probe = opened(v4l2_driver())
    assert probe.read(0.0) is None


def test_a_skipped_picture_is_a_gap_and_the_counter_wraps(v4l2_driver):
    kernel = v4l2_driver()
    probe = opened(kernel)
    for sequence in (0xFFFF_FFFE, 0xFFFF_FFFF, 0, 3):
        kernel.show(scene(), sequence=sequence)
    assert [probe.read(0.1).seq for _ in range(4)] == [0, 1, 2, 5]
    assert probe.counters["skipped"] == 2


@pytest.mark.parametrize(
    ("kernel_ns", "flags"),
    [
        (NOW_NS, 0x0000),  # an unknown clock
        (NOW_NS + 10_000_000_000, 0x2000),  # the future
        (NOW_NS - 10_000_000_000, 0x2000),  # long ago: some clock that starts anew
        (0, 0x2000),
    ],
)
def test_a_time_stamp_that_cannot_be_is_replaced_by_arrival(v4l2_driver, clock, kernel_ns, flags):
    kernel = v4l2_driver()
    probe = opened(kernel)
    clock.now_ns += 100
    kernel.show(scene(), kernel_ns=kernel_ns, flags=flags)
    kernel.coming, kernel.pictures = kernel.pictures, []
    assert probe.read(0.1).t_ns == clock.now_ns


def test_an_unstamped_picture_that_lay_ready_is_not_thought_younger_than_it_may_be(
    v4l2_driver, clock
):
    kernel = v4l2_driver()
    probe = opened(kernel)
    free_ns = clock.now_ns
    kernel.show(scene(), flags=0)
    clock.now_ns += 3_000_000_000  # nobody read
    assert probe.read(0.1).t_ns == free_ns


def test_damaged_and_short_pictures_are_dropped_and_counted(v4l2_driver):
    kernel = v4l2_driver()
    probe = opened(kernel)
    kernel.show(scene(), sequence=0, flags=0x2040)
    kernel.show(scene(), sequence=1, cut=100)
    kernel.show(scene(), sequence=2, cut=0)
    kernel.show(scene(3), sequence=3)
    assert [probe.read(0.1) for _ in range(3)] == [None] * 3
    assert probe.read(0.1).seq == 3
    assert (probe.counters["damaged"], probe.counters["short"]) == (1, 2)
    assert sorted(kernel.queued) == [0, 1]


def ruled(every):
    picture = np.zeros((H, W), np.uint8)
    picture[::every, 12:] = 255
    return picture


@pytest.fixture
def calibration(tmp_path):
    path = tmp_path / "c.json"
    ruler = {"rect": [12, 0, 4, H], "sha256": ruler_hash(ruled(4), (12, 0, 4, H))}
    content = {"crop": [0, 0, 12, H], "mm_per_px_x": 0.1, "mm_per_px_y": 0.1, "ruler": ruler}
    path.write_text(json.dumps(content))
    return path


def test_pictures_of_another_depth_are_dropped_until_it_is_set_back(v4l2_driver, calibration):
    kernel = v4l2_driver()
    kernel.show(ruled(4))
    probe = opened(kernel, f"calibration={calibration}")
    for i, every in enumerate([4, 2, 2, 4]):
        kernel.show(ruled(every), sequence=i)
    got = [probe.read(0.1) for _ in range(4)]
    assert [f and f.seq for f in got] == [0, None, None, 3]
    assert probe.counters["ruler_changed"] == 2


def test_black_pictures_of_a_warming_grabber_are_waited_for(v4l2_driver, calibration):
    kernel = v4l2_driver()
    for i in range(5):
        kernel.show(np.zeros((H, W), np.uint8), sequence=i)
    kernel.show(ruled(4), sequence=5)
    probe = opened(kernel, f"calibration={calibration}")
    assert not any(probe.counters.values())


def test_starting_on_another_depth_is_refused_with_the_new_hash(v4l2_driver, calibration):
    kernel = v4l2_driver()
    for i in range(60):
        kernel.show(ruled(2), sequence=i)
    with pytest.raises(DeviceError, match=ruler_hash(ruled(2), (12, 0, 4, H))):
        opened(kernel, f"calibration={calibration}")
    assert not kernel.open_fd


def test_no_signal_is_said_at_once_and_the_device_is_released(v4l2_driver):
    kernel = v4l2_driver()
    with pytest.raises(DeviceError, match="is there a signal"):
        open_uvc(f"uvc:/dev/video9?{PX}", kernel)
    assert (kernel.open_fd, kernel.streaming) == (False, False)
    assert all(m.closed for m in kernel.memory)


def test_a_grabber_that_only_sends_damage_is_refused(v4l2_driver):
    kernel = v4l2_driver()
    for i in range(60):
        kernel.show(scene(), sequence=i, cut=10)
    with pytest.raises(DeviceError, match="every picture is damaged"):
        open_uvc(f"uvc:/dev/video9?{PX}", kernel)


def test_unplugging_is_reported_and_closing_afterwards_is_quiet(v4l2_driver):
    kernel = v4l2_driver()
    probe = opened(kernel)
    kernel.gone = True
    with pytest.raises(DeviceError, match="plug it in"):
        probe.read(0.1)
    probe.close()
    probe.close()
    assert not kernel.open_fd


def test_closing_stops_the_stream(v4l2_driver):
    kernel = v4l2_driver()
    probe = opened(kernel)
    assert kernel.streaming
    probe.close()
    assert (kernel.streaming, kernel.open_fd) == (False, False)


@pytest.mark.parametrize(
    ("driver", "query", "message"),
    [
        ({"caps": 0x04A0_0000}, PX, "two nodes, try both"),  # a metadata node
        ({"formats": ("H264",)}, PX, r"offers \['H264'\]"),
        ({"formats": ("YUYV",)}, f"{PX}&format=GREY", r"offers \['YUYV'\]"),
        ({}, f"{PX}&size=4000x3000", "gives YUYV 1920x1080 instead"),
        ({}, f"{PX}&size=big", "size"),
        ({"fps": 5.0}, f"{PX}&fps=60", "gives 5 pictures/s at 16x8"),
        ({}, f"{PX}&zoom=2", r"unknown parameter \['zoom'\]"),
        ({}, "crop=0,0,4,4", "say how large a pixel is"),
    ],
)
def test_what_the_grabber_cannot_do_is_refused_and_it_is_released(
    v4l2_driver, driver, query, message
):
    kernel = v4l2_driver(**driver)
    with pytest.raises(DeviceError, match=message):
        opened(kernel, query)
    assert not kernel.open_fd


def test_size_and_rate_are_asked_for(v4l2_driver):
    kernel = v4l2_driver(fps=59.94, size=(640, 480))
    kernel.show(scene(0, 32, 16))
    probe = open_uvc(f"uvc:/dev/video9?{PX}&size=32x16&fps=60", kernel)
    assert (probe.geometry.lines, probe.geometry.samples) == (32, 16)
    assert 22 in kernel.calls


def test_a_device_that_is_busy_or_missing_names_the_remedy(v4l2_driver):
    kernel = v4l2_driver()
    kernel._8 = _busy
    with pytest.raises(DeviceError, match="close other programs"):
        opened(kernel)
    assert not kernel.open_fd
    kernel.gone = True
    with pytest.raises(DeviceError, match="plug the grabber in"):
        opened(kernel)


def _busy(data):
    raise OSError(errno.EBUSY, "Device or resource busy")


def test_motion_jpeg_is_decoded(v4l2_driver):
    cv2 = pytest.importorskip("cv2")
    picture = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (H, 1))
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    kernel = v4l2_driver(("MJPG",))
    for sequence, content in enumerate([jpeg, jpeg, b"\xff\xd8 torn"]):
        kernel.show(content, sequence)
    probe = opened(kernel, f"{PX}&format=MJPG")
    np.testing.assert_allclose(probe.read(0.1).data, picture.T, atol=2)
    assert probe.read(0.1) is None
    assert probe.counters["damaged"] == 1


def test_motion_jpeg_without_opencv_says_what_to_install(v4l2_driver, monkeypatch):
    monkeypatch.setattr(uvc.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match="pip install opencv-python-headless"):
        opened(v4l2_driver(("MJPG", "YUYV")), f"{PX}&format=MJPG")


def test_what_is_not_a_video_device_is_refused_by_the_real_kernel():
    with pytest.raises(DeviceError, match="/dev/null"):
        open_uvc(f"uvc:/dev/null?{PX}")
    with pytest.raises(DeviceError, match="uvc:/dev/video0"):
        open_uvc(f"uvc:/dev/no-such-video?{PX}")
