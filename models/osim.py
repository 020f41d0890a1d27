"""What an OpenSim model says of bodies, joints and muscles: plain data, in the units of the file.

Lengths are m, angles rad, masses kg, forces N (``models.paths`` turns lengths into mm).  Bodies,
offset frames and ``ground`` are named by strings; a pose is a turn about the frame's own x, y, z in
this order, and a translation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Vec3 = tuple[float, float, float]
GROUND = "ground"
T = TypeVar("T")


class OsimError(ValueError):
    """A model that cannot be used; the message names file or model, element and remedy."""


@dataclass(frozen=True)
class Constant:
    value: float


@dataclass(frozen=True)
class Polynomial:
    """Coefficients from the highest power; a linear function is (slope, offset)."""

    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class Spline:
    """Cubic through the knots, third derivative at the ends that of the cubic through the nearest
    four; straight beyond the ends.  OpenSim's SimmSpline, formerly NaturalCubicSpline."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class PiecewiseLinear:
    """Straight between the knots, and beyond the ends as in the nearest piece."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Scaled:
    function: "Function"
    scale: float


@dataclass(frozen=True)
class Unknown:
    """A function or wrapping surface this project cannot compute; an error where it is needed."""

    kind: str


Function = Constant | Polynomial | Spline | PiecewiseLinear | Scaled | Unknown


@dataclass(frozen=True)
class Body:
    name: str
    mass_kg: float
    mass_center_m: Vec3
    inertia_kg_m2: tuple[Vec3, Vec3, Vec3]  # about the mass centre, in the body's axes


@dataclass(frozen=True)
class Pose:
    """A frame fixed in ``parent``: a body, another frame, or the ground."""

    parent: str
    translation_m: Vec3
    rotation_rad: Vec3  # about own x, y, z


@dataclass(frozen=True)
class Axis:
    """Turn about, or shift along, ``direction`` by a function of a coordinate."""

    direction: Vec3  # unit
    coordinate: str | None  # None: a constant
    function: Function


@dataclass(frozen=True)
class Joint:
    """Child frame in parent frame: three turns one after the other, three shifts in the parent."""

    name: str
    parent: Pose
    child: Pose
    rotations: tuple[Axis, ...]
    translations: tuple[Axis, ...]


@dataclass(frozen=True)
class Coordinate:
    name: str
    rotational: bool
    range: tuple[float, float]  # rad or m
    default: float
    locked: bool


@dataclass(frozen=True)
class Coupler:
    """``dependent`` = scale * function(``independent``)."""

    dependent: str
    independent: str
    function: Function


@dataclass(frozen=True)
class Point:
    """A point of a path, fixed in a frame; with ``coordinate`` only while that is in ``range``."""

    frame: str
    location_m: Vec3
    coordinate: str | None = None
    range_rad: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class MovingPoint:
    """A point of a path whose place in the frame follows coordinates: one axis for x, y, z each."""

    frame: str
    location: tuple[Axis, Axis, Axis]


@dataclass(frozen=True)
class WrapObject:
    """A surface that paths may bend around; its axes are turned and shifted in ``pose.parent``."""

    name: str
    kind: str  # "cylinder", "sphere", "ellipsoid", or what the file says
    pose: Pose
    active: bool
    side: tuple[int, int]  # axis 0..2 and sign +-1 of the half it is limited to; sign 0: no limit
    size_m: Vec3  # ellipsoid: half axes; sphere: radius 3 times; cylinder: radius, radius, length


@dataclass(frozen=True)
class PathWrap:
    wrap: str
    method: str  # of an ellipsoid: "hybrid", "midpoint" or "axial"
    first: int  # points between which the path may bend, counted from 0
    last: int


@dataclass(frozen=True)
class OsimMuscle:
    name: str
    f_max_n: float
    l_opt_m: float
    l_slack_m: float
    pennation_opt_rad: float
    v_max: float  # optimal lengths per second
    rise_s: float
    fall_s: float
    tendon_strain: float  # at f_max_n
    points: tuple[Point | MovingPoint, ...]
    wraps: tuple[PathWrap, ...]


@dataclass(frozen=True)
class OsimModel:
    name: str
    gravity_m_s2: Vec3
    bodies: Mapping[str, Body]
    frames: Mapping[str, Pose]
    joints: Mapping[str, Joint]  # by the name of the body they carry
    coordinates: Mapping[str, Coordinate]
    couplers: Mapping[str, Coupler]  # by their dependent coordinate
    wraps: Mapping[str, WrapObject]
    muscles: Mapping[str, OsimMuscle]

    def muscle(self, name: str) -> OsimMuscle:
        return self._get("muscle", self.muscles, name)

    def coordinate(self, name: str) -> Coordinate:
        return self._get("coordinate", self.coordinates, name)

    def body(self, name: str) -> Body:
        return self._get("body", self.bodies, name)

    def _get(self, what: str, table: Mapping[str, T], name: str) -> T:
        if name in table:
            return table[name]
        raise OsimError(f"{self.name}: no {what} {name!r}; there are: {', '.join(sorted(table))}")
