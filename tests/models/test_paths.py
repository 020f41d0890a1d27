"""Muscle paths against geometry done by hand: a hinge, one muscle, whatever lies in its way."""

import math
from dataclasses import replace

import pytest
import torch

from models.kinematics import Kinematics
from models.osim import (
    Axis,
    Body,
    Constant,
    Coordinate,
    Coupler,
    Joint,
    MovingPoint,
    OsimError,
    OsimModel,
    OsimMuscle,
    PathWrap,
    Point,
    Polynomial,
    Pose,
    Unknown,
    WrapObject,
)
from models.paths import Paths

F64 = torch.float64
ORIGIN = (0.0, 0.0, 0.0)
SAME = Polynomial((1.0, 0.0))


def still(parent):
    return Pose(parent, ORIGIN, ORIGIN)


def hinge(*points, wraps=(), surfaces=(), function=SAME):
    """A forearm "arm" that turns about z by "bend", and one muscle "pull" along ``points``."""
    joint = Joint("elbow", still("ground"), still("arm"), (Axis((0, 0, 1), "bend", function),), ())
    body = Body("arm", 1.5, (0.0, -0.2, 0.0), ((0.1, 0, 0), (0, 0.1, 0), (0, 0, 0.1)))
    muscle = OsimMuscle("pull", 600, 0.1, 0.2, 0.1, 10, 0.01, 0.04, 0.033, points, wraps)
    return OsimModel(
        name="hinge",
        gravity_m_s2=(0.0, -9.81, 0.0),
        bodies={"arm": body},
        frames={},
        joints={"arm": joint},
        coordinates={"bend": Coordinate("bend", True, (0.0, 2.0), 0.0, False)},
        couplers={},
        wraps={s.name: s for s in surfaces},
        muscles={"pull": muscle},
    )


UP, FRONT = Point("ground", (0.0, 0.3, 0.0)), Point("arm", (0.03, -0.04, 0.0))


def test_a_hinge_by_hand():
    """Triangle of joint, origin and insertion: the law of cosines."""
    paths = Paths(hinge(UP, FRONT), ["pull"], ["bend"])
    q = torch.linspace(0, 2, 9, dtype=F64)
    length, arm = paths.lengths_and_arms_mm(q[:, None])
    spread = math.pi / 2 + math.atan2(0.04, 0.03) - q
    square = 300**2 + 50**2 - 2 * 300 * 50 * torch.cos(spread)
    torch.testing.assert_close(length[:, 0], square.sqrt())
    torch.testing.assert_close(arm[:, 0, 0], 300 * 50 * torch.sin(spread) / square.sqrt())


def test_a_conditional_point_joins_the_path_in_its_range():
    via = Point("ground", (0.05, 0.0, 0.0), "bend", (0.5, 3.0))
    paths = Paths(hinge(UP, via, FRONT), ["pull"], ["bend"])
    plain = Paths(hinge(UP, FRONT), ["pull"], ["bend"])
    through = Paths(hinge(UP, replace(via, coordinate=None), FRONT), ["pull"], ["bend"])
    q = torch.tensor([[0.2], [0.499], [0.501], [1.5]], dtype=F64)
    for kind in (Paths.lengths_mm, Paths.moment_arms_mm):
        torch.testing.assert_close(kind(paths, q)[:2], kind(plain, q)[:2])
        torch.testing.assert_close(kind(paths, q)[2:], kind(through, q)[2:])


def test_a_moving_point_counts_in_the_moment_arm():
    """On a line through the origin it adds its own speed."""
    away = Axis((0, 1, 0), "bend", Polynomial((-0.01, -0.1)))
    zero = Constant(0.0)
    moving = MovingPoint("ground", (Axis((1, 0, 0), None, zero), away, Axis((0, 0, 1), None, zero)))
    arm = Paths(hinge(UP, moving), ["pull"], ["bend"]).moment_arms_mm(torch.tensor([0.7]))
    assert arm.item() == pytest.approx(-10)


def around(kind, **changes):
    surface = WrapObject("bone", kind, still("ground"), True, (0, 0), (0.01, 0.01, 0.2))
    return hinge(
        UP, Point("arm", (0.0, -0.2, 0.0)), wraps=(PathWrap("bone", "hybrid", 0, 1),),
        surfaces=(replace(surface, **changes),),
    )  # fmt: skip


def test_a_pulley_has_its_radius_for_moment_arm():
    model = around("cylinder", side=(0, 1))
    arms = Paths(model, ["pull"], ["bend"]).moment_arms_mm(torch.tensor([[-0.5], [-0.2]]))
    assert arms.flatten().tolist() == pytest.approx([10, 10], abs=1e-3)
    off = Paths(around("cylinder", side=(0, 1), active=False), ["pull"], ["bend"])
    assert off.moment_arms_mm(torch.tensor([0.0])).item() == pytest.approx(0, abs=1e-4)
    beyond = replace(model.muscle("pull"), wraps=(PathWrap("bone", "hybrid", 1, 1),))
    out_of_range = Paths(replace(model, muscles={"pull": beyond}), ["pull"], ["bend"])
    assert out_of_range.moment_arms_mm(torch.tensor([0.0])).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (around("WrapTorus"), "muscle 'pull' wraps a WrapTorus 'bone'; use a cylinder"),
        (hinge(UP, FRONT, wraps=(PathWrap("flesh", "hybrid", 0, 1),)), "'flesh', which is not"),
        (hinge(UP, FRONT, function=Unknown("GCVSpline")), "joint 'elbow' needs GCVSpline"),
        (hinge(UP), "muscle 'pull' has no path"),
        (replace(hinge(UP, FRONT), coordinates={}, name="h"), "h: no coordinate 'bend'"),
        (hinge(UP, Point("arm", ORIGIN, "fold")), "no coordinate 'fold'; there are: bend"),
        (hinge(UP, Point("leg", ORIGIN)), "no body 'leg'; there are: arm"),
    ],
)
def test_what_a_muscle_needs_and_we_cannot_do_is_an_error(model, message):
    with pytest.raises(OsimError, match=message):
        Paths(model, ["pull"], ["bend"])


def test_bodies_turn_about_their_joint_and_weigh_on_it():
    """Lever of the weight = slope of the height of the mass centre: what inverse dynamics needs."""
    model = hinge(UP, FRONT)
    kinematics = Kinematics(model, ["bend"])
    q = torch.tensor([[0.0], [0.5], [1.5]], dtype=F64, requires_grad=True)
    arm = kinematics.transforms(q)["arm"]
    torch.testing.assert_close(
        arm.rotation @ arm.rotation.mT, torch.eye(3, dtype=F64).expand(3, 3, 3)
    )
    centre = 1000 * torch.tensor(model.body("arm").mass_center_m, dtype=F64)
    (lever,) = torch.autograd.grad(arm.points_mm(centre)[:, 1].sum(), q)
    torch.testing.assert_close(lever, 200 * torch.sin(q.detach()))


def test_a_point_may_hang_on_a_frame_of_a_body():
    turned = Pose("arm", (0.03, -0.04, 0.0), (0.0, 0.0, 1.0))
    model = replace(hinge(UP, Point("plate", ORIGIN)), frames={"plate": turned})
    q = torch.tensor([0.7])
    torch.testing.assert_close(
        Paths(model, ["pull"], ["bend"]).lengths_mm(q),
        Paths(hinge(UP, FRONT), ["pull"], ["bend"]).lengths_mm(q),
    )


def test_a_coupled_coordinate_moves_its_body():
    model = hinge(UP, FRONT)
    lead = Coordinate("lead", True, (0.0, 1.0), 0.0, False)
    model = replace(
        model,
        coordinates={**model.coordinates, "lead": lead},
        couplers={"bend": Coupler("bend", "lead", Polynomial((2.0, 0.0)))},
    )
    led = Paths(model, ["pull"], ["lead"]).moment_arms_mm(torch.tensor([0.3]))
    own = Paths(hinge(UP, FRONT), ["pull"], ["bend"]).moment_arms_mm(torch.tensor([0.6]))
    torch.testing.assert_close(led, 2 * own)


def test_coordinates_that_follow_each_other_are_refused():
    circle = {a: Coupler(a, b, SAME) for a, b in (("bend", "lead"), ("lead", "bend"))}
    with pytest.raises(OsimError, match="'bend' follows itself"):
        Paths(replace(hinge(UP, FRONT), couplers=circle), ["pull"], [])
