"""Read bodies, joints and muscles of an OpenSim model, ``.osim`` or ``.osim.gz``.

Both dialects: of OpenSim 3 (version 30000: a joint is part of the body it carries) and of OpenSim 4
(40000 and later: a set of joints with offset frames).  Everything else in the file is left out.
"""

import math
from pathlib import Path

from models.opensim_parts import muscle_of, transform_axes, wraps_of
from models.osim import (
    GROUND,
    Body,
    Coordinate,
    Coupler,
    Joint,
    OsimModel,
    Pose,
    Scaled,
    Vec3,
)
from models.osim_functions import read_function
from models.osim_xml import Node, parse

OLDEST = 30000
ORIGIN: Vec3 = (0.0, 0.0, 0.0)
_UNLIMITED = 1000.0  # ranges as wide as this mean "no limit"
_DEFAULT_RANGE = (-10.0, 10.0)  # what OpenSim gives a coordinate without a range


def read_osim(path: Path | str) -> OsimModel:
    """A model from its file.

    Raises OsimError for a file that is not an OpenSim model of version 30000 or later, numbers that
    are missing or non-physical, and rotations whose range is in degrees.  A function or surface
    that is merely unknown is an error only for who asks for a muscle that needs it.
    """
    root = parse(Path(path))
    if root.tag != "OpenSimDocument":
        root.fail("not an OpenSim document", "give an .osim file")
    version = root.element.get("Version", "")
    if not version.isdigit() or int(version) < OLDEST:
        root.fail(f"version {version!r}", "open and save it in OpenSim 4")
    model = root.find("Model")
    if model is None:
        root.fail("holds no <Model>", "give the model, not a set-up file")
    if (unit := model.text("length_units", "meters")) != "meters":
        model.fail(f"<length_units> {unit}", "only meters are read")

    bodies = {b.name: _body(b) for b in model.all("BodySet/objects/Body") if b.name != GROUND}
    poses: dict[str, set[Pose]] = {}
    for f in model.all(".//PhysicalOffsetFrame"):
        poses.setdefault(f.name, set()).add(_offset(f))
    if int(version) < 40000:
        pairs = [
            (j, _joint_3(j, b)) for b in model.all("BodySet/objects/Body") for j in b.all("Joint/*")
        ]
    else:
        pairs = [(j, _joint_4(j)) for j in model.all("JointSet/objects/*")]
    couplers = {}
    for c in model.all("ConstraintSet/objects/CoordinateCouplerConstraint"):
        if c.flag("isEnforced", True) and not c.flag("isDisabled", False):
            coupler = _coupler(c)
            couplers[coupler.dependent] = coupler
    coordinates = {
        c.name: _coordinate(c, joint, c.name in couplers)
        for j, joint in pairs
        for c in j.all("CoordinateSet/objects/Coordinate") + j.all("coordinates/Coordinate")
    }
    owners = [o for o in model.all(".//*") if o.find("WrapObjectSet") is not None]
    defaults = {d.tag: d for d in root.all("Model/defaults/*") + root.all("defaults/*")}
    muscles = [m for m in model.all("ForceSet/objects/*") if m.tag.endswith("Muscle")]
    return OsimModel(
        name=model.name or Path(path).name,
        gravity_m_s2=model.vector("gravity", (0.0, -9.80665, 0.0)),
        bodies=bodies,
        # Paths name frames by their last part: one that means several is none.
        frames={name: same.pop() for name, same in poses.items() if len(same) == 1},
        joints={joint.child.parent: joint for _, joint in pairs},
        coordinates=coordinates,
        couplers=couplers,
        wraps={w.name: w for o in owners for w in wraps_of(o)},
        muscles={m.name: muscle_of(m, defaults.get(m.tag)) for m in muscles},
    )


def _body(node: Node) -> Body:
    mass = node.number("mass", 0.0)
    if node.find("inertia") is not None:
        xx, yy, zz, xy, xz, yz = node.numbers("inertia", 6, (0.0,) * 6)
    else:
        xx, yy, zz, xy, xz, yz = (
            node.number(f"inertia_{ij}", 0.0) for ij in ("xx", "yy", "zz", "xy", "xz", "yz")
        )
    if mass < 0 or min(xx, yy, zz) < 0:
        node.fail("negative mass or inertia", "correct it")
    inertia = ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))
    return Body(node.name, mass, node.vector("mass_center"), inertia)


def _offset(node: Node) -> Pose:
    return Pose(node.link("socket_parent"), node.vector("translation"), node.vector("orientation"))


def _joint_3(node: Node, body: Node) -> Joint:
    if node.flag("reverse", False):
        node.fail("a reversed joint", "open and save the model in OpenSim 4")
    parent = Pose(
        node.link("parent_body"),
        node.vector("location_in_parent"),
        node.vector("orientation_in_parent"),
    )
    suffix = "_in_child" if node.find("location_in_child") is not None else ""
    child = Pose(body.name, node.vector(f"location{suffix}"), node.vector(f"orientation{suffix}"))
    names = [c.name for c in node.all("CoordinateSet/objects/Coordinate")]
    return Joint(node.name, parent, child, *transform_axes(node, names))


def _joint_4(node: Node) -> Joint:
    frames = {f.name: _offset(f) for f in node.all("frames/PhysicalOffsetFrame")}

    def pose(tag: str) -> Pose:
        name = node.link(tag)
        return frames.get(name, Pose(name, ORIGIN, ORIGIN))

    names = [c.name for c in node.all("coordinates/Coordinate")]
    axes = transform_axes(node, names)
    return Joint(node.name, pose("socket_parent_frame"), pose("socket_child_frame"), *axes)


def _coordinate(node: Node, joint: Joint, follows: bool) -> Coordinate:
    rotational = any(axis.coordinate == node.name for axis in joint.rotations)
    low, high = node.numbers("range", 2, _DEFAULT_RANGE)
    widest = max(abs(low), abs(high))
    limited = not follows and (low, high) != _DEFAULT_RANGE and widest < _UNLIMITED
    if rotational and limited and widest > 2 * math.pi + 1e-3:
        node.fail(f"<range> {low:g} {high:g} is beyond a full turn", "give radians, not degrees")
    if low > high:
        node.fail(f"<range> {low:g} {high:g}", "give the lower end first")
    locked = node.flag("locked", False)
    return Coordinate(node.name, rotational, (low, high), node.number("default_value", 0.0), locked)


def _coupler(node: Node) -> Coupler:
    if not (function := node.find("coupled_coordinates_function")):
        node.fail("no <coupled_coordinates_function>", "add it")
    independent = node.text("independent_coordinate_names").split()
    if len(independent) != 1:
        node.fail("follows several coordinates", "only one can be followed here")
    scaled = Scaled(read_function(function), node.number("scale_factor", 1.0))
    return Coupler(node.text("dependent_coordinate_name"), independent[0], scaled)
