"""Train network and person together on trials of one joint."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from calibration.physiology import identify
from models.hill_joint import Geometry
from models.muscle import Muscle
from models.nmm import Accelerate, Nmm, Paths, Read, shoot
from models.physiology import BOUNDS, Values, surprises
from training.joint_data import JointTrial
from training.nmm_config import NmmRun
from training.synergy import effort

SHARE_SD = 0.5  # of the logarithm of how much a muscle follows a neighbour

Say = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Joint:
    """What all trials of a joint share."""

    names: tuple[str, ...]
    muscle: Muscle
    neighbours: dict[str, tuple[str, ...]]  # unmeasured muscle to measured ones it is most like
    paths: Paths | None = None  # with ``accelerate``: for forward dynamics
    accelerate: Callable[[Tensor], Accelerate] | None = None  # of loads in kg


@dataclass(frozen=True)
class Standard:
    """Mean and SD of features over the training trials."""

    mean: Tensor
    sd: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.sd


@dataclass
class Fitted:
    """A trained model and how it came to be."""

    model: Nmm
    standard: Standard
    loads_kg: tuple[float, ...]  # that it was trained on
    seconds: float
    history: list[dict[str, float]]


class Windows:
    """Cuts random windows out of trials, some of them with another load."""

    def __init__(self, trials: Sequence[JointTrial], run: NmmRun):
        self.trials, self.run = list(trials), run
        self.length = run.network.window
        times, more_kg = run.reach
        self.most_kg = times * max(t.load_kg for t in self.trials) + more_kg
        self.starts = [
            (i, s)
            for i, t in enumerate(self.trials)
            for s in range(0, len(t.angle_rad) - self.length + 1, self.length // 2)
        ]

    def epoch(self, rng: np.random.Generator) -> list[dict[str, Tensor]]:
        """Every stretch once, shifted a little, in batches."""
        order = rng.permutation(len(self.starts))
        batches = []
        for at in range(0, len(order), self.run.batch):
            cuts = [self._cut(rng, *self.starts[k]) for k in order[at : at + self.run.batch]]
            batches.append({k: torch.stack([c[k] for c in cuts], 1) for k in cuts[0]})
        return batches

    def _cut(self, rng: np.random.Generator, trial: int, start: int) -> dict[str, Tensor]:
        t = self.trials[trial]
        last = len(t.angle_rad) - self.length
        s = int(np.clip(start + rng.integers(-self.length // 4, self.length // 4 + 1), 0, last))
        here = slice(s, s + self.length)
        more, envelope = 0.0, t.envelope[here]
        if rng.random() < self.run.other_loads and np.any(t.moment_per_kg):
            more = rng.uniform(0.0, self.most_kg) - t.load_kg
            envelope = np.full_like(envelope, np.nan)
        cut = {
            "features": t.features[here] + more * t.features_per_kg[here],
            "angle": t.angle_rad[here], "speed": t.speed_rad_s[here],
            "moment": t.moment_nm[here] + more * t.moment_per_kg[here],
            "length_mm": t.length_mm[here], "arm_mm": t.arm_mm[here],
            "path_mm_s": t.path_mm_s[here], "envelope": envelope,
            "load": np.array([t.load_kg + more]),
        }  # fmt: skip
        return {k: torch.as_tensor(v, dtype=torch.float32) for k, v in cut.items()}


class Terms:
    """The loss, term by term."""

    def __init__(self, joint: Joint, run: NmmRun, trials: Sequence[JointTrial]):
        self.joint, self.run = joint, run
        envelopes = np.concatenate([t.envelope for t in trials])
        self.measured = torch.tensor(~np.isnan(envelopes).all(0))
        spread = np.nan_to_num(np.nanvar(envelopes[:, self.measured.numpy()], axis=0), nan=1.0)
        self.envelope_var = torch.tensor(spread, dtype=torch.float32).clamp(min=1e-4)
        self.moment_var = float(np.var(np.concatenate([t.moment_nm for t in trials])))
        self.angle_var = float(np.var(np.concatenate([t.angle_rad for t in trials])))
        index = joint.names.index
        self.kin = [(index(a), [index(b) for b in of]) for a, of in joint.neighbours.items()]
        self.kin_var = [max(float(np.nanvar(envelopes[:, of].mean(1))), 1e-4) for _, of in self.kin]
        # How much of each neighbour: begins with their mean, and learns.
        self.shares = [torch.zeros(len(of), requires_grad=True) for _, of in self.kin]
        arms = np.concatenate([t.arm_mm for t in trials]).mean(0)
        self.groups = torch.tensor(np.sign(arms))

    def __call__(
        self, model: Nmm, batch: dict[str, Tensor], read: Read, shooting: bool
    ) -> dict[str, Tensor]:
        """Unweighted terms of a batch."""
        u, settle = read.envelope, self.run.settle
        said = u[..., self.measured]
        wanted = batch["envelope"][..., self.measured]
        known = ~wanted.isnan()
        error = (said - torch.where(known, wanted, said)) ** 2 / self.envelope_var
        values = model.person()
        off = (read.moment_nm - batch["moment"])[settle:]
        like = [
            (u[..., a] - u[..., of] @ share.softmax(0)) ** 2 / var
            for (a, of), var, share in zip(self.kin, self.kin_var, self.shares, strict=True)
        ]
        terms = {
            "envelope": error.sum() / (known.sum() + 1),
            "moment": (off**2).mean() / self.moment_var,
            "effort": (u[..., ~self.measured] ** 2).mean(),
            "kin": torch.stack(like).mean() if like else u.new_zeros(()),
            "shares": sum(((s / SHARE_SD) ** 2).sum() for s in self.shares) + u.new_zeros(()),
            "smooth": ((u[1:] - u[:-1]) ** 2).mean() * model.rate_hz,
            "person": (surprises(values, self.groups) ** 2).sum(),
        }
        if shooting and self.joint.paths and self.joint.accelerate:
            rolled = shoot(
                model, read.activation[settle:], batch["angle"][settle:],
                batch["speed"][settle:], self.joint.paths, self.joint.accelerate(batch["load"]),
            )  # fmt: skip
            steps, pieces = rolled.shape[:2]
            target = batch["angle"][settle + 1 : settle + 1 + steps * pieces]
            target = target.reshape(pieces, steps, -1).transpose(0, 1)
            terms["motion"] = ((rolled - target) ** 2).mean() / self.angle_var
        return terms


def fit(trials: Sequence[JointTrial], joint: Joint, run: NmmRun, say: Say | None = None) -> Fitted:
    """Train on whole trials.  Raises ValueError where a trial is shorter than a window."""
    short = [t.name for t in trials if len(t.angle_rad) < run.network.window]
    if short or not trials:
        raise ValueError(f"trials shorter than a window of {run.network.window}: {short or 'none'}")
    began = time.monotonic()
    torch.manual_seed(run.seed)
    rng = np.random.default_rng(run.seed)
    terms, windows = Terms(joint, run, trials), Windows(trials, run)
    model = Nmm(run.network, joint.muscle, trials[0].rate_hz, terms.measured)
    if run.first_guess:
        model.person.set(**guess(trials, joint)._asdict())
    every = torch.tensor(np.concatenate([t.features for t in trials]), dtype=torch.float32)
    standard = Standard(every.mean(0), every.std(0).clamp(min=1e-6))
    optimizer = torch.optim.Adam(
        [
            {"params": list(model.network.parameters()), "lr": run.network_rate},
            {"params": [p for p in model.person.parameters() if p.requires_grad],
             "lr": run.person_rate},
            {"params": terms.shares, "lr": run.person_rate},
        ]
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, run.epochs)
    history = []
    for epoch in range(run.epochs):
        together = epoch >= run.alone * run.epochs
        sums: dict[str, float] = {}
        batches = windows.epoch(rng)
        model.train()
        for k, batch in enumerate(batches):
            shooting = together and run.loss.motion > 0 and k % run.shoot_every == 0
            loss = _step(model, standard, terms, batch, run, together, shooting, sums)
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"the loss became {loss} in epoch {epoch}: lower the rates"
                )
            optimizer.step()
        schedule.step()
        history.append({k: v / len(batches) for k, v in sums.items()})
        if say:
            say(epoch, history[-1])
    model.eval()
    loads = tuple(sorted({t.load_kg for t in trials}))
    return Fitted(model, standard, loads, time.monotonic() - began, history)


def guess(trials: Sequence[JointTrial], joint: Joint) -> Values:
    """The person, were unmeasured muscles like their neighbours; a little inside the bounds."""
    found = identify(
        [effort(t) for t in trials], joint.muscle, joint.names, trials[0].rate_hz,
        like=joint.neighbours,
    )  # fmt: skip
    inside = {}
    for name, value in found.values._asdict().items():
        b = BOUNDS[name]
        edge = 0.02 * (b.high - b.low)
        inside[name] = value.clamp(b.low + edge, b.high - edge).float()
    return Values(**inside)


def _step(
    model: Nmm, standard: Standard, terms: Terms, batch: dict[str, Tensor], run: NmmRun,
    together: bool, shooting: bool, sums: dict[str, float],
) -> float:  # fmt: skip
    """Gradients of one batch, clipped; the loss."""
    model.zero_grad(set_to_none=True)
    features = standard(batch["features"]).transpose(0, 1)
    g = Geometry(batch["length_mm"], batch["arm_mm"], batch["path_mm_s"])
    read = model(features, g, batch["speed"])
    parts = terms(model, batch, read, shooting)
    used = ("envelope", "smooth") if not together else tuple(parts)
    loss = sum((getattr(run.loss, n) * parts[n] for n in used), torch.zeros(()))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), run.clip)
    for n in used:
        sums[n] = sums.get(n, 0.0) + parts[n].item()
    return loss.item()


@torch.no_grad()
def read_trial(fitted: Fitted, t: JointTrial) -> tuple[np.ndarray, np.ndarray]:
    """Envelopes ``(n, muscles)`` and moment ``(n,)`` of a whole trial, from motion and load alone.

    Windows overlap by half and their middles are kept; a causal network keeps their ends.
    """
    model, w = fitted.model, fitted.model.network.config.window
    x = fitted.standard(torch.tensor(t.features, dtype=torch.float32))
    n, causal = len(x), fitted.model.network.config.causal
    starts = list(range(0, n - w, w // 4)) + [n - w]
    said = torch.cat([model.network(x[None, s : s + w]) for s in starts])
    envelope = torch.full((n, said.shape[2]), math.nan)
    for s, u in zip(starts, said, strict=True):
        skip = 0 if s == 0 else (3 * w // 4 if causal else 3 * w // 8)
        envelope[s + skip : s + w] = u[skip:]
    g = Geometry(
        *(torch.tensor(v, dtype=torch.float32) for v in (t.length_mm, t.arm_mm, t.path_mm_s))
    )
    speed = torch.tensor(t.speed_rad_s, dtype=torch.float32)
    read = model.drive(envelope, g, speed, model.values())
    return envelope.numpy(), read.moment_nm.numpy()
