"""The least-squares problem behind ``calibration/physiology.py``: one vector in, residuals out.

Residuals are in units of what is allowed: of the moment, of unmeasured activity, of envelopes
beyond 0..1, and last of what people usually are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.hill_joint import Geometry, activation, excitation, forces_n, moment_nm
from models.muscle import Muscle
from models.physiology import BOUNDS, PER_MUSCLE, Values, surprises

F64 = NDArray[np.float64]

ALLOWED = 0.03  # of the greatest moment: an error that does not count for much
ALLOWED_ACTIVITY = 0.3  # the same for a muscle nobody measured (Ao et al. 2020)
OUTSIDE = 0.02  # the same for an envelope beyond 0..1
APART_S = 0.2  # samples nearer than this are not independent
SETTLE_S = 0.3  # of a trial: activation is still finding its way
STEP = 1e-6  # of differences
MOST_WEIGHT = 100.0  # of a time course


@dataclass(frozen=True)
class Effort:
    """One trial: ``(n,)``, and ``(n, muscles)``; ``courses (n, k)`` for unmeasured muscles."""

    envelope: F64  # NaN: unmeasured, a mixture of the courses
    geometry: Geometry  # of float64 tensors
    speed_rad_s: F64
    moment_nm: F64
    courses: F64 | None = None


class HillProblem:
    """Residuals of all trials at once, padded to the longest, as a function of one vector."""

    def __init__(
        self, efforts: Sequence[Effort], muscle: Muscle, rate_hz: float, fixed: tuple[str, ...],
        every: int, like: Mapping[int, Sequence[int]],
        allowed_activity: float = ALLOWED_ACTIVITY,
    ):  # fmt: skip
        if not efforts:
            raise ValueError("no trials to identify a person from")
        if unknown := set(fixed) - set(BOUNDS):
            raise ValueError(f"no parameters {sorted(unknown)}; known: {', '.join(BOUNDS)}")
        self.rate_hz, self.every = rate_hz, every
        self.allowed_activity = allowed_activity
        self.muscle = Muscle(*(m.double() for m in muscle))
        count = len(self.muscle.f_max_n)
        self.fixed = Values(
            *(
                torch.full((count,) if n in PER_MUSCLE else (), b.expect, dtype=torch.float64)
                for n, b in BOUNDS.items()
            )
        )
        self.free = [n for n in BOUNDS if n not in fixed]
        self.bounds = [BOUNDS[n] for n in self.free for _ in getattr(self.fixed, n).reshape(-1)]
        self.own = len(self.bounds)  # parameters of the person; the rest are weights
        longest = max(len(e.moment_nm) for e in efforts)
        self.envelope = _stack([e.envelope for e in efforts], longest)
        self.unmeasured = torch.isnan(self.envelope).all(0).all(0)
        if bool(torch.isnan(self.envelope[..., ~self.unmeasured]).any()):
            raise ValueError("an envelope is NaN in some samples: leave those trials out")
        self.like = like
        followers = torch.zeros_like(self.unmeasured)
        followers[list(like)] = True
        self.mixing = self.unmeasured & ~followers
        if bool(self.mixing.any()) and any(e.courses is None for e in efforts):
            raise ValueError("muscles without an electrode need time courses to be mixed from")
        self.envelope = self.envelope.nan_to_num()
        self.geometry = Geometry(
            *(_stack([np.asarray(e.geometry[k]) for e in efforts], longest) for k in range(3))
        )
        # By the side of the joint they are on.
        self.groups = self.geometry.arm_mm.mean((0, 1)).sign()
        self.speed = _stack([e.speed_rad_s for e in efforts], longest)
        self.moment = _stack([e.moment_nm for e in efforts], longest)
        self.allowed_nm = ALLOWED * float(self.moment.abs().max())
        self.weight = _stack([np.ones(len(e.moment_nm)) for e in efforts], longest, hold=False)
        self.weight[: round(SETTLE_S * rate_hz)] = 0.0
        # Neighbouring samples say the same: together they count once.
        self.share = (every / (APART_S * rate_hz)) ** 0.5
        courses = [e.courses for e in efforts if e.courses is not None]
        k = courses[0].shape[1] if courses else 0
        self.courses = _stack(courses, longest) if courses else torch.zeros(1, 1, 0)
        self.mixed = (k, int(self.mixing.sum()))
        self.size = self.own + self.mixed[0] * self.mixed[1]

    def limits(self, signed: bool) -> tuple[F64, F64]:
        """Of every unknown."""
        weights = self.size - self.own
        low = [b.low for b in self.bounds] + [-MOST_WEIGHT if signed else 0.0] * weights
        return np.array(low), np.array([b.high for b in self.bounds] + [MOST_WEIGHT] * weights)

    def start(self) -> F64:
        """Everything as expected; unmeasured muscles a little active, so that there is a slope."""
        return np.array([b.expect for b in self.bounds] + [0.1] * (self.size - self.own))

    def scale(self) -> F64:
        """How far each unknown usually goes."""
        return np.array([b.sd for b in self.bounds] + [0.3] * (self.size - self.own))

    def residuals(self, x: F64) -> F64:
        """All of them, those of what is usual last."""
        with torch.no_grad():
            return np.asarray(self._residuals(torch.from_numpy(x)).numpy())

    def jacobian(self, x: F64) -> F64:
        """One-sided differences, all of them at once: far cheaper here than forward derivatives."""
        inward = np.where(x + STEP > self.limits(True)[1], -STEP, STEP)
        moved = torch.from_numpy(np.concatenate([x[None], x + np.diag(inward)]))
        with torch.no_grad():
            r = torch.func.vmap(self._residuals)(moved).numpy()
        return np.asarray((r[1:] - r[0]).T / inward)

    def values(self, x: Tensor) -> Values:
        """The parameters in a vector."""
        parts, at = {}, 0
        for name in self.free:
            size = getattr(self.fixed, name).shape
            parts[name] = x[at : at + size.numel()].reshape(size)
            at += size.numel()
        return self.fixed._replace(**parts)

    def mixture(self, x: Tensor) -> Tensor:
        """Envelopes ``(time, trials, muscles)``."""
        if not self.mixed[1]:
            return self.envelope
        mixed = self.courses @ x[self.own :].reshape(self.mixed)
        full = torch.zeros_like(self.envelope)
        where = torch.nonzero(self.mixing).squeeze(1)
        return full.index_add(2, where, mixed) + self.envelope

    def moment_error(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Model less measured ``(time, trials)``, and the envelopes behind it."""
        values, envelope = self.values(x), self.mixture(x)
        gain = torch.where(self.unmeasured, torch.ones_like(values.gain), values.gain)
        v = values._replace(gain=gain)
        if self.like:
            columns = list(envelope.unbind(-1))
            for follower, of in self.like.items():
                columns[follower] = torch.stack([columns[b] for b in of]).mean(0)
            envelope = torch.stack(columns, -1)
        a = activation(excitation(envelope, v, self.rate_hz), v, self.rate_hz)
        net = moment_nm(forces_n(self.muscle, v, a, self.geometry), self.geometry)
        return net - v.damping_nm_s * self.speed - self.moment, envelope

    def _residuals(self, x: Tensor) -> Tensor:
        error, envelope = self.moment_error(x)
        weight = self.weight[:: self.every] * self.share
        parts = [(error[:: self.every] * weight / self.allowed_nm).reshape(-1)]
        if self.mixed[1]:
            said = envelope[:: self.every][..., self.mixing]
            w = weight[..., None]
            beyond = (-said).clamp(min=0) + (said - 1).clamp(min=0)
            price = said * w / self.allowed_activity
            parts += [price.reshape(-1), (beyond * w / OUTSIDE).reshape(-1)]
        return torch.cat([*parts, self.prior(x)])

    def prior(self, x: Tensor) -> Tensor:
        """How unusual a vector's person is; the last residuals."""
        return surprises(self.values(x), self.groups, self.free)

    def rmse_nm(self, x: F64) -> float:
        """Of the moment, without the beginnings of trials."""
        with torch.no_grad():
            error, _ = self.moment_error(torch.from_numpy(x))
        return float(((error**2 * self.weight).sum() / self.weight.sum()).sqrt())

    def prior_sd(self, x: F64) -> F64:
        """What would be known of each parameter without any data."""
        jacobian = torch.func.jacrev(self.prior)(torch.from_numpy(x[: self.own])).numpy()
        return np.asarray(np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian))))


def _stack(arrays: Sequence[F64], longest: int, hold: bool = True) -> Tensor:
    """``(time, trials, ...)``: shorter ones hold their last row, or are followed by zeros."""
    out = []
    for a in arrays:
        rest = np.repeat(a[-1:], longest - len(a), axis=0)
        out.append(np.concatenate([a, rest if hold else np.zeros_like(rest)]))
    return torch.from_numpy(np.stack(out, 1).astype(np.float64))
