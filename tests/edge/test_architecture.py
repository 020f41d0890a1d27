import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from edge.architecture import CLEAR, architecture
from edge.orientation import direction
from edge.sheets import borders, sheet
from firmware_bridge.probes import calf
from firmware_bridge.probes.calf import bmode_geometry, make_calf, render

DATA = os.environ.get("SONOMYO_DATA")
WIDTH_MM, DEPTH_MM = 60.0, 50.0


def speckle(rng, shape, dx_mm, dz_mm):
    """Brightness of tissue without structure: drawn out across the beam, as scanners do."""
    white = rng.standard_normal((2, *shape))
    power = (ndimage.gaussian_filter(white, (0, 0.5 / dx_mm, 0.2 / dz_mm)) ** 2).sum(axis=0)
    return 60 + 12 * np.log10(power / power.mean() + 1e-3)


def muscle(pennation_deg, tilt_deg=0.0, wedge_deg=0.0, lines=400, samples=330, seed=0):
    """A picture, its exact maps and its pixels: one muscle, 18 mm thick in the middle, from 6 mm.

    ``tilt_deg`` turns everything, ``wedge_deg`` the deep sheet against the superficial one.
    """
    rng = np.random.default_rng(seed)
    dx, dz = WIDTH_MM / lines, DEPTH_MM / samples
    x = ((np.arange(lines) + 0.5) * dx)[:, None]
    z = ((np.arange(samples) + 0.5) * dz)[None, :]
    middle = x - WIDTH_MM / 2
    top = 8.0 + middle * math.tan(math.radians(tilt_deg))
    end = 26.0 + middle * math.tan(math.radians(tilt_deg + wedge_deg))
    steep = math.radians(tilt_deg + pennation_deg)
    across_mm = z * math.cos(steep) - x * math.sin(steep)
    streaks = ndimage.gaussian_filter1d(rng.standard_normal(4000), 8)  # of 0.05 mm each
    streaks /= streaks.std()
    image = speckle(rng, (lines, samples), dx, dz)
    image += 15 * streaks[((across_mm + 90) / 0.05).astype(int) % 4000]
    inside = (z > top) & (z < end)
    bands = ((z > top - 1.2) & (z < top)) | ((z > end) & (z < end + 1.2))
    image[bands] = 220
    maps = np.stack([bands, inside, np.zeros_like(inside)]).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8), maps, dx, dz


@settings(max_examples=10, deadline=None)
@given(
    pennation_deg=st.floats(10, 50),
    tilt_deg=st.floats(-4, 4),
    lines=st.integers(128, 500),
    samples=st.integers(128, 450),
)
def test_pennation_is_that_of_the_streaks_on_any_raster(pennation_deg, tilt_deg, lines, samples):
    found = architecture(*muscle(pennation_deg, tilt_deg, lines=lines, samples=samples))
    assert found.pennation_deg == pytest.approx(pennation_deg, abs=2.0)
    assert found.fascicle_deg == pytest.approx(pennation_deg + tilt_deg, abs=2.0)
    assert found.superficial_deg == pytest.approx(tilt_deg, abs=0.5)
    sample_mm = DEPTH_MM / samples  # maps of 0 and 1 are no finer
    thickness_mm = 18 * math.cos(math.radians(tilt_deg))
    assert found.thickness_mm == pytest.approx(thickness_mm, abs=1.01 * sample_mm)
    assert found.quality > CLEAR


def test_between_parallel_sheets_length_is_thickness_over_the_sine_of_pennation():
    found = architecture(*muscle(22.0, tilt_deg=3.0))
    length = found.thickness_mm / math.sin(math.radians(found.pennation_deg))
    assert found.fascicle_mm == pytest.approx(length, rel=0.02)


@pytest.mark.parametrize("wedge_deg", [-5.0, 5.0])
def test_a_fascicle_ends_on_both_sheets_where_they_are_not_parallel(wedge_deg):
    found = architecture(*muscle(22.0, wedge_deg=wedge_deg))
    assert found.deep_deg - found.superficial_deg == pytest.approx(wedge_deg, abs=0.3)
    for (x_mm, z_mm), end in zip(found.ends_mm, (found.superficial, found.deep), strict=True):
        assert z_mm == pytest.approx(end.at(x_mm), abs=1e-6)
    assert math.dist(*found.ends_mm) == pytest.approx(found.fascicle_mm)


@pytest.mark.parametrize("seed", range(6))
def test_speckle_has_no_fascicles(seed):
    image, maps, dx, dz = muscle(20.0, seed=seed)
    plain = speckle(np.random.default_rng(seed), image.shape, dx, dz)
    found = architecture(plain, maps, dx, dz)
    assert math.isnan(found.pennation_deg)
    assert math.isnan(found.fascicle_mm)
    assert found.quality == 0
    assert found.thickness_mm == pytest.approx(18.0, abs=0.3)  # the sheets are still there


def test_fascicles_that_run_the_wrong_way_are_not_measured():
    image, maps, dx, dz = muscle(20.0)
    found = architecture(image[::-1], maps[:, ::-1], dx, dz)
    assert math.isnan(found.fascicle_deg)
    assert found.quality == 0


@pytest.mark.parametrize("missing", ["sheets", "muscle", "everything", "lower sheet"])
def test_what_the_maps_do_not_show_is_not_measured(missing):
    image, maps, dx, dz = muscle(20.0)
    if missing == "lower sheet":  # the muscle goes on to the lower end of the picture
        maps[0, :, 150:] = 0
        maps[1, :, 100:] = 1
    maps[{"sheets": [0], "muscle": [1], "everything": [0, 1, 2]}.get(missing, [])] = 0
    found = architecture(image, maps, dx, dz)
    assert math.isnan(found.thickness_mm)
    assert math.isnan(found.fascicle_mm)
    assert found.quality == 0
    if missing == "lower sheet":  # its angle needs no depth
        assert found.pennation_deg == pytest.approx(20.0, abs=1.0)


def test_a_picture_may_be_finer_than_its_maps():
    image, maps, dx, dz = muscle(25.0, tilt_deg=2.0, lines=512, samples=512)
    coarse = maps.reshape(3, 128, 4, 128, 4).mean(axis=(2, 4))
    fine, rough = architecture(image, maps, dx, dz), architecture(image, coarse, dx, dz)
    assert rough.thickness_mm == pytest.approx(fine.thickness_mm, abs=0.1)
    assert rough.fascicle_deg == pytest.approx(fine.fascicle_deg, abs=0.3)
    assert rough.superficial_deg == pytest.approx(fine.superficial_deg, abs=0.1)


def test_soleus_is_a_gastrocnemius_in_a_mirror():
    image, maps, dx, dz = muscle(25.0, tilt_deg=2.0, wedge_deg=1.0)
    mg = architecture(image, maps, dx, dz, "mg")
    sol = architecture(image[::-1], maps[[0, 2, 1], ::-1], dx, dz, "sol")
    assert sol.pennation_deg == pytest.approx(mg.pennation_deg)
    assert sol.fascicle_mm == pytest.approx(mg.fascicle_mm)
    assert sol.fascicle_deg == pytest.approx(-mg.fascicle_deg)
    assert sol.superficial_deg == pytest.approx(-mg.superficial_deg)
    assert sol.deep.at(10.0) == pytest.approx(mg.deep.at(WIDTH_MM - 10.0))
    assert sol.ends_mm[1][0] == pytest.approx(WIDTH_MM - mg.ends_mm[1][0])


def test_another_unit_of_length_scales_lengths_and_leaves_angles():
    mm = architecture(*muscle(25.0, tilt_deg=2.0))
    px = mm.scaled(8.0)
    assert px.fascicle_mm == pytest.approx(8 * mm.fascicle_mm)
    assert math.dist(*px.ends_mm) == pytest.approx(px.fascicle_mm)
    assert px.deep.at(80.0) == pytest.approx(8 * mm.deep.at(10.0))
    assert (px.pennation_deg, px.deep_deg) == (mm.pennation_deg, mm.deep_deg)


def test_a_sheet_ignores_stray_columns_as_the_line_of_theil_and_sen_does():
    rng = np.random.default_rng(1)
    x_mm = np.linspace(0.5, 59.5, 60)
    depth_mm = 10 + 0.05 * x_mm + rng.normal(0, 0.1, 60)
    good = np.arange(60) % 5 > 0
    depth_mm[~good] += 6.0
    everywhere = np.ones((60, 200))
    found = sheet(depth_mm, x_mm, everywhere, 0.25, -1)
    slope, depth, *_ = stats.theilslopes(depth_mm[good], x_mm[good], method="joint")
    assert found.slope == pytest.approx(slope, abs=0.001)
    assert found.depth_mm == pytest.approx(depth, abs=0.05)
    slope, depth = np.polyfit(x_mm[good], depth_mm[good], 1)
    assert found.at(30.0) == pytest.approx(depth + slope * 30.0, abs=0.02)


def test_the_steps_of_a_coarse_map_do_not_flatten_a_sheet():
    x_mm = np.linspace(0.25, 59.75, 120)
    depth_mm = np.round((10 + 0.01 * x_mm) / 0.4) * 0.4  # mostly level, with a step or two
    found = sheet(depth_mm, x_mm, np.ones((120, 125)), 0.4, -1)
    assert found.slope == pytest.approx(0.01, abs=0.004)
    assert stats.theilslopes(depth_mm, x_mm)[0] == 0.0


def test_borders_lie_between_samples_where_the_probability_crosses_one_half():
    region = np.zeros((4, 10))
    region[:, 3:7] = 1.0
    region[:, 2] = 0.25  # a third of the way from sample 2 to 3 it is one half
    region[:, 7] = 0.4
    region[3] = 0.0  # a line without muscle
    region[0, 9] = 0.9  # a speck that is not the muscle
    b = borders(region, dx_mm=1.0, dz_mm=0.5)
    assert b.x_mm == pytest.approx([0.5, 1.5, 2.5, 3.5])
    assert b.top_mm[:3] == pytest.approx((2 + 1 / 3 + 0.5) * 0.5)
    assert b.end_mm[:3] == pytest.approx((6 + 5 / 6 + 0.5) * 0.5)
    assert np.isnan([b.top_mm[3], b.end_mm[3]]).all()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(2, 150), st.integers(2, 150)),
    coarse=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    blur=st.floats(0, 8),
    one=st.sampled_from(["mg", "sol"]),
)
def test_whatever_the_maps_it_is_all_measured_or_of_quality_0(seed, shape, coarse, blur, one):
    rng = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(rng.standard_normal((3, *coarse)), (0, blur, blur))
    maps = 1 / (1 + np.exp(-3 * maps / maps.std()))
    found = architecture(rng.uniform(0, 255, shape), maps, 60 / shape[0], 50 / shape[1], one)
    numbers = (found.thickness_mm, found.pennation_deg, found.fascicle_mm, *found.ends_mm[1])
    assert 0 <= found.quality <= 1
    assert (found.quality > 0) == all(math.isfinite(n) for n in numbers)
    if found.quality:
        assert found.thickness_mm > 0
        assert 0 < found.pennation_deg < 90


def test_arrays_of_other_shapes_are_refused():
    image, maps, dx, dz = muscle(20.0, lines=128, samples=128)
    with pytest.raises(ValueError, match="lines, samples"):
        architecture(image, maps[:2], dx, dz)
    with pytest.raises(ValueError, match="lines, samples"):
        architecture(image[None], maps, dx, dz)


@pytest.mark.parametrize(("lines", "samples"), [(360, 287), (128, 128)])
def test_the_simulated_wearer_is_measured_as_it_was_drawn(lines, samples):
    g = bmode_geometry(lines, samples)
    errors = []
    for seed, (angle_deg, force) in enumerate([(-20, 0), (15, 0.5), (30, 0), (5, 1)]):
        wearer = make_calf(g, seed + 1)
        top = wearer.superficial_mm
        end = top + calf.architecture(wearer, angle_deg, force).thickness_mm + wearer.tilt
        z = wearer.z_mm
        bands = ((z > top - 1.4) & (z < top)) | ((z > end) & (z < end + 1.0))
        inside = (z > top) & (z < end)
        maps = np.stack([bands, inside, np.zeros_like(inside)])
        found = architecture(render(wearer, angle_deg, force), maps, g.dx_mm, g.dz_mm)
        drawn = calf.architecture(wearer, angle_deg, force)
        # The simulation tilts its deep sheet, and its fascicles half as much.
        pennation_deg = found.fascicle_deg - (found.superficial_deg + found.deep_deg) / 2
        errors.append(
            (pennation_deg - drawn.pennation_deg, found.thickness_mm - drawn.thickness_mm)
        )
    pennation, thickness = np.sqrt(np.mean(np.square(errors), axis=0))
    assert pennation < 2.0
    assert thickness < 0.3


@pytest.mark.skipif(not DATA, reason="SONOMYO_DATA is not set")
def test_direction_is_that_of_strokes_drawn_along_fascicles():
    import cv2

    folder = Path(DATA) / "us_masks_dltrack"
    with (folder / "index.csv").open() as f:
        names = [r["file"] for r in csv.DictReader(f) if r["label"] == "fasc"]
    mm_per_px = {512: 0.1, 652: 0.13, 600: 0.1, 688: 0.08, 556: 0.13}  # by rows; roughly
    errors = []
    for name in names:  # fascicles rise to the right in all of them: turn them round
        image = cv2.imread(str(folder / "images" / name), cv2.IMREAD_GRAYSCALE)[:, ::-1].T
        drawn = cv2.imread(str(folder / "masks" / name), cv2.IMREAD_GRAYSCALE)[:, ::-1].T > 0
        pieces, found = ndimage.label(drawn, np.ones((3, 3)))
        strokes = [np.argwhere(pieces == k) for k in range(1, found + 1)]
        strokes = [s for s in strokes if np.ptp(s[:, 0]) > 10]
        slopes = np.array([np.polyfit(s[:, 0], s[:, 1], 1)[0] for s in strokes])
        mine = slopes > 0  # one picture has some of the muscle below, too
        strokes, slopes = [s for s, m in zip(strokes, mine, strict=True) if m], slopes[mine]
        inside = np.zeros(image.shape, np.uint8)
        points = np.concatenate(strokes)[:, ::-1].astype(np.int32)
        cv2.fillConvexPoly(inside, cv2.convexHull(points), 1)
        mm = mm_per_px[image.shape[1]]
        at = direction(image, inside > 0, mm, mm, 4.0, 65.0)
        length = [np.ptp(s[:, 0]) for s in strokes]
        truth = np.degrees(np.average(np.arctan(slopes), weights=length))
        if at.clarity >= CLEAR:
            errors.append(at.angle_deg - truth)
    assert len(errors) >= 12
    assert np.sqrt(np.mean(np.square(errors))) < 2.0
