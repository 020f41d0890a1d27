import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.cohort.participant import participant
from training.cohort.scene import (
    DEPTH_MM,
    LINES,
    MIDDLE_MM,
    SAMPLES,
    grid,
    make_scene,
    maps,
    place,
    pose,
    sheets,
)
from training.cohort.tissue import Stack

DZ_MM = DEPTH_MM / SAMPLES


@pytest.fixture(scope="module")
def scene():
    return make_scene(participant(1))


def muscles(p, pennation_deg, thicker=1.0):
    """Straight fascicles between sheets as far apart as this person's: length, angle, thickness."""
    thickness = thicker * np.array([p.mg.thickness_mm, p.sol.thickness_mm])
    return thickness / np.sin(np.radians(pennation_deg)), np.array(pennation_deg), thickness


def fascicle_deg(scene, at, x_mm, z_mm):
    """Direction of the line of constant u through a point, positive = descending to the right."""
    h = 0.05
    x = np.array([[x_mm - h], [x_mm], [x_mm + h]], np.float32)
    z = np.array([[z_mm - h, z_mm, z_mm + h]], np.float32)
    u = place(scene, at, x, z).u_mm.astype(float)
    return math.degrees(math.atan2(u[2, 1] - u[0, 1], u[1, 0] - u[1, 2]))


@settings(max_examples=40)
@given(mg=st.floats(12, 45), sol=st.floats(14, 50))
def test_fascicles_make_the_asked_angle_with_their_sheets(scene, mg, sol):
    at = pose(scene, *muscles(scene.person, (mg, sol)), 0.0)
    edge = sheets(scene, at, np.array([[MIDDLE_MM - 1], [MIDDLE_MM], [MIDDLE_MM + 1]], np.float32))

    def tilt_deg(*sides):
        return math.degrees(math.atan(np.mean([float(s[2, 0] - s[0, 0]) / 2 for s in sides])))

    half_mg = float(edge.mg_top[1, 0] + edge.mg_end[1, 0]) / 2
    half_sol = float(edge.sol_top[1, 0] + edge.sol_end[1, 0]) / 2
    drawn_mg = fascicle_deg(scene, at, MIDDLE_MM, half_mg) - tilt_deg(edge.mg_top, edge.mg_end)
    drawn_sol = fascicle_deg(scene, at, MIDDLE_MM, half_sol) - tilt_deg(edge.sol_top, edge.sol_end)
    # ripple of the sheets shears the muscle where it ought to turn it: a little off when steep
    assert drawn_mg == pytest.approx(mg, abs=1.0)
    assert drawn_sol == pytest.approx(180 - sol, abs=1.0)  # SOL descends to the left


def test_muscles_are_as_thick_as_asked_in_the_middle_of_the_picture(scene):
    length, angle, thickness = muscles(scene.person, (20.0, 25.0), thicker=1.1)
    _, mg, sol = maps(scene, length, angle, thickness)[:, LINES // 2]
    tilt = [math.atan(np.mean(scene.slope[k : k + 2])) for k in range(2)]
    assert mg.sum() * DZ_MM * math.cos(tilt[0]) == pytest.approx(thickness[0], abs=DZ_MM)
    if sol[-1] == 0:  # the deep sheet is in the picture
        assert sol.sum() * DZ_MM * math.cos(tilt[1]) == pytest.approx(thickness[1], abs=DZ_MM)


@pytest.mark.parametrize("number", [0, 7])
def test_down_every_line_come_sheet_mg_sheets_sol(number):
    scene = make_scene(participant(number))
    sheet, mg, sol = maps(scene, *muscles(scene.person, (20.0, 25.0)))
    assert sheet.dtype == np.uint8
    assert (sheet + mg + sol <= 1).all()
    code = sheet + 2 * mg + 3 * sol
    for line in code:
        order = [int(k) for k, before in zip(line[1:], line[:-1], strict=True) if k != before]
        assert order[:4] == [1, 2, 1, 3]  # then the deep sheet, if the picture goes that far
    top_mm = sheet[:, : SAMPLES // 3].sum(axis=1) * DZ_MM
    assert np.all((top_mm > 0.7) & (top_mm < 1.7))


@settings(max_examples=20)
@given(angle=st.floats(14, 40), thicker=st.floats(0.9, 1.15))
def test_sheets_keep_their_tissue_whatever_the_muscles_do(scene, angle, thicker):
    at = pose(scene, *muscles(scene.person, (angle, angle), thicker), 0.5)
    for x in (5.0, 30.0, 55.0):
        x_mm = np.array([[x]], np.float32)
        for name, depth in zip(
            ("mg_top", "mg_end", "sol_top", "sol_end"),
            (getattr(scene.stack, f"{k}_mm") for k in ("mg_top", "mg_end", "sol_top", "sol_end")),
            strict=True,
        ):
            z_mm = getattr(sheets(scene, at, x_mm), name)
            assert place(scene, at, x_mm, z_mm).w_mm.item() == pytest.approx(depth, abs=2e-3)


def test_shortening_pulls_the_middle_sheet_proximally_and_leaves_the_deep_one(scene):
    x, z = grid(LINES, SAMPLES)
    p = scene.person
    slack, short = (pose(scene, *muscles(p, a), 0.0) for a in ((18.0, 20.0), (30.0, 32.0)))

    def tissue_u(at, name, above_mm):
        row = int((getattr(sheets(scene, at, x), name)[64, 0] - above_mm) / DZ_MM)
        return place(scene, at, x, z).u_mm[64, row]

    # More distal tissue came to where the probe looks: the sheet moved to the left.
    assert tissue_u(short, "mg_end", 0.5) - tissue_u(slack, "mg_end", 0.5) > 5
    assert abs(tissue_u(short, "sol_end", -1.0) - tissue_u(slack, "sol_end", -1.0)) < 1e-3


def test_active_fascicles_bend_but_still_span_the_muscle(scene):
    now = muscles(scene.person, (25.0, 30.0))
    straight, bent = pose(scene, *now, 0.0), pose(scene, *now, 1.0)
    assert straight.bend_mm == (0, 0)
    assert bent.run_mm == straight.run_mm
    assert bent.bend_mm[0] > 0.5


def test_numbers_in_another_unit_or_order_are_refused(scene):
    length, angle, thickness = muscles(scene.person, (20.0, 25.0))
    with pytest.raises(ValueError, match="pass mm and degrees"):
        maps(scene, length, np.radians(angle), thickness)
    with pytest.raises(ValueError, match="do not span"):
        maps(scene, length / 10, angle, thickness)


def test_a_leg_too_thick_for_the_picture_is_refused():
    p = participant(3)
    thick = dataclasses.replace(p, tissue=dataclasses.replace(p.tissue, fat_mm=30.0))
    with pytest.raises(ValueError, match="less fat"):
        make_scene(thick)


def test_both_muscles_of_the_whole_cohort_are_in_the_picture():
    for number in [*range(32), *range(100, 250)]:
        p = participant(number)
        both = [(m.thickness_mm, m.pennation_opt_deg) for m in (p.mg, p.sol)]
        stack = Stack.of(p.tissue, (both[0][0], both[1][0]), (both[0][1], both[1][1]))
        assert stack.sol_top_mm < DEPTH_MM - 8, number
