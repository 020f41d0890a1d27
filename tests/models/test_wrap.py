import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.closest_point import closest_point
from models.wrap import MAY, MUST, NONE, Side, cylinder
from models.wrap_ellipsoid import ellipsoid, sphere

R = 10.0
KINDS = ["cylinder", "sphere", "hybrid", "midpoint", "axial"]
AXES = {letter: (i, s) for i, a in enumerate("xyz") for letter, s in ((a, 1), ("-" + a, -1))}
HALF = (14.0, 11.0, 9.0)  # half axes in mm


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


def side(name="all", dtype=torch.float64):
    axis, sign = AXES.get(name, (0, 0))
    return Side(torch.eye(3, dtype=dtype)[axis], torch.tensor(sign))


def wrap(kind, p1, p2, limit="all"):
    """Bend around a surface of about 10 mm."""
    size = p1.new_tensor(HALF)
    if kind == "cylinder":
        return cylinder(p1, p2, p1.new_tensor(R), p1.new_tensor(200.0), side(limit, p1.dtype))
    if kind == "sphere":
        return sphere(p1, p2, torch.full_like(size, R), side(limit, p1.dtype))
    return ellipsoid(p1, p2, size, side(limit, p1.dtype), kind)


def length(kind, p1, p2, limit="all"):
    """Along the surface where the path bends, else straight."""
    bend = wrap(kind, p1, p2, limit)
    straight = torch.linalg.vector_norm(p2 - p1, dim=-1)
    bent = torch.linalg.vector_norm(p1 - bend.r1_mm, dim=-1) + bend.arc_mm
    bent = bent + torch.linalg.vector_norm(p2 - bend.r2_mm, dim=-1)
    return torch.where(bend.state != NONE, bent, straight)


@st.composite
def pairs(draw):
    """Ends on roughly opposite sides, so that most pieces cut."""
    turn, bend = draw(st.floats(0, 2 * math.pi)), draw(st.floats(-0.5, 0.5))
    ends = []
    for angle in (turn, turn + math.pi + bend):
        away, height = draw(st.floats(16, 40)), draw(st.floats(-8, 8))
        ends.append(f64(away * math.cos(angle), away * math.sin(angle), height))
    return ends


def test_half_a_right_angle_around_a_cylinder():
    # From 2 R on one side to 2 R on the other: two tangents of sqrt(3) R, a sixth of a turn.
    p1, p2 = f64(-2 * R, 0, 0), f64(2 * R, 1e-9, 0)
    bend = wrap("cylinder", p1, p2)
    assert bend.state == MUST
    assert bend.arc_mm.item() == pytest.approx(math.pi / 3 * R)
    assert length("cylinder", p1, p2).item() == pytest.approx(
        2 * math.sqrt(3) * R + math.pi / 3 * R
    )


def test_a_helix_is_straight_when_unrolled():
    flat = length("cylinder", f64(-20, 1, 0), f64(20, 1, 0)).item()
    risen = length("cylinder", f64(-20, 1, -15), f64(20, 1, 15)).item()
    assert risen == pytest.approx(math.hypot(flat, 30))


def test_when_a_cylinder_is_left_alone():
    def state(p1, p2, size=200.0):
        return int(cylinder(f64(*p1), f64(*p2), f64(R)[0], f64(size)[0], side()).state)

    assert state((-20, 1, 0), (20, 1, 0)) == MUST
    assert state((-20, 11, 0), (20, 11, 0)) == NONE  # passes it
    assert state((-20, 1, 0), (-15, 1, 0)) == NONE  # ends before it
    assert state((-20, 1, 0), (5, 1, 0)) == NONE  # ends inside
    assert state((0, 0, -20), (0, 0, 20)) == NONE  # runs inside, along its axis
    assert state((15, 0, -20), (15, 0, 20)) == NONE  # runs beside
    assert state((-20, 1, 60), (20, 1, 60), size=100.0) == NONE  # beyond its end


def test_a_limited_cylinder_holds_a_path_on_its_side():
    p1, p2 = f64(-20, -3, 0), f64(20, -3, 0)  # straight through, nearer to -y
    near, far = length("cylinder", p1, p2, "-y"), length("cylinder", p1, p2, "y")
    assert near == length("cylinder", p1, p2)
    bend = wrap("cylinder", p1, p2, "y")
    assert bend.r1_mm[1] > 0
    assert far > near
    # A path that has slipped past the cylinder on the wrong side may be held back.
    assert wrap("cylinder", f64(-20, 5, 0), f64(20, -60, 0), "y").state == MAY
    assert wrap("cylinder", f64(-20, 5, 0), f64(20, 30, 0), "y").state == NONE


def test_a_sphere_has_great_circles():
    p1, p2 = f64(-2 * R, 0.5, 0), f64(2 * R, 0.5, 0)
    bend = wrap("sphere", p1, p2)
    far = math.hypot(2 * R, 0.5)
    turn = 2 * math.atan2(2 * R, 0.5) - 2 * math.acos(R / far)
    assert bend.state == MUST
    assert bend.arc_mm.item() == pytest.approx(R * turn)
    assert bend.r1_mm[1] > 0
    assert length("sphere", p1, p2, "-y") > length("sphere", p1, p2, "y")
    assert wrap("sphere", p1, p2, "-y").r1_mm[1] < 0
    assert wrap("sphere", f64(-20, 11, 0), f64(20, 11, 0)).state == NONE
    assert wrap("sphere", f64(-20, 0, 0), f64(5, 0, 0)).state == NONE


@pytest.mark.parametrize("method", ["hybrid", "midpoint", "axial"])
def test_a_round_ellipsoid_is_a_sphere(method):
    p1, p2, size = f64(-22, 3, 4), f64(25, 1, -2), f64(R, R, R)
    a, b = ellipsoid(p1, p2, size, side(), method), sphere(p1, p2, size, side())
    assert a.state == b.state == MUST
    assert a.arc_mm.item() == pytest.approx(b.arc_mm.item(), abs=1e-2)


def test_an_ellipsoid_in_a_plane_of_symmetry_is_an_ellipse():
    bend = wrap("axial", f64(-30, 0, 2), f64(30, 0, 2))  # over the nearer z, not y
    start, stop = (math.atan2(r[2] / HALF[2], r[0] / HALF[0]) for r in (bend.r1_mm, bend.r2_mm))
    turns = torch.linspace(start, stop, 20001, dtype=torch.float64)
    ellipse = torch.stack([HALF[0] * torch.cos(turns), HALF[2] * torch.sin(turns)], -1)
    chords = torch.linalg.vector_norm(ellipse.diff(dim=0), dim=-1).sum().item()
    assert bend.arc_mm.item() == pytest.approx(chords, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(ends=pairs())
def test_a_bent_path_touches_and_is_no_shorter_than_a_straight_one(kind, ends):
    p1, p2 = ends
    bend = wrap(kind, p1, p2)
    assume(bend.state != NONE)
    size = {"cylinder": f64(R, R, math.inf), "sphere": f64(R, R, R)}.get(kind, f64(*HALF))
    for p, r in ((p1, bend.r1_mm), (p2, bend.r2_mm)):
        assert ((r / size) ** 2).sum().item() == pytest.approx(1, abs=1e-9)  # on the surface
        normal = r / size**2
        assert abs((normal * (p - r)).sum()) / normal.norm() < 1e-3  # along it
    assert length(kind, p1, p2) >= torch.linalg.vector_norm(p2 - p1) - 1e-9
    assert bend.arc_mm >= torch.linalg.vector_norm(bend.r1_mm - bend.r2_mm) - 1e-9


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(ends=pairs())
def test_a_path_is_as_long_from_either_end(kind, ends):
    p1, p2 = ends
    for limit in ("all", "x", "-y"):
        if limit != "all" and kind not in ("cylinder", "sphere"):
            continue  # the choice of plane of a limited ellipsoid has edges
        there, back = length(kind, p1, p2, limit).item(), length(kind, p2, p1, limit).item()
        assert there == pytest.approx(back, rel=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(turn=st.floats(0, 2 * math.pi), height=st.floats(-5, 5), tilt=st.floats(-0.2, 0.2))
def test_a_path_begins_to_bend_without_a_jump(kind, turn, height, tilt):
    cos, sin = math.cos(turn), math.sin(turn)
    away = torch.linspace(4, 20, 161, dtype=torch.float64)  # of the line from the centre
    ahead = f64(-sin, cos, tilt) * 40
    foot = torch.stack([away * cos, away * sin, torch.full_like(away, height)], -1)
    lengths = length(kind, foot - ahead, foot + ahead)
    states = wrap(kind, foot - ahead, foot + ahead).state
    assert states.unique().tolist() == [NONE, MUST]
    assert lengths.diff().abs().max() < 0.12  # mm, in steps of 0.1 mm


DEGENERATE = f64(
    (0, 0, 0), (0, 0, 30), (0, 0, -30), (1, 0, 0), (R, 0, 0), (R, 0, 5), (20, 0, 0), (-20, 0, 0),
    (0, 20, 0), (0, -20, 0), (20, 20, 20), (-20, -20, -20), HALF, (HALF[0], 0, 0),
)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("limit", ["all", "x", "-x", "y", "-z"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_numbers_for_any_ends(kind, limit, dtype):
    n = len(DEGENERATE)
    p1 = DEGENERATE.to(dtype)[:, None].expand(n, n, 3).clone().requires_grad_()
    p2 = DEGENERATE.to(dtype)[None].expand(n, n, 3).clone().requires_grad_()
    bend = wrap(kind, p1, p2, limit)
    total = bend.arc_mm.sum() + bend.r1_mm.sum() + bend.r2_mm.sum()
    total.backward()
    for t in (bend.arc_mm, bend.r1_mm, bend.r2_mm, p1.grad, p2.grad):
        assert t.dtype == dtype
        assert t.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_agree_with_finite_differences(kind):
    ends = f64(-21, 3, 4), f64(18, 5, -3)
    assert wrap(kind, *ends).state == MUST
    inputs = tuple(p.requires_grad_() for p in ends)
    assert torch.autograd.gradcheck(lambda a, b: length(kind, a, b), inputs, atol=1e-5)
    assert torch.autograd.gradgradcheck(lambda a, b: length(kind, a, b), inputs, atol=1e-4)


def test_the_shortest_helix_pulls_along_its_ends():
    """Only for a shortest path is the slope of length a unit pull along the first straight part."""
    p1, p2 = f64(-21, 3, 14).requires_grad_(), f64(18, 5, -13)
    (slope,) = torch.autograd.grad(length("cylinder", p1, p2), p1)
    pull = p1.detach() - wrap("cylinder", p1, p2).r1_mm.detach()
    torch.testing.assert_close(slope, pull / pull.norm(), atol=1e-9, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    s=st.tuples(*[st.floats(-2, 2)] * 3),
    half=st.tuples(*[st.floats(0.2, 2)] * 3),
    seed=st.integers(0, 99),
)
def test_no_point_of_an_ellipsoid_is_closer_than_the_closest(s, half, seed):
    s, half = f64(*s), f64(*half)
    x = closest_point(s, half, torch.ones_like(half))
    assert ((x / half) ** 2).sum().item() == pytest.approx(1, abs=1e-6)
    others = torch.randn(500, 3, generator=torch.Generator().manual_seed(seed)).double()
    others = others / others.norm(dim=-1, keepdim=True) * half
    assert (x - s).norm() <= (others - s).norm(dim=-1).min() + 1e-5


def test_the_closest_point_of_an_ellipse_leaves_the_third_axis_at_0():
    x = closest_point(f64(0.3, 0.2, 5.0), f64(2, 1, 0.1), f64(1, 1, 0))
    assert x[2] == 0
    assert (x[0] / 2) ** 2 + x[1] ** 2 == pytest.approx(1)
