import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.address import Address
from firmware_bridge.probes.pixels import Pixels, ruler_hash, take_pixels
from firmware_bridge.types import DeviceError

RNG = np.random.default_rng(1)
PICTURE = RNG.integers(0, 256, (40, 60), np.uint8)


def pixels_of(query, size=(60, 40)):
    address = Address(f"uvc:/dev/video0?{query}")
    pixels = take_pixels(address, *size)
    address.done()
    return pixels


def calibration(tmp_path, **changes):
    path = tmp_path / "calf.json"
    content = {"crop": [10, 4, 24, 30], "mm_per_px_x": 0.1, "mm_per_px_y": 0.2} | changes
    path.write_text(json.dumps(content))
    return path


def test_lines_run_across_the_picture_and_samples_down():
    frame = pixels_of("px_mm=0.1").cut(PICTURE)
    assert frame.shape == (60, 40)
    assert frame[7, 3] == PICTURE[3, 7]


def test_a_crop_is_cut_and_scaled_to_block_means():
    pixels = pixels_of("px_mm=0.1&crop=10,4,24,30&lines=6&samples=15")
    frame = pixels.cut(PICTURE)
    assert frame[2, 5] == round(PICTURE[14:16, 18:22].mean())
    g = pixels.geometry
    assert (g.kind, g.lines, g.samples) == ("bmode", 6, 15)
    assert (g.dx_mm, g.dz_mm) == (pytest.approx(0.4), pytest.approx(0.2))


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 5), st.integers(1, 5), st.data())
@settings(max_examples=50, deadline=None)
def test_means_are_those_of_the_blocks_rounded(lines, samples, across, down, data):
    w, h = lines * across, samples * down
    flat = data.draw(st.binary(min_size=w * h, max_size=w * h))
    picture = np.frombuffer(flat, np.uint8).reshape(h, w)
    frame = Pixels(w, h, (0, 0, w, h), 1, 1, lines, samples).cut(picture)
    exact = picture.reshape(samples, down, lines, across).mean(axis=(1, 3)).T
    np.testing.assert_array_equal(frame, np.floor(exact + 0.5))


def test_large_white_blocks_do_not_overflow():
    white = np.full((600, 600), 255, np.uint8)
    assert (Pixels(600, 600, (0, 0, 600, 600), 1, 1, 1, 1).cut(white) == 255).all()


@pytest.mark.parametrize("query", ["px_mm=1", "px_mm=1&lines=30&samples=20"])
def test_a_frame_does_not_change_with_the_picture(query):
    picture = PICTURE.copy()
    frame = pixels_of(query).cut(picture)
    before = frame.copy()
    picture[:] = 0
    np.testing.assert_array_equal(frame, before)
    assert not frame.flags.writeable


def test_a_calibration_file_has_its_own_scale_for_each_axis(tmp_path):
    g = pixels_of(f"calibration={calibration(tmp_path)}&lines=12").geometry
    assert (g.lines, g.samples) == (12, 30)
    assert (g.dx_mm, g.dz_mm) == (pytest.approx(0.2), pytest.approx(0.2))


def test_another_ruler_is_noticed_and_noise_is_not(tmp_path):
    picture = np.zeros((40, 60), np.uint8)
    picture[::5, 50:54] = 230  # ticks
    ruler = {"rect": [48, 0, 10, 40], "sha256": ruler_hash(picture, (48, 0, 10, 40))}
    pixels = pixels_of(f"calibration={calibration(tmp_path, ruler=ruler)}")
    noisy = picture + RNG.integers(0, 20, picture.shape, np.uint8)
    other = np.zeros_like(picture)
    other[::6, 50:54] = 230
    assert pixels.ruler_fits(picture)
    assert pixels.ruler_fits(noisy)
    assert not pixels.ruler_fits(other)
    assert pixels.complaint(noisy) == ""
    assert f'"sha256": "{ruler_hash(other, (48, 0, 10, 40))}"' in pixels.complaint(other)


def test_without_a_ruler_every_depth_is_accepted():
    assert pixels_of("px_mm=0.1").ruler_fits(PICTURE)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "say how large a pixel is: px_mm= or calibration="),
        ("px_mm=0", "px_mm"),
        ("px_mm=inf", "px_mm"),
        ("px_mm=1&crop=1,2,3", "crop"),
        ("px_mm=1&crop=50,0,20,10", "not inside the picture, 60 x 40"),
        ("px_mm=1&crop=-1,0,20,10", "not inside"),
        ("px_mm=1&crop=0,0,0,10", "not inside"),
        ("px_mm=1&lines=7", r"lines=7 does not divide the 60 pixels .* \[60, 30, 20, 15, 12, 10\]"),
        ("px_mm=1&samples=80", "samples=80 does not divide"),
        ("px_mm=1&lines=-1", "lines"),
    ],
)
def test_what_does_not_fit_the_picture_says_what_would(query, message):
    with pytest.raises(DeviceError, match=message):
        pixels_of(query)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": [1, 2, 3]}, "is not a calibration"),
        ({"crop": None}, "is not a calibration"),
        ({"mm_per_px_x": 0}, "must be above 0"),
        ({"mm_per_px_y": "wide"}, "is not a calibration"),
        ({"px_mm": 1}, r"unknown entries \['px_mm'\]"),
        ({"ruler": {"rect": [0, 0, 5, 5]}}, "sha256"),
        ({"ruler": {"rect": [58, 0, 5, 5], "sha256": ""}}, "ruler .* is not inside the picture"),
    ],
)
def test_a_broken_calibration_is_refused(tmp_path, changes, message):
    with pytest.raises(DeviceError, match=message):
        pixels_of(f"calibration={calibration(tmp_path, **changes)}")


def test_scale_in_two_places_is_refused(tmp_path):
    with pytest.raises(DeviceError, match="leave them"):
        pixels_of(f"px_mm=1&calibration={calibration(tmp_path)}")


def test_a_missing_calibration_is_named(tmp_path):
    with pytest.raises(DeviceError, match=r"cannot read the calibration .*none\.json"):
        pixels_of(f"calibration={tmp_path}/none.json")
