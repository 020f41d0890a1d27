"""What differs between people's muscles: parameters that stay inside their bounds by construction.

Scales multiply a generic model's constants.  Where bounds and expectations come from:

- ``f_max`` (there of all extensors or all flexors, here of each muscle) and ``l_opt``: bounds of an
  EMG-driven calibration (PMC3399054, table 1).
- ``rise_s``: bounds (7.5 there), expectation and the four times longer fall of the NMSM Pipeline;
  of it the 50 ms that ``delay_s`` is expected to be, too.
- ``shape``: the form and the bounds of Lloyd and Besier 2003.
- ``v_max``: 10 is OpenSim's.

All the rest are DEFAULTs of this project: bounds of ``l_slack`` (narrower than the 15 to 40 % of
those tools), ``gain``, ``v_max``, ``delay_s`` (0..70 ms and 0..125 ms there), ``damping_nm_s``; the
other expectations; every SD.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

FALL_PER_RISE = 4.0
PROPORTION_SD = 0.12  # of strengths within a group; DEFAULT


class Bound(NamedTuple):
    """Smallest and largest value, what to expect, and how far from it people usually are."""

    low: float
    high: float
    expect: float
    sd: float


BOUNDS = {
    "f_max": Bound(0.5, 2.5, 1.0, 0.3),  # scale, per muscle
    "l_opt": Bound(0.8, 1.2, 1.0, 0.06),  # scale, per muscle
    "l_slack": Bound(0.9, 1.1, 1.0, 0.02),  # scale, per muscle
    "gain": Bound(0.5, 1.5, 1.0, 0.15),  # envelope over excitation, per muscle
    "v_max": Bound(5.0, 15.0, 10.0, 2.0),  # of shortening, optimal lengths per second, of all
    "rise_s": Bound(0.008, 0.035, 0.015, 0.005),  # activation; FALL_PER_RISE slower to fall
    "shape": Bound(-3.0, -0.01, -0.5, 0.5),  # of force against activation
    "delay_s": Bound(0.02, 0.10, 0.05, 0.02),  # from EMG to excitation
    "damping_nm_s": Bound(0.0, 0.5, 0.15, 0.1),  # of the joint, per rad
}
PER_MUSCLE = ("f_max", "l_opt", "l_slack", "gain")


class Values(NamedTuple):
    """Parameters as physical values: ``(muscles,)`` for those of ``PER_MUSCLE``, else ``()``."""

    f_max: Tensor
    l_opt: Tensor
    l_slack: Tensor
    gain: Tensor
    v_max: Tensor
    rise_s: Tensor
    shape: Tensor
    delay_s: Tensor
    damping_nm_s: Tensor


class Physiology(nn.Module):
    """Trainable parameters of one person with ``muscles`` muscles.

    ``fixed`` names parameters that keep their expected values.  Raises ValueError for unknown
    names.
    """

    def __init__(self, muscles: int, fixed: tuple[str, ...] = ()):
        super().__init__()
        if unknown := set(fixed) - set(BOUNDS):
            raise ValueError(f"no parameters {sorted(unknown)}; known: {', '.join(BOUNDS)}")
        self.muscles, self.fixed = muscles, fixed
        for name, b in BOUNDS.items():
            raw = _logit(b, b.expect).repeat((muscles,) if name in PER_MUSCLE else ())
            self.register_parameter(name, nn.Parameter(raw, requires_grad=name not in fixed))

    def forward(self) -> Values:
        """The values now."""
        return Values(**{n: _inside(b, getattr(self, n)) for n, b in BOUNDS.items()})

    @torch.no_grad()
    def set(self, **values: Tensor | float) -> None:
        """Give parameters values.  Raises ValueError where one is out of its bounds."""
        for name, value in values.items():
            if name not in BOUNDS:
                raise ValueError(f"no parameter {name!r}; known: {', '.join(BOUNDS)}")
            b, raw = BOUNDS[name], getattr(self, name)
            value = torch.as_tensor(value, dtype=raw.dtype).expand_as(raw)
            if not bool(((value > b.low) & (value < b.high)).all()):
                raise ValueError(f"{name} must lie inside {b.low}..{b.high}, is {value.tolist()}")
            raw.copy_(_logit(b, value))


def surprises(values: Values, groups: Tensor, free: Sequence[str] = tuple(BOUNDS)) -> Tensor:
    """How far the ``free`` parameters are from what is expected, in usual SDs, one after another.

    ``groups (muscles,)`` numbers who works together: a strong person is strong in all of a group,
    whose muscles keep their proportions (Holzbaur, Murray, Gold, Delp 2007), so strengths are
    expected near their group's mean, too.
    """
    parts = [((getattr(values, n) - BOUNDS[n].expect) / BOUNDS[n].sd).reshape(-1) for n in free]
    if "f_max" in free:
        together = (groups[:, None] == groups).to(values.f_max.dtype)
        mean = together @ values.f_max / together.sum(1)
        parts.append((values.f_max / mean - 1) / PROPORTION_SD)
    return torch.cat(parts)


def at_bounds(values: Values, margin: float = 0.02) -> dict[str, list[bool]]:
    """For each parameter, which elements lie within ``margin`` of the range from a bound."""
    hit = {}
    for name, b in BOUNDS.items():
        x = torch.atleast_1d(getattr(values, name).detach())
        edge = margin * (b.high - b.low)
        hit[name] = ((x < b.low + edge) | (x > b.high - edge)).tolist()
    return hit


def _inside(b: Bound, raw: Tensor) -> Tensor:
    return b.low + (b.high - b.low) * torch.sigmoid(raw)


def _logit(b: Bound, value: Tensor | float) -> Tensor:
    part = (torch.as_tensor(value) - b.low) / (b.high - b.low)
    return torch.log(part / (1 - part))
