import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from training.cohort.participant import COHORT
from training.segments import EVAL_GROUP, GROUPS, MARGIN, Segments, derive, drawn, simulated

needs_data = pytest.mark.skipif(
    not os.environ.get("SONOMYO_DATA"), reason="set SONOMYO_DATA to the folder of recordings"
)
LINES, SAMPLES = 40, 100


def bands(*depths, thick=4):
    """A mask with a band below each depth; a pair (depth, lines) is a band of those lines only."""
    mask = np.zeros((LINES, SAMPLES), bool)
    for d in depths:
        depth, lines = d if isinstance(d, tuple) else (d, slice(None))
        mask[lines, depth : depth + thick] = True
    return mask


def runs(row):
    """First and one past the last true sample."""
    (at,) = np.nonzero(row)
    return (int(at[0]), int(at[-1]) + 1) if len(at) else None


def test_the_upper_muscle_lies_between_two_bands_and_nothing_is_known_of_the_lower_one():
    (sheet, mg, sol), (of_sheet, of_mg, of_sol) = derive(bands(10, 50))
    assert (sheet == bands(10, 50)).all()
    assert runs(mg[0]) == (14, 50)
    assert not sol.any()
    assert runs(of_sheet[0]) == (0, 54 + MARGIN * SAMPLES)
    assert of_mg.all()
    assert runs(of_sol[0]) == (0, 54)


def test_a_third_band_ends_the_lower_muscle():
    (_, mg, sol), (of_sheet, _, of_sol) = derive(bands(10, 40, 80))
    assert runs(mg[3]) == (14, 40)
    assert runs(sol[3]) == (44, 80)
    assert of_sol.all()
    assert runs(of_sheet[3]) == (0, 84 + MARGIN * SAMPLES)


def test_where_the_second_band_was_not_drawn_the_muscle_has_no_end():
    drawn_only = slice(10, LINES)
    (_, mg, sol), (_, of_mg, of_sol) = derive(bands(10, (40, drawn_only), 80))
    assert not mg[:10].any()
    assert not sol[:10].any()
    assert runs(of_mg[0]) == runs(of_sol[0]) == (0, 14)  # above the first band, there is neither
    assert of_mg[10:].all()


def test_one_band_bounds_nothing():
    (_, mg, _), (of_sheet, of_mg, _) = derive(bands(10))
    assert not mg.any()
    assert runs(of_mg[0]) == (0, 14)
    assert runs(of_sheet[0]) == (0, 14 + MARGIN * SAMPLES)


def test_no_band_teaches_nothing():
    maps, known = derive(bands())
    assert not maps.any()
    assert not known.any()


def test_a_sliver_is_a_sheet_but_ends_no_muscle():
    (sheet, mg, _), _ = derive(bands(10, (30, slice(0, 5)), 60))
    assert sheet[0, 30]
    assert runs(mg[20]) == (14, 60)


def test_a_band_that_forks_is_one():
    fork = bands(10, 50, (56, slice(15, LINES)))
    (_, mg, sol), _ = derive(fork)
    assert runs(mg[20]) == (14, 50)
    assert not sol.any()


@given(
    st.lists(st.integers(0, SAMPLES - 6), max_size=5),
    st.lists(st.integers(0, LINES), min_size=5, max_size=5),
)
def test_muscles_never_overlap_and_are_known_where_they_are(depths, firsts):
    some = zip(depths, firsts, strict=False)
    (_, mg, sol), known = derive(bands(*((d, slice(first, None)) for d, first in some)))
    assert not (mg & sol).any()
    assert not (mg & ~known[1]).any()
    assert not (sol & ~known[2]).any()


@pytest.fixture(scope="module")
def pictures() -> Segments:
    return drawn(128)


@needs_data
def test_every_drawn_picture_but_one_shows_an_upper_muscle(pictures):
    assert pictures.pictures.shape == (33, 128, 128)
    without = [n for n, m in zip(pictures.names, pictures.maps, strict=True) if not m[1].any()]
    assert without == ["apo_00095"]
    # Of the screen around the picture nothing is left: no column is black from top to bottom.
    assert (pictures.pictures.max(axis=2) > 20).mean() > 0.99


@needs_data
def test_fascicles_of_the_upper_muscle_descend_to_the_right(pictures):
    descends = []
    for picture, maps in zip(pictures.pictures, pictures.maps, strict=True):
        soft = ndimage.gaussian_filter(picture.astype(float), 1.0)
        along, down = np.gradient(soft)
        inside = ndimage.binary_erosion(maps[1], iterations=4)
        descends.append((along * down)[inside].sum() < 0)  # across a streak (1, s): (-s, 1)
    assert np.mean(descends) > 0.9


@needs_data
def test_pictures_that_look_alike_are_in_one_group(pictures):
    import cv2

    small = np.stack([cv2.resize(p, (48, 48), interpolation=cv2.INTER_AREA).ravel()
                      for p in pictures.pictures])  # fmt: skip
    alike = np.corrcoef(small) > 0.8
    apart = pictures.group[:, None] != pictures.group[None, :]
    assert not (alike & apart).any()
    assert alike.sum() > len(alike)  # there are such pictures


def test_groups_hold_every_picture_once():
    numbers = [n for g in GROUPS for n in g]
    assert len(set(numbers)) == len(numbers) == 33
    assert 0 <= EVAL_GROUP < len(GROUPS)


def test_simulated_people_come_with_every_map_and_never_from_the_cohort():
    made = simulated([100, 101], 2)
    assert made.pictures.shape == (4, 128, 128)
    assert made.known.all()
    assert made.maps.any(axis=(2, 3)).all()
    assert made.group.tolist() == [100, 100, 101, 101]
    kept = made.part(made.group == 101)
    assert kept.names == ("participant 101",) * 2
    with pytest.raises(ValueError, match="are the cohort"):
        simulated([100, COHORT - 1], 1)
