"""An elbow of six muscles: their paths, wrapped where they touch the humerus, and its dynamics.

Geometry, masses and muscle constants are those of arm26 (Holzbaur, Murray, Delp 2005; arm26 by
Reinbolt, Seth, Habib, Hamner, CC BY 3.0).  The upper arm's frame has y up along the hanging
humerus; the elbow is straight at 0 rad and flexes towards positive.  What comes before the last
point on the humerus is of constant length, given at a hanging upper arm.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from models.muscle import STRAIN, Muscle

MUSCLES = ("TRIlong", "TRIlat", "TRImed", "BIClong", "BICshort", "BRA")
FLEXORS = (3, 4, 5)
EXTENSORS = (0, 1, 2)
RANGE_RAD = (0.0, 2.26892803)
LOAD_MM = 300.0  # from the elbow to what the hand holds
GRAVITY_M_S2 = 9.8066

_F_MAX_N = (798.52, 624.3, 624.3, 624.3, 435.56, 987.26)
_L_OPT_MM = (134.0, 113.8, 113.8, 115.7, 132.1, 85.8)
_L_SLACK_MM = (143.0, 98.0, 90.8, 272.3, 192.3, 53.5)
_PENNATION_RAD = (0.20943951, 0.15707963, 0.15707963, 0.0, 0.0, 0.0)
_LENGTH_0_MM = (277.60918, 166.61049, 154.23829, 424.57538, 341.68791, 147.35269)  # at 0 rad

_TRI_END, _BIC_END = (-21.9, 10.46, -0.78), (7.51, -48.39, 21.79)
_LAST_MM = (
    *((-17.43, -267.57, -12.08),) * 3, *((22.8, -175.4, -6.3),) * 2, (6.8, -173.9, -3.6),
)  # on the humerus  # fmt: skip
_INSERTION_MM = (_TRI_END, _TRI_END, _TRI_END, _BIC_END, _BIC_END, (-3.2, -23.9, 0.9))
_WRAPS = (True, True, True, False, False, True)
_CENTRE_MM = (6.1, -290.4, -12.3)  # of the elbow
_AXIS = (0.04940001, 0.03660001, 0.99810825)
_TROCHLEA_MM, _RADIUS_MM = (2.8, -291.9, -6.9), 16.0  # the cylinder that muscles bend around
_TROCHLEA_RAD = (-0.14015, -0.00628319, 0.154985)  # body-fixed x, y, z
_SHOULDER_M = (-0.017545, -0.007, 0.17)
_SHOULDER_AXIS = (-0.05889802, 0.0023, 0.99826136)


class Segment(NamedTuple):
    """A rigid forearm and hand, in a frame at the elbow that hangs down its y."""

    mass_kg: Tensor | float = 1.534315
    centre_m: Tensor | float = 0.181479  # of mass, below the elbow
    inertia_kg_m2: tuple[Tensor | float, ...] = (0.019281, 0.001571, 0.020062)  # about it; x, y, z


class Swing(NamedTuple):
    """What the shoulder does meanwhile, broadcasting with the elbow's angle; all 0 hangs."""

    angle_rad: Tensor
    speed_rad_s: Tensor
    acceleration_rad_s2: Tensor


def muscles(like: Tensor) -> Muscle:
    """The six of arm26, each constant ``(6,)`` in the dtype of ``like``."""
    rows = (_L_OPT_MM, _PENNATION_RAD, _L_SLACK_MM, _F_MAX_N, (STRAIN,) * 6)
    return Muscle(*(like.new_tensor(row) for row in rows))


def paths(angle_rad: Tensor) -> tuple[Tensor, Tensor]:
    """Muscle-tendon lengths in mm and moment arms in mm, ``(..., 6)`` each, at angles ``(...)``.

    r > 0 flexes, r = -dL/dq: exact, since a taut path pulls along its last straight piece.
    """
    like = angle_rad
    arm = turned(angle_rad[..., None], like.new_tensor(_INSERTION_MM), like.new_tensor(_AXIS))
    end = arm + like.new_tensor(_CENTRE_MM)
    length_mm, pull = _last_piece(like.new_tensor(_LAST_MM), end)
    zero = turned(like.new_zeros(6), like.new_tensor(_INSERTION_MM), like.new_tensor(_AXIS))
    straight_mm, _ = _last_piece(like.new_tensor(_LAST_MM), zero + like.new_tensor(_CENTRE_MM))
    moves = torch.linalg.cross(like.new_tensor(_AXIS).expand_as(arm), arm)  # per rad
    arm_mm = -(moves * pull).sum(-1)
    return length_mm + (like.new_tensor(_LENGTH_0_MM) - straight_mm), arm_mm


def _last_piece(start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Length of the taut line between points ``(..., 6, 3)``, and its unit direction at ``end``.

    Around the trochlea it is a helix: unrolled, the hypotenuse of the planar length and the rise.
    """
    frame = _body_fixed(_TROCHLEA_RAD, start)
    a = (start - start.new_tensor(_TROCHLEA_MM)) @ frame
    b = (end - start.new_tensor(_TROCHLEA_MM)) @ frame
    rise = b[..., 2] - a[..., 2]
    a, b = a[..., :2], b[..., :2]
    chord = b - a
    direct = _norm(chord)
    from_a, from_b = _norm(a), _norm(b)
    unit_a, unit_b = a / from_a[..., None], b / from_b[..., None]
    cosine = (unit_a * unit_b).sum(-1).clamp(-1 + 1e-6, 1 - 1e-6)
    ratio_a, ratio_b = (_RADIUS_MM / r.clamp(min=_RADIUS_MM * 1.0001) for r in (from_a, from_b))
    arc = torch.acos(cosine) - torch.acos(ratio_a) - torch.acos(ratio_b)
    around = (arc > 0) & start.new_tensor(_WRAPS, dtype=torch.bool)
    tangent_a = from_a * (1 - ratio_a**2).sqrt()
    tangent_b = from_b * (1 - ratio_b**2).sqrt()
    planar = torch.where(around, tangent_a + tangent_b + _RADIUS_MM * arc, direct)
    away = unit_b * cosine[..., None] - unit_a  # perpendicular to b, away from a
    away = away / (1 - cosine**2).sqrt()[..., None]
    bent = unit_b * (1 - ratio_b**2).sqrt()[..., None] + away * ratio_b[..., None]
    flat = torch.where(around[..., None], bent, chord / direct[..., None])
    total = torch.hypot(planar, rise)
    pull = torch.cat([flat * (planar / total)[..., None], (rise / total)[..., None]], -1)
    return total, pull @ frame.T


def inverse_dynamics_nm(
    angle_rad: Tensor,
    speed_rad_s: Tensor,
    acceleration_rad_s2: Tensor,
    load_kg: Tensor | float = 0.0,
    segment: Segment | None = None,
    swing: Swing | None = None,
) -> Tensor:
    """Moment ``(...)`` about the elbow that moves forearm and load so; flexion positive.

    Newton and Euler in the frame of the upper arm.  The load is a point in the hand.
    """
    s = segment or Segment()
    axis, elbow = angle_rad.new_tensor(_AXIS), angle_rad.new_tensor(_CENTRE_MM) / 1000
    spin, turn, lift = _base(angle_rad, swing)  # of the upper arm; lift: acceleration less gravity
    lift = lift + _carried(spin, turn, elbow)
    own = axis * speed_rad_s[..., None]
    omega = spin + own
    alpha = turn + axis * acceleration_rad_s2[..., None] + _cross(spin, own)
    down = angle_rad.new_tensor((0.0, -1.0, 0.0))
    centre = turned(angle_rad, down, axis) * _column(s.centre_m)
    grip = turned(angle_rad, down, axis) * (LOAD_MM / 1000)
    moment = _cross(centre, (lift + _carried(omega, alpha, centre)) * _column(s.mass_kg))
    moment = moment + _cross(grip, (lift + _carried(omega, alpha, grip)) * _column(load_kg))
    own_kg_m2 = (i if isinstance(i, Tensor) else axis.new_full((), i) for i in s.inertia_kg_m2)
    inertia = torch.stack([i.to(axis.dtype).expand_as(angle_rad) for i in own_kg_m2], -1)
    moment = moment + _about_centre(angle_rad, axis, inertia, omega, alpha)
    return (moment * axis).sum(-1)


class Pendulum(NamedTuple):
    """Forearm and load under an upper arm that hangs still: everything its motion depends on.

    ``moment = inertia * acceleration + constant + cosine * cos(angle) + sine * sin(angle)``.
    """

    inertia_kg_m2: Tensor
    constant_nm: Tensor
    cosine_nm: Tensor
    sine_nm: Tensor

    def acceleration_rad_s2(self, angle_rad: Tensor, moment_nm: Tensor) -> Tensor:
        """Under a net moment."""
        weight = self.cosine_nm * torch.cos(angle_rad) + self.sine_nm * torch.sin(angle_rad)
        return (moment_nm - self.constant_nm - weight) / self.inertia_kg_m2


def pendulum(load_kg: Tensor, segment: Segment | None = None) -> Pendulum:
    """Of loads ``(...)`` in kg: the same numbers as ``inverse_dynamics_nm``, read off it once."""
    zero, one = torch.zeros_like(load_kg), torch.ones_like(load_kg)
    quarter = one * (math.pi / 2)
    straight, level, back = (
        inverse_dynamics_nm(q, zero, zero, load_kg, segment) for q in (zero, quarter, 2 * quarter)
    )
    constant = (straight + back) / 2
    inertia = inverse_dynamics_nm(zero, zero, one, load_kg, segment) - straight
    return Pendulum(inertia, constant, straight - constant, level - constant)


def turned(angle_rad: Tensor, vector: Tensor, axis: Tensor) -> Tensor:
    """``vector (..., 3)`` turned about a unit ``axis (3,)`` by angles ``(...)`` (Rodrigues)."""
    c, s = torch.cos(angle_rad)[..., None], torch.sin(angle_rad)[..., None]
    along = (vector * axis).sum(-1, keepdim=True) * axis
    out: Tensor = vector * c + _cross(axis, vector) * s + along * (1 - c)
    return out


def _base(like: Tensor, swing: Swing | None) -> tuple[Tensor, Tensor, Tensor]:
    """Angular velocity and acceleration of the upper arm and what gravity is to it: ``(..., 3)``.

    The shoulder's centre stays in place.
    """
    up = like.new_tensor((0.0, GRAVITY_M_S2, 0.0))
    if swing is None:
        still = like.new_zeros(3)
        return still, still, up
    axis = like.new_tensor(_SHOULDER_AXIS)
    up = turned(-swing.angle_rad, up, axis)
    return axis * swing.speed_rad_s[..., None], axis * swing.acceleration_rad_s2[..., None], up


def _about_centre(q: Tensor, axis: Tensor, inertia: Tensor, omega: Tensor, alpha: Tensor) -> Tensor:
    """Moment that a body's own inertia asks for, ``inertia (..., 3)`` along the forearm's axes."""
    back = -q
    spun = turned(q, inertia * turned(back, omega, axis), axis)
    return turned(q, inertia * turned(back, alpha, axis), axis) + _cross(omega, spun)


def _carried(omega: Tensor, alpha: Tensor, point: Tensor) -> Tensor:
    """Acceleration of a point of a turning body."""
    return _cross(alpha, point) + _cross(omega, _cross(omega, point))


def _cross(a: Tensor, b: Tensor) -> Tensor:
    a, b = torch.broadcast_tensors(a, b)
    out: Tensor = torch.linalg.cross(a, b)
    return out


def _column(x: Tensor | float) -> Tensor | float:
    return x.unsqueeze(-1) if isinstance(x, Tensor) else x


def _norm(v: Tensor) -> Tensor:
    return (v * v).sum(-1).sqrt()


def _body_fixed(angles_rad: tuple[float, float, float], like: Tensor) -> Tensor:
    """Rotation matrix ``(3, 3)`` of body-fixed turns about x, then y, then z."""
    (sx, cx), (sy, cy), (sz, cz) = ((math.sin(a), math.cos(a)) for a in angles_rad)
    return like.new_tensor(
        [
            [cy * cz, -cy * sz, sy],
            [cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy],
            [sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy],
        ]
    )
