"""A Hill muscle on its tendon, in torch: batched, differentiable, elementary functions only.

Curves of De Groote, Kinney, Rao, Fregly 2016 (doi 10.1007/s10439-016-1591-9) with the constants of
OpenSim's ``DeGrooteFregly2016Muscle``.  Lengths are mm, forces N, angles rad, times s; ``n`` is
fascicle length over optimal length, ``v`` fascicle velocity over greatest shortening velocity
(shortening < 0), tendon length is over slack length, normalised forces are over F_max.  Everything
broadcasts and keeps the dtype of its inputs.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

A_MIN = 0.01  # activation never falls below
V_MAX = 10.0  # optimal lengths per second
STRAIN = 0.049  # of the tendon at F_max
N_MIN = 0.2  # shortest length at which the curves hold

_F_L = (  # b1, b2, b3, b4 of three bell curves
    (0.8150671134243542, 1.055033428970575, 0.162384573599574, 0.063303448465465),
    (0.433004984392647, 0.716775413397760, -0.029947116970696, 0.200356847296188),
    (0.1, 1.0, 0.353553390593274, 0.0),
)
_D1, _D2, _D3, _D4 = -0.3211346127989808, -8.149, -0.374, 0.8825327733249912
_K_PE, _E0 = 4.0, 0.6
_C_PE = math.exp(_K_PE * (N_MIN - 1) / _E0)  # no passive force at N_MIN
_C_T = 0.2
_ROUNDS = 16  # of the equilibrium search: 6 settle a calf in float64, the rest is reserve


class Muscle(NamedTuple):
    """Constants of a batch of muscles, tensors that broadcast together."""

    l_opt_mm: Tensor
    pennation_opt_rad: Tensor  # at optimal length
    l_slack_mm: Tensor
    f_max_n: Tensor
    tendon_strain: Tensor  # at F_max

    @property
    def width_mm(self) -> Tensor:
        """Distance between the aponeuroses, which a muscle of constant width keeps."""
        return self.l_opt_mm * torch.sin(self.pennation_opt_rad)


class Equilibrium(NamedTuple):
    """Where muscle and tendon balance, each the shape of the batch."""

    fascicle_mm: Tensor
    pennation_rad: Tensor
    tendon_mm: Tensor
    force_n: Tensor  # along the tendon
    residual: Tensor  # (muscle - tendon) / F_max, to check


def active_force_length(n: Tensor) -> Tensor:
    """f_L: three bell curves; 1 at n = 1.  Holds for n from 0.2 to 1.8.

    (The denominator is squared; the paper's supplement lacks the square.)
    """
    bells = [b1 * torch.exp(-0.5 * ((n - b2) / (b3 + b4 * n)) ** 2) for b1, b2, b3, b4 in _F_L]
    return bells[0] + bells[1] + bells[2]


def passive_force_length(n: Tensor) -> Tensor:
    """f_P: an exponential, 0 at n = 0.2, 1 at n = 1.6."""
    return (torch.exp(_K_PE * (n - 1) / _E0) - _C_PE) / (math.exp(_K_PE) - _C_PE)


def force_velocity(v: Tensor) -> Tensor:
    """f_V: 0 at v = -1, 1 at rest, 1.794 at v = 1."""
    return _D1 * torch.asinh(_D2 * v + _D3) + _D4


def inverse_force_velocity(f: Tensor) -> Tensor:
    """The velocity whose f_V is ``f``."""
    return (torch.sinh((f - _D4) / _D1) - _D3) / _D2


def tendon_force(length: Tensor, strain: Tensor | float = STRAIN) -> Tensor:
    """f_T: 0 at slack length, 1 at ``strain`` beyond it; < 0 when slack, so a slope remains."""
    return _C_T * (torch.exp(_stiffness(strain) * (length - 1)) - 1)


def inverse_tendon_force(f: Tensor, strain: Tensor | float = STRAIN) -> Tensor:
    """The tendon length whose f_T is ``f`` (> -0.2)."""
    return 1 + torch.log1p(f / _C_T) / _stiffness(strain)


def thelen_rate(
    excitation: Tensor, activation: Tensor, rise_s: float = 0.015, fall_s: float = 0.050
) -> Tensor:
    """1/tau in 1/s of da/dt = (e - a)/tau, with the kink between rise and fall (Thelen 2003)."""
    z = 0.5 + 1.5 * activation
    return torch.where(excitation > activation, 1 / (rise_s * z), z / fall_s)


def smooth_rate(
    excitation: Tensor,
    activation: Tensor,
    rise_s: float = 0.015,
    fall_s: float = 0.060,
    sharpness: float = 10.0,
) -> Tensor:
    """The same without the kink (De Groote 2016).

    Published with a ``sharpness`` of 0.1, which averages the two times; OpenSim advises 10.
    """
    f = 0.5 * torch.tanh(sharpness * (excitation - activation))
    z = 0.5 + 1.5 * activation
    return (0.5 + f) / (rise_s * z) + (0.5 - f) * z / fall_s


def activate(
    excitation: Tensor,
    dt_s: float,
    rate: Callable[[Tensor, Tensor], Tensor] = smooth_rate,
    start: Tensor | float = A_MIN,
) -> Tensor:
    """Activation ``(n, ...)`` at the times of ``excitation (n, ...)``, 0..1, each held for dt_s.

    ``start`` is the first activation, A_MIN the least.  Midpoint rule on the exponential of a
    frozen rate: second order, and stable however long the step.
    """
    a = torch.as_tensor(start, dtype=excitation.dtype).expand(excitation.shape[1:])
    steps = [a]
    for e in excitation[:-1].unbind():
        half = e + (a - e) * torch.exp(-0.5 * dt_s * rate(e, a))
        a = (e + (a - e) * torch.exp(-dt_s * rate(e, half))).clamp(min=A_MIN)
        steps.append(a)
    return torch.stack(steps)


def fascicle(muscle: Muscle, along_mm: Tensor) -> tuple[Tensor, Tensor]:
    """Length in mm and cosine of pennation of fascicles that span ``along_mm`` along the tendon.

    Constant width: a parallelogram that keeps the distance between its aponeuroses.
    """
    length_mm = torch.hypot(along_mm, muscle.width_mm)
    return length_mm, along_mm / length_mm


def rigid_tendon_force(
    muscle: Muscle,
    activation: Tensor,
    path_mm: Tensor,
    path_mm_s: Tensor | float = 0.0,
    damping: float = 0.0,
) -> Tensor:
    """Force along the tendon in N of a muscle whose tendon does not stretch.

    ``path_mm`` is the muscle-tendon length, ``path_mm_s`` its speed, lengthening > 0.  On a path
    shorter than the tendon it hangs slack and pulls with nothing.
    """
    length_mm, cosine = fascicle(muscle, (path_mm - muscle.l_slack_mm).clamp(min=0))
    n = (length_mm / muscle.l_opt_mm).clamp(min=N_MIN)
    v = path_mm_s * cosine / (V_MAX * muscle.l_opt_mm)
    active = activation * active_force_length(n) * force_velocity(v)
    return muscle.f_max_n * (active + passive_force_length(n) + damping * v) * cosine


def equilibrium(muscle: Muscle, activation: Tensor, path_mm: Tensor) -> Equilibrium:
    """Balance of muscle and stretching tendon at rest (v = 0) at muscle-tendon length ``path_mm``.

    The unknown x is the length of the fascicles along the tendon; the tendon that carries their
    force fills the rest of the path: l_slack f_T^-1(h(x)) + x = path.  Its left side grows with x,
    so there is one answer, for tendons up to 8 optimal lengths and 10 % strain.  Newton's method,
    kept inside a bracket by bisection.  Gradients come from one more Newton step at the
    solution (implicit function theorem): exact to first order, not meant for second.
    Raises ValueError where the path is too short to hold any tension, or not a number.  Not under
    ``torch.inference_mode``: the search itself differentiates.
    """
    # Broadcast first: every muscle of the batch has its own x.
    activation, path_mm, *constants = torch.broadcast_tensors(activation, path_mm, *muscle)
    m = Muscle(*constants)

    def excess_mm(x: Tensor) -> Tensor:
        h = _muscle_force(m, activation, x)
        return m.l_slack_mm * inverse_tendon_force(h, m.tendon_strain) + x - path_mm

    with torch.no_grad():
        low = ((N_MIN * m.l_opt_mm) ** 2 - m.width_mm**2).clamp(min=0).sqrt()
        high = path_mm - m.l_slack_mm
        if not bool(((low < high) & (excess_mm(low) < 0)).all()):
            raise ValueError(
                "a muscle-tendon path is too short for its tendon: give longer paths, or a "
                "shorter l_slack_mm"
            )
        x = 0.5 * (low + high)
        for _ in range(_ROUNDS):
            excess, slope = _with_slope(excess_mm, x)
            low, high = torch.where(excess < 0, x, low), torch.where(excess < 0, high, x)
            newton = x - excess / slope
            inside = (newton >= low) & (newton <= high)  # false for nan too
            x = torch.where(inside, newton, 0.5 * (low + high))
        slope = _with_slope(excess_mm, x)[1]
    x = x - excess_mm(x) / slope  # one step in the graph: gradients
    length_mm, cosine = fascicle(m, x)
    tendon_mm = path_mm - x
    f = _muscle_force(m, activation, x)
    return Equilibrium(
        fascicle_mm=length_mm,
        pennation_rad=torch.atan2(m.width_mm, x),
        tendon_mm=tendon_mm,
        force_n=m.f_max_n * f,
        residual=f - tendon_force(tendon_mm / m.l_slack_mm, m.tendon_strain),
    )


def _stiffness(strain: Tensor | float) -> Tensor | float:
    return math.log((1 + _C_T) / _C_T) / strain


def _muscle_force(muscle: Muscle, activation: Tensor, along_mm: Tensor) -> Tensor:
    """Isometric force along the tendon over F_max."""
    length_mm, cosine = fascicle(muscle, along_mm)
    n = length_mm / muscle.l_opt_mm
    return (activation * active_force_length(n) + passive_force_length(n)) * cosine


def _with_slope(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """An elementwise ``f`` at x and its derivative there, both outside the graph."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = f(x)
        slope = torch.autograd.grad(value.sum(), x)[0]
    return value.detach(), slope
