"""Who is this person's muscle: Hill parameters identified from envelopes and joint moments.

Least squares of the EMG-driven model (Lloyd and Besier 2003) with what people usually are as a
weak prior.  Muscles without an electrode are mixtures of given time courses, whose weights are
found at the same time (synergy extrapolation, Ao et al. 2020), or envelopes given outright.

Every parameter comes with the SD that the data leave it if the model is right, which no Hill model
is: a parameter may be several SDs off where it stands in for what the model lacks.  Where the SD is
hardly below the prior's, the data say nothing; where two parameters can only be told apart
together, the report names the partner.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import least_squares

from calibration.hill_problem import ALLOWED_ACTIVITY, F64, Effort, HillProblem
from models.muscle import Muscle
from models.physiology import BOUNDS, PER_MUSCLE, Values, at_bounds

ROUNDS = 60
IDENTIFIED = 0.5  # of the prior's SD, left by the data
TOGETHER = 0.9  # correlation at which two parameters cannot be told apart


@dataclass(frozen=True)
class Parameter:
    """One number of a person."""

    name: str
    muscle: str  # "" = of all
    value: float
    sd: float
    prior_sd: float
    at_bound: bool
    partner: str  # what it cannot be told apart from; "" = nothing

    @property
    def identified(self) -> bool:
        """Whether the data, not the prior, decided it."""
        return self.sd <= IDENTIFIED * self.prior_sd and not self.at_bound


@dataclass(frozen=True)
class Identification:
    """A person as found."""

    values: Values
    parameters: tuple[Parameter, ...]
    weights: F64  # (k, unmeasured muscles) of the courses
    rmse_nm: float
    rounds: int

    def table(self) -> list[dict[str, object]]:
        """Rows for a report or JSON."""
        return [
            {"parameter": p.name, "muscle": p.muscle, "value": round(p.value, 5),
             "sd": round(p.sd, 5), "low": BOUNDS[p.name].low, "high": BOUNDS[p.name].high,
             "at_bound": p.at_bound, "identified": p.identified, "together_with": p.partner}
            for p in self.parameters
        ]  # fmt: skip


def identify(
    efforts: Sequence[Effort],
    muscle: Muscle,
    names: Sequence[str],
    rate_hz: float,
    fixed: tuple[str, ...] = (),
    signed: bool = True,
    every: int = 4,
    like: Mapping[str, Sequence[str]] | None = None,
    allowed_activity: float = ALLOWED_ACTIVITY,
) -> Identification:
    """Find the person behind trials at ``rate_hz``; every ``every``-th moment counts.

    ``allowed_activity``: of a muscle that is a mixture of courses; more of it costs.
    ``like``: unmeasured muscles that do what the mean of others does; needs no courses.
    ``signed``: weights of the courses may be negative (their mixture must stay within 0..1).
    Raises ValueError for trials that do not fit, and where a muscle has neither electrode nor
    courses.
    """
    pairs = {names.index(a): [names.index(b) for b in of] for a, of in (like or {}).items()}
    problem = HillProblem(efforts, muscle, rate_hz, fixed, every, pairs, allowed_activity)
    low, high = problem.limits(signed)
    found = least_squares(
        problem.residuals, problem.start(), problem.jacobian, (low, high), x_scale=problem.scale(),
        max_nfev=ROUNDS, xtol=1e-5, ftol=1e-5,
    )  # fmt: skip
    return _describe(problem, found.x, names, int(found.nfev))


def _describe(p: HillProblem, x: F64, names: Sequence[str], rounds: int) -> Identification:
    """What was found, and how far the data decide it."""
    rmse_nm = p.rmse_nm(x)
    values = p.values(torch.from_numpy(x))
    jacobian = p.jacobian(x)
    # Data that the model explains badly weigh less than was allowed for.
    data = len(jacobian) - len(p.prior(torch.from_numpy(x)))
    jacobian[:data] /= max(1.0, rmse_nm / p.allowed_nm)
    covariance = np.linalg.pinv(jacobian.T @ jacobian)[: p.own, : p.own]
    sd, prior_sd = np.sqrt(np.diag(covariance)), p.prior_sd(x)
    correlation = covariance / np.maximum(np.outer(sd, sd), 1e-300)
    np.fill_diagonal(correlation, 0.0)
    labels = [(n, m) for n in p.free for m in (names if n in PER_MUSCLE else ("",))]
    hits = at_bounds(values)
    at_bound = [hit for n in p.free for hit in hits[n]]
    parameters = []
    for i, (name, muscle) in enumerate(labels):
        k = int(abs(correlation[i]).argmax())
        partner = " ".join(labels[k]).strip() if abs(correlation[i, k]) > TOGETHER else ""
        known = float(x[i]), float(sd[i]), float(prior_sd[i])
        parameters.append(Parameter(name, muscle, *known, at_bound[i], partner))
    weights = x[p.own :].reshape(p.mixed)
    return Identification(values, tuple(parameters), weights, rmse_nm, rounds)
