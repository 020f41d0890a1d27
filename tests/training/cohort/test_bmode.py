import dataclasses
import math

import numpy as np
import pytest
import scipy.interpolate
import scipy.ndimage

from training.cohort.bmode import render
from training.cohort.participant import participant
from training.cohort.scene import (
    DEPTH_MM,
    LINES,
    SAMPLES,
    WIDTH_MM,
    grid,
    make_scene,
    maps,
    place,
    pose,
)

DX_MM, DZ_MM = WIDTH_MM / LINES, DEPTH_MM / SAMPLES
PEOPLE = (0, 1, 3, 7)


@pytest.fixture(scope="module")
def scenes():
    return {number: make_scene(participant(number)) for number in PEOPLE}


@pytest.fixture(scope="module")
def scene(scenes):
    return scenes[1]


def muscles(scene, pennation_deg):
    """Straight fascicles at these angles: length, angle, thickness of (MG, SOL)."""
    p = scene.person
    thickness = np.array([p.mg.thickness_mm, p.sol.thickness_mm])
    return thickness / np.sin(np.radians(pennation_deg)), np.array(pennation_deg), thickness


def streak_deg(image, inside):
    """Mean direction of streaks by the structure tensor, positive = descending to the right."""
    picture = scipy.ndimage.gaussian_filter(image.astype(float), 1.0)
    gx, gz = np.gradient(picture, DX_MM, DZ_MM)
    xx, zz, xz = (float((a * b)[inside].mean()) for a, b in ((gx, gx), (gz, gz), (gx, gz)))
    steepest = 0.5 * math.atan2(2 * xz, xx - zz)  # across the streaks
    return (math.degrees(steepest) + 180) % 180 - 90


def inner(region, pixels=4):
    """A muscle without its rims, where the sheets' glare reaches."""
    return scipy.ndimage.binary_erosion(region, iterations=pixels)


def test_a_picture_depends_on_person_moment_and_frame_alone(scenes, scene):
    now = muscles(scene, (20.0, 25.0))
    image = render(scene, *now, 0.2, frame=5)
    assert image.shape == (LINES, SAMPLES)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, render(make_scene(participant(1)), *now, 0.2, frame=5))

    again = render(scene, *now, 0.2, frame=6).astype(float)
    assert 0 < np.abs(again - image).mean() < 8  # the same tissue, with a hand's tremor
    other = render(scenes[0], *muscles(scenes[0], (20.0, 25.0)), 0.2, frame=5)
    assert np.abs(other.astype(float) - image).mean() > 12


def test_rendering_leaves_the_scene_as_it_was(scene):
    now = muscles(scene, (20.0, 25.0))
    first = render(scene, *now, 0.0, frame=1)
    render(scene, *muscles(scene, (30.0, 35.0)), 0.8, frame=2)
    np.testing.assert_array_equal(render(scene, *now, 0.0, frame=1), first)


def test_streaks_in_the_picture_follow_the_asked_pennation():
    """In legs whose fascicles show up well; speckle, wider than deep, flattens the others'."""
    asked, mg_deg, sol_deg = [], [], []
    for number in PEOPLE:
        p = participant(number)
        clear = dataclasses.replace(p.tissue, fascicle_db=22.0, visible=1.2)
        scene = make_scene(dataclasses.replace(p, tissue=clear))
        sheets_deg = np.degrees(np.arctan(scene.slope))
        for angle in (16.0, 22.0, 28.0, 34.0):
            now = muscles(scene, (angle, angle))
            image, (_, mg, sol) = render(scene, *now, 0.0, frame=1), maps(scene, *now)
            asked.append(angle)
            mg_deg.append(streak_deg(image, inner(mg)) - sheets_deg[:2].mean())
            sol_deg.append(-streak_deg(image, inner(sol)) + sheets_deg[1:].mean())
    assert np.corrcoef(asked, mg_deg)[0, 1] > 0.9
    assert np.abs(np.array(mg_deg) - asked).mean() < 4
    assert np.corrcoef(asked, sol_deg)[0, 1] > 0.8
    assert np.min(sol_deg) > 5  # the other way round than in MG


def test_speckle_moves_with_the_tissue(scene):
    """A moment later, each grey value is found where its tissue went."""
    before, after = muscles(scene, (20.0, 25.0)), muscles(scene, (23.0, 28.0))
    one, two = (render(scene, *m, 0.0, frame=1).astype(float) for m in (before, after))
    x, z = grid(LINES, SAMPLES)
    was, now = (place(scene, pose(scene, *m, 0.0), x, z) for m in (before, after))
    mg = maps(scene, *after)[1]
    inside = inner(mg, 6)
    found = scipy.interpolate.griddata(
        np.stack([was.u_mm.ravel(), 3 * was.w_mm.ravel()], axis=1),
        one.ravel(),
        (now.u_mm[inside], 3 * now.w_mm[inside]),
    )
    known = np.isfinite(found)
    moved = np.corrcoef(found[known], two[inside][known])[0, 1]
    stayed = np.corrcoef(one[inside][known], two[inside][known])[0, 1]
    assert moved > 0.75
    assert moved > stayed + 0.2


def test_bright_sheets_lie_where_the_map_says(scenes):
    for scene in scenes.values():
        now = muscles(scene, (20.0, 25.0))
        image = render(scene, *now, 0.0, frame=1).astype(float)
        sheet, mg, sol = maps(scene, *now).astype(bool)
        assert image[sheet].mean() > 2 * image[inner(mg, 2)].mean()
        assert image[sheet].mean() > 2 * image[inner(sol, 2)].mean()
        band = scipy.ndimage.binary_dilation(sheet, np.ones((1, 3)))  # half a pulse is a pixel
        hits = []
        for line in range(LINES):
            # from the middle of one muscle to that of the other the sheets are brightest
            inside = slice(*(int(np.flatnonzero(m[line]).mean()) for m in (mg, sol)))
            hits.append(band[line, inside][image[line, inside].argmax()])
        assert np.mean(hits) > 0.97


def test_an_active_calf_is_darker_and_soleus_most_of_all(scene):
    now = muscles(scene, (22.0, 27.0))
    _, mg, sol = maps(scene, *now).astype(bool)
    rest, push = (render(scene, *now, a, frame=1).astype(float) for a in (0.0, 1.0))
    assert rest[mg].mean() > push[mg].mean()
    assert rest[sol].mean() - push[sol].mean() > rest[mg].mean() - push[mg].mean()


def test_gain_brightens_and_never_wraps_around(scene):
    p = scene.person
    loud = dataclasses.replace(
        p, tissue=dataclasses.replace(p.tissue, gain_db=p.tissue.gain_db + 9)
    )
    now = muscles(scene, (22.0, 27.0))
    brighter = render(dataclasses.replace(scene, person=loud), *now, 0.0, frame=1).astype(int)
    assert (brighter >= render(scene, *now, 0.0, frame=1)).all()


@pytest.mark.parametrize("activation", [-0.1, 1.2, math.nan])
def test_activation_is_a_share(scene, activation):
    with pytest.raises(ValueError, match="pass a share"):
        render(scene, *muscles(scene, (22.0, 27.0)), activation, frame=0)
