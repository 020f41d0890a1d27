"""The parts of an OpenSim model that have many kinds: joint axes, wrapping surfaces, muscles."""

import math
from collections.abc import Sequence

from models.osim import (
    Axis,
    Constant,
    MovingPoint,
    OsimMuscle,
    PathWrap,
    Point,
    Polynomial,
    Pose,
    Unknown,
    Vec3,
    WrapObject,
)
from models.osim_functions import read_function
from models.osim_xml import Node

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_SAME = Polynomial((1.0, 0.0))
# Joints whose coordinates are, in order, turns about and shifts along these axes.
_SIMPLE: dict[str, tuple[tuple[Vec3, ...], tuple[Vec3, ...]]] = {
    "WeldJoint": ((), ()),
    "PinJoint": ((Z,), ()),
    "SliderJoint": ((), (X,)),
    "UniversalJoint": ((X, Y), ()),
    "PlanarJoint": ((Z,), (X, Y)),
    "BallJoint": ((X, Y, Z), ()),
    "GimbalJoint": ((X, Y, Z), ()),
    "FreeJoint": ((X, Y, Z), (X, Y, Z)),
}
_SIDES = {sign + axis: (i, -1 if sign == "-" else 1)
          for i, axis in enumerate("xyz") for sign in ("", "+", "-")}  # fmt: skip
_STEEPEST_RAD = 1.4  # pennation: acos(0.1) is 1.47, where OpenSim's own muscles stop
# What OpenSim takes for a muscle's numbers that the file leaves out: rise and fall of activation in
# s, tendon strain at maximal force.
_TIMES_STRAIN = {
    "Thelen2003Muscle": (0.015, 0.050, 0.04),
    "DeGrooteFregly2016Muscle": (0.015, 0.060, 0.049),
}
_OTHERS = (0.010, 0.040, 0.049)


def transform_axes(
    joint: Node, coordinates: Sequence[str]
) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """Turns and shifts of a joint whose ``coordinates`` are named in order."""
    if joint.tag == "CustomJoint":
        axes = [_transform_axis(a) for a in joint.all("SpatialTransform/TransformAxis")]
        if len(axes) != 6:
            joint.fail(f"<SpatialTransform> has {len(axes)} axes", "give three turns, three shifts")
        return tuple(axes[:3]), tuple(axes[3:])
    if joint.tag not in _SIMPLE:
        unknown = Axis(X, None, Unknown(f"{joint.tag} {joint.name!r}"))
        return (unknown,), ()
    turns, shifts = _SIMPLE[joint.tag]
    if len(coordinates) != len(turns) + len(shifts):
        joint.fail(f"{len(coordinates)} coordinates", f"give {len(turns) + len(shifts)}")
    axes = [Axis(d, c, _SAME) for d, c in zip(turns + shifts, coordinates, strict=True)]
    return tuple(axes[: len(turns)]), tuple(axes[len(turns) :])


def _transform_axis(node: Node) -> Axis:
    direction = node.vector("axis", None)
    if (size := math.hypot(*direction)) == 0:
        node.fail("<axis> is zero", "give a direction")
    unit = (direction[0] / size, direction[1] / size, direction[2] / size)
    names = node.text("coordinates", " ").split()
    function = read_function(node)
    if len(names) > 1:
        function = Unknown(f"function of {len(names)} coordinates")
    if not names and isinstance(function, Polynomial):  # linear in nothing: OpenSim passes 0
        function = Constant(function.coefficients[-1])
    return Axis(unit, names[0] if names else None, function)


def wraps_of(owner: Node) -> list[WrapObject]:
    """Wrapping surfaces fixed in a body or frame."""
    return [_wrap(node, owner.name) for node in owner.all("WrapObjectSet/objects/*")]


def _wrap(node: Node, parent: str) -> WrapObject:
    size: Vec3 = (0.0, 0.0, 0.0)
    if node.tag == "WrapCylinder":
        r = node.number("radius")
        size = (r, r, node.number("length"))
    elif node.tag == "WrapSphere":
        size = (node.number("radius"),) * 3
    elif node.tag == "WrapEllipsoid":
        size = node.vector("dimensions", None)
    kind = {"WrapCylinder": "cylinder", "WrapSphere": "sphere", "WrapEllipsoid": "ellipsoid"}.get(
        node.tag, node.tag
    )
    if kind != node.tag and min(size) <= 0:
        node.fail(f"size {size} m", "give sizes above 0")
    quadrant = node.text("quadrant", "all").lower()
    if quadrant not in _SIDES and quadrant not in ("all", "unassigned"):
        node.fail(f"<quadrant> {quadrant!r}", "write all, x, -x, y, -y, z or -z")
    pose = Pose(parent, node.vector("translation"), node.vector("xyz_body_rotation"))
    side = _SIDES.get(quadrant, (0, 0))
    return WrapObject(node.name, kind, pose, node.flag("active", True), side, size)


def muscle_of(node: Node, defaults: Node | None) -> OsimMuscle:
    """A muscle; numbers it leaves out come from the file's ``defaults``, or are OpenSim's."""

    def number(tag: str, standard: float) -> float:
        return node.number(tag, standard if defaults is None else defaults.number(tag, standard))

    rise, fall, strain = _TIMES_STRAIN.get(node.tag, _OTHERS)
    tag = {"Thelen2003Muscle": "FmaxTendonStrain",
           "DeGrooteFregly2016Muscle": "tendon_strain_at_one_norm_force",
           }.get(node.tag, "TendonForceLengthCurve/strain_at_one_norm_force")  # fmt: skip
    path = node.find("GeometryPath")
    points = [] if path is None else path.all("PathPointSet/objects/*")
    wraps = [] if path is None else path.all("PathWrapSet/objects/PathWrap")
    muscle = OsimMuscle(
        name=node.name,
        f_max_n=number("max_isometric_force", 1000.0),
        l_opt_m=number("optimal_fiber_length", 0.1),
        l_slack_m=number("tendon_slack_length", 0.2),
        pennation_opt_rad=number("pennation_angle_at_optimal", 0.0),
        v_max=number("max_contraction_velocity", 10.0),
        rise_s=number("activation_time_constant", rise),
        fall_s=number("deactivation_time_constant", fall),
        tendon_strain=number(tag, strain),
        points=tuple(_point(p) for p in points),
        wraps=tuple(_path_wrap(w, len(points)) for w in wraps),
    )
    for what in ("f_max_n", "l_opt_m", "l_slack_m", "v_max", "rise_s", "fall_s", "tendon_strain"):
        value = getattr(muscle, what)
        if value < 0 or (value == 0 and what != "l_slack_m"):
            node.fail(f"{what} is {value:g}", "muscles need numbers above 0")
    if not 0 <= muscle.pennation_opt_rad <= _STEEPEST_RAD:
        node.fail(
            f"pennation_angle_at_optimal is {muscle.pennation_opt_rad:g}",
            f"give radians, 0 to {_STEEPEST_RAD}",
        )
    return muscle


def _point(node: Node) -> Point | MovingPoint:
    frame = node.link("socket_parent_frame", "body")
    if node.tag == "MovingPathPoint":
        x, y, z = (_moving(node, i, unit) for i, unit in zip("xyz", (X, Y, Z), strict=True))
        return MovingPoint(frame, (x, y, z))
    location = node.vector("location")
    if node.tag == "PathPoint":
        return Point(frame, location)
    if node.tag != "ConditionalPathPoint":
        node.fail("an unknown kind of path point", "use fixed, conditional or moving points")
    low, high = node.numbers("range", 2)
    return Point(frame, location, node.link("socket_coordinate", "coordinate"), (low, high))


def _moving(node: Node, letter: str, unit: Vec3) -> Axis:
    if (place := node.find(f"{letter}_location")) is None:
        node.fail(f"no <{letter}_location>", "add it")
    function = read_function(place)
    if isinstance(function, Constant):
        return Axis(unit, None, function)
    name = node.link(f"socket_{letter}_coordinate", f"{letter}_coordinate")
    return Axis(unit, name, function)


def _path_wrap(node: Node, points: int) -> PathWrap:
    first, last = node.numbers("range", 2, (-1.0, -1.0))  # counted from 1; below 1: the end
    return PathWrap(
        wrap=node.link("wrap_object"),
        method=node.text("method", "hybrid").lower(),
        first=max(int(first) - 1, 0),
        last=int(last) - 1 if last >= 1 else points - 1,
    )
