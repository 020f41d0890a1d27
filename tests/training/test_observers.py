import math
import os

import numpy as np
import pytest
from scipy import ndimage, stats

from edge.architecture import architecture
from edge.bundle import list_bundles
from edge.pictures import Picture
from edge.segment import SEGMENTER, Segmentation
from training.observers import (
    MG,
    STILL_SETS,
    Labelled,
    labelled,
    manual,
    observer_table,
    read,
)

DATA = os.environ.get("SONOMYO_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SONOMYO_DATA is not set")

PICTURES = {"gl_jump": 14, "gl_rom": 9, "gm_static": 9, "vl": 18}


def drawn(mm=0.1, **changes):
    """A picture without content on which three observers agree, unless told otherwise."""
    picture = Picture("x", 0, math.nan, np.zeros((600, 500), np.uint8), mm, mm)
    labels = {
        "fascicle_deg": np.full(3, 20.0),
        "superficial_deg": np.full(3, -2.0),
        "height_px": np.full(3, 180.0),
    }
    return Labelled("gm_static", picture, **labels | changes)


def sheets_by_eye(image, upper, lower):
    """Maps from the brightest line across each of two ranges of depth: enough if they are clear."""
    soft = ndimage.gaussian_filter(image.astype(float), (6, 2))
    x = np.arange(10, len(image) - 10, 10)
    lines = []
    for first, last in (upper, lower):
        slope, depth, *_ = stats.theilslopes(first + soft[x, first:last].argmax(axis=1), x)
        lines.append((depth + slope * np.arange(len(image)))[:, None])
    z = np.arange(image.shape[1])
    bands = (abs(z - lines[0]) < 8) | (abs(z - lines[1]) < 8)
    inside = (z > lines[0] + 8) & (z < lines[1] - 8)
    return np.stack([bands, inside, np.zeros_like(inside)]).astype(np.float32)


def test_manual_labels_become_millimetres_by_the_formulas_of_their_authors():
    found = manual(drawn())
    thickness = 18.0 * math.cos(math.radians(-2.0))
    assert found.pennation_deg == pytest.approx([22.0] * 3)
    assert found.thickness_mm == pytest.approx([thickness] * 3)
    assert found.fascicle_mm == pytest.approx([thickness / math.sin(math.radians(22.0))] * 3)
    assert manual(drawn(mm=math.nan)).thickness_mm == pytest.approx([10 * thickness] * 3)


def test_our_sheets_are_read_at_the_right_edge_where_the_observers_read_theirs():
    x, z = np.arange(600)[:, None], np.arange(500)[None, :]
    top, end = 60 + 0.02 * x, 220 + 0.05 * x
    inside = (z > top) & (z < end)
    bands = (abs(z - top) < 8) | (abs(z - end) < 8)
    rng = np.random.default_rng(0)
    streaks = ndimage.gaussian_filter1d(rng.standard_normal(2000), 4)
    image = 100 + 300 * streaks[(z - 0.4 * x + 400).astype(int)]
    maps = np.stack([bands, inside, np.zeros_like(inside)]).astype(np.float32)
    picture = Picture("x", 0, math.nan, np.clip(image, 0, 255).astype(np.uint8), 0.1, 0.1)
    found = read(architecture(picture.image, maps, 0.1, 0.1), picture)
    tilt = math.cos(math.atan(0.02))
    assert found.thickness_mm == pytest.approx((160 + 0.03 * 600) * 0.1 * tilt, abs=0.1)
    nothing = read(architecture(picture.image, 0 * maps, 0.1, 0.1), picture)
    assert np.isnan(nothing).all()


@needs_data
@pytest.mark.parametrize("name", STILL_SETS)
def test_every_still_has_three_observers_and_fascicles_that_descend_to_the_right(name):
    pictures = list(labelled((name,)))
    assert len(pictures) == PICTURES[name]
    for one in pictures:
        found = manual(one)
        assert one.picture.image.std() > 10  # ultrasound, not the border of the screen
        assert len(one.fascicle_deg) == 3
        assert (found.pennation_deg > 5).all()
        if math.isfinite(one.picture.dz_mm):
            assert ((found.thickness_mm > 8) & (found.thickness_mm < 30)).all()


@needs_data
def test_our_fascicles_are_as_near_to_the_observers_as_they_are_to_each_other():
    rows = observer_table(lambda image: sheets_by_eye(image, (20, 90), (290, 420)), ("vl",))
    assert [r.unit for r in rows] == ["deg", "deg", "deg", "px", "px"]
    (angle,) = [r for r in rows if r.quantity == "fascicle_deg"]
    assert (angle.pictures, angle.measured) == (18, 18)
    assert angle.rmse < angle.observers_rmse < 3.0


@needs_data
@pytest.mark.skipif(SEGMENTER not in list_bundles(), reason=f"{SEGMENTER} does not ship yet")
def test_with_the_shipped_segmenter_nobody_has_to_draw():
    segment = Segmentation()
    rows = {r.quantity: r for r in observer_table(segment, ("gm_static",))}
    segment.close()
    assert rows["pennation_deg"].measured == 9
    assert rows["pennation_deg"].rmse < 1.5 * rows["pennation_deg"].observers_rmse
    assert rows["thickness_mm"].rmse < 1.5 * rows["thickness_mm"].observers_rmse


@needs_data
def test_what_cannot_be_measured_is_counted_and_not_scored():
    for row in observer_table(lambda image: np.zeros((3, 64, 64), np.float32), ("gl_rom",)):
        assert (row.pictures, row.measured) == (9, 0)
        assert np.isnan([row.rmse, row.bias, row.observers_rmse]).all()


@needs_data
def test_the_video_labels_lie_on_its_frames():
    one = next(iter(labelled((MG,))))
    assert (one.picture.file, one.picture.frame) == ("p6_isokinetic030_01_push_01", 9)
    assert one.picture.image.shape == (720, 574)
    assert one.fascicle_deg == pytest.approx([17.8, 14.76, 13.95])
    assert manual(one).thickness_mm == pytest.approx([19.1] * 3, abs=0.2)
