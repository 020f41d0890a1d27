"""Fits LFADS to windows of EMG: one epoch at a time, so that a search may change its mind between.

``fit_lfads`` is a whole training with fixed settings; ``training.pbt`` runs many side by side.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.lfads import Lfads, LfadsConfig
from training.checkpoint import Training, weights
from training.lfads_loss import Weights, gamma_nll, total
from training.lfads_noise import InputNoise, lesson

F32 = NDArray[np.float32]
HIDDEN, MASKS = 0.3, 3  # share of the validation that is hidden, and how many times anew
SMOOTH = 0.7  # weight of the newest validation likelihood in the smoothed one
BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class Hyper:
    """What nobody can set by hand for a new recording, and the search sets."""

    rate: float = 3e-3
    dropout: float = 0.05
    hidden: float = 0.3  # coordinated dropout
    kl_co: float = 1e-6
    kl_ic: float = 1e-6
    l2_gen: float = 1e-4
    l2_con: float = 1e-4

    @property
    def weights(self) -> Weights:
        """Of the loss."""
        return Weights(self.kl_ic, self.kl_co, self.l2_gen, self.l2_con)


@dataclass(frozen=True)
class LfadsFit:
    """How LFADS is trained; everything that changes the result but data and sizes."""

    epochs: int = 48
    patience: int = 40  # epochs without a better smoothed validation likelihood
    batches: int = 30  # of an epoch, however long the recording
    batch: int = 16  # windows
    ramp: int = 10  # epochs over which KL and L2 are brought in
    clip: float = 200.0  # norm of the gradient of the scaled loss
    seed: int = 1
    device: str = "cpu"  # or cuda
    # 100 ms at a time: what is hidden must not be told by the next shots of the same motor units.
    noise: InputNoise = field(default_factory=lambda: InputNoise(block_bins=50))
    hyper: Hyper = field(default_factory=Hyper)

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batches", "batch", "ramp"):
            if getattr(self, name) < 1:
                raise ValueError(f"fit.{name} must be at least 1, is {getattr(self, name)}")


class EmgWindows(NamedTuple):
    """Scaled windows ``(n, bins, channels)`` float32."""

    train: F32
    validate: F32


class Epoch(NamedTuple):
    """Mean negative log-likelihoods."""

    number: int  # from 1
    train: float
    validation: float
    smooth: float  # of the validation, by which epochs and members of a search are compared


class LfadsTraining:
    """A network, its optimiser and its data.  The same seed gives the same weights.

    Raises ValueError for windows that do not fit the network, or that cannot be fitted.
    """

    def __init__(self, data: EmgWindows, config: LfadsConfig, fit: LfadsFit, schedule: bool):
        _check(data, config)
        torch.manual_seed(fit.seed)
        torch.set_num_threads(1)
        self.fit = fit
        self.net = Lfads(config).to(fit.device)
        self.train, self.validate = (torch.from_numpy(x).to(fit.device) for x in data)
        optimiser = torch.optim.Adam(self.net.parameters(), fit.hyper.rate, BETAS)
        steps = fit.epochs * fit.batches
        plan: Any = (
            torch.optim.lr_scheduler.OneCycleLR(
                optimiser, fit.hyper.rate, total_steps=steps, pct_start=0.1, cycle_momentum=False
            )
            if schedule
            else torch.optim.lr_scheduler.ConstantLR(optimiser, 1.0)
        )
        rng = torch.Generator(fit.device).manual_seed(fit.seed)
        key = {"model": asdict(config), "fit": asdict(fit), "windows": digest(data)}
        self.state = Training(self.net, optimiser, plan, rng, key)

    @property
    def epochs(self) -> list[Epoch]:
        """So far."""
        return [Epoch(k, *row) for k, row in enumerate(self.state.history, 1)]

    def epoch(self, hyper: Hyper) -> Epoch:
        """So many batches of the training windows, in random order, with these settings."""
        done = len(self.state.history)
        ramp = min(1.0, (done + 1) / (self.fit.ramp + 1))
        rng, seen = self.state.rng, 0.0
        for rows in self._order():
            x = lesson(self.train[rows], hyper.hidden, self.fit.noise, rng)
            said = self.net(x.shown, sample=True, dropout=hyper.dropout, rng=rng)
            loss, nll = total(self.net, said, x.target, hyper.weights, ramp, x.learn_from)
            self.state.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.fit.clip)
            self.state.optimiser.step()
            self.state.schedule.step()
            seen += nll.item()
        found = self.score()
        before = self.state.history[-1][2] if self.state.history else found
        self.state.history.append(
            [seen / self.fit.batches, found, SMOOTH * found + (1 - SMOOTH) * before]
        )
        return self.epochs[-1]

    def _order(self) -> tuple[torch.Tensor, ...]:
        """Rows of each batch: all windows, shuffled, as often as it takes."""
        n, rng = len(self.train), self.state.rng
        wanted = self.fit.batches * self.fit.batch
        rounds = range(-(-wanted // n))
        rows = torch.cat([torch.randperm(n, generator=rng, device=rng.device) for _ in rounds])
        return tuple(rows[:wanted].tensor_split(self.fit.batches))

    def score(self) -> float:
        """Mean negative log-likelihood of the validation windows where they are hidden.

        The same blocks every time, posterior means.  Shown what it is asked, a network that copies
        noise would be the best.
        """
        rng = torch.Generator(self.fit.device).manual_seed(0)
        noise = replace(self.fit.noise, grain=0.0, shift_sd_bins=0.0)
        found, count = 0.0, 0.0
        with torch.inference_mode():
            for _ in range(MASKS):
                for some in self.validate.split(256):
                    x = lesson(some, HIDDEN, noise, rng)
                    said = self.net(x.shown)
                    nll = gamma_nll(x.target, said.log_shape, said.log_rate)
                    found += (nll * x.learn_from).sum().item()
                    count += x.learn_from.sum().item()
        return found / count

    def set_rate(self, rate: float) -> None:
        """Of every step from now on: for trainings without a schedule."""
        for group in self.state.optimiser.param_groups:
            group["lr"] = rate


def digest(data: EmgWindows) -> str:
    """Of the windows: a training that goes on must find the same ones."""
    found = hashlib.sha256()
    for x in data:
        found.update(repr(x.shape).encode())
        found.update(np.ascontiguousarray(x).tobytes())
    return found.hexdigest()


def fit_lfads(
    data: EmgWindows,
    config: LfadsConfig,
    fit: LfadsFit,
    *,
    checkpoint: Path | None = None,
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> tuple[Lfads, list[Epoch]]:
    """Train with fixed settings; the network of the best epoch, in eval mode on the CPU.

    Adam with one cosine cycle, stopped early.  ``checkpoint`` is written after every epoch; where
    it exists the fit goes on from it, to the same weights as if it had never stopped.
    Raises ValueError for data that cannot be fitted, and for a checkpoint of other settings.
    """
    run = LfadsTraining(data, config, fit, schedule=True)
    if checkpoint is not None and checkpoint.exists():
        run.state.resume(checkpoint)
    while len(run.epochs) < fit.epochs and len(run.epochs) - _best(run.epochs) < fit.patience:
        now = run.epoch(fit.hyper)
        if not np.isfinite(now.train):
            raise ValueError(
                f"epoch {now.number}: the likelihood is no number any more; lower hyper.rate"
            )
        if _best(run.epochs) == now.number:
            run.state.best = weights(run.net)
        if checkpoint is not None:
            run.state.save(checkpoint)
        report(now)
    run.net.load_state_dict(run.state.best)
    return run.net.to("cpu").eval(), run.epochs


def infer(net: Lfads, windows: F32, samples: int = 0, seed: int = 0) -> F32:
    """Activation ``(n, bins, channels)`` of windows: means of the posteriors in one pass, or the
    average over ``samples`` drawn from them, as in the paper.
    """
    rng = torch.Generator().manual_seed(seed)
    parts = []
    with torch.inference_mode():
        for x in torch.from_numpy(windows).split(256):
            if samples:
                drawn = [net(x, sample=True, rng=rng).activation for _ in range(samples)]
                parts.append(torch.stack(drawn).mean(0))
            else:
                parts.append(net(x).activation)
    return np.asarray(torch.cat(parts).numpy())


def _best(epochs: list[Epoch]) -> int:
    """Number of the epoch with the best smoothed validation; 0 before the first."""
    return 1 + int(np.argmin([e.smooth for e in epochs])) if epochs else 0


def _check(data: EmgWindows, config: LfadsConfig) -> None:
    for name, x in data._asdict().items():
        if x.ndim != 3 or x.shape[1:] != (config.bins, config.channels) or not len(x):
            raise ValueError(
                f"{name}: windows {x.shape} for a network of (n, {config.bins}, "
                f"{config.channels}): record longer, or cut them as the network wants"
            )
        if not np.isfinite(x).all() or x.min() < 0:
            raise ValueError(f"{name}: EMG must be rectified, finite and zero or more")
    if still := np.flatnonzero(np.ptp(data.train, axis=(0, 1)) == 0).tolist():
        raise ValueError(f"channels {still} never move: leave them out")
