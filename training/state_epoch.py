"""One pass of the state CNN over its training pictures, and what is minimised in it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from models.state_cnn import Reading, StateCnn, StateCnnConfig
from training.augment import Augment
from training.checkpoint import Training
from training.losses import doubt_loss
from training.outliers import Spoilt, made_from
from training.predict_state import Rows
from training.state_data import Pictures, StateData, borrow, regions


@dataclass(frozen=True)
class StateFit:
    """How the network is trained; everything that changes the result but the data."""

    epochs: int = 8
    patience: int = 8  # epochs without a better validation error before it stops
    # Epoch whose weights stay: best for the validation people, or last. A few people's best epoch
    # is as much their luck: where the rate has run down, the last one reads strangers better.
    keep: str = "best"
    batch: int = 64
    rate: float = 2e-3
    decay: float = 2e-2
    seed: int = 1
    anatomy: float = 1.0  # weight of the anatomy's error: physics supervises the features
    odd: float = 1.0  # weight of telling spoilt pictures from good ones
    # Spoilt pictures in a batch, besides the good ones; 0: the classifier of odd pictures learns
    # them when the rest is done, from features that they did not shape.
    exposed: int = 16
    copies: int = 4  # changed copies of each picture, where they are kept: training.kept
    bf16: bool = False  # the convolutions of training, where the CPU has bfloat16 in hardware
    device: str = "cpu"  # or cuda
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        if self.device not in ("cpu", "cuda"):
            raise ValueError(f"fit.device must be cpu or cuda, is {self.device!r}")
        if self.copies < 0:
            raise ValueError(f"fit.copies must not be negative, is {self.copies}")
        if self.keep not in ("best", "last"):
            raise ValueError(f"fit.keep must be best or last, is {self.keep!r}")
        for name in ("epochs", "patience", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"fit.{name} must be at least 1, is {getattr(self, name)}")


def steps_of(pictures: int, fit: StateFit) -> int:
    """Batches of an epoch; what does not fill the last one waits for another order."""
    return max(1, pictures // fit.batch)


class Pool:
    """Everything a training draws its batches from, on the training's device."""

    def __init__(self, data: StateData, train: Rows, spoilt: Spoilt | None, fit: StateFit):
        self.views = Views(data, fit)
        self.targets = borrow(data.targets).to(fit.device)
        self.anatomy = borrow(data.anatomy).to(fit.device)
        self.train = borrow(train).to(fit.device)
        self.exposed = 0
        if spoilt is not None and fit.exposed:
            usable = made_from(spoilt, data.person[train])
            self.odd = borrow(usable).to(fit.device)
            self.odd_views = Views(spoilt, fit)
            self.exposed = fit.exposed if len(usable) else 0

    def batch(self, config: StateCnnConfig, good: Tensor, rng: torch.Generator) -> Tensor:
        """Regions, or what is kept, of these rows, then of ``exposed`` random spoilt pictures."""
        x = self.views.changed(config, good, rng)
        if not self.exposed:
            return x
        pick = torch.randint(len(self.odd), (self.exposed,), generator=rng, device=rng.device)
        return torch.cat([x, self.odd_views.changed(config, self.odd[pick], rng)])


class Views:
    """Pictures as a training sees them: changed anew each time, or one of the kept copies."""

    def __init__(self, pictures: Pictures, fit: StateFit):
        self.change = fit.augment
        self.kept = None if pictures.kept is None else borrow(pictures.kept).to(fit.device)
        self.images, self.maps = pictures.on("cpu" if self.kept is not None else fit.device)

    def changed(self, config: StateCnnConfig, rows: Tensor, rng: torch.Generator) -> Tensor:
        """Regions, or what is kept, of these rows, changed at random."""
        if self.kept is None:
            return regions(self.images[rows], self.maps[rows], config, self.change, rng)
        which = torch.randint(len(self.kept), rows.shape, generator=rng, device=rng.device)
        return self.kept[which, rows].float()


def epoch(net: StateCnn, run: Training, pool: Pool, fit: StateFit) -> float:
    """One pass over the training pictures; the mean squared error of the standardised targets."""
    net.train()
    rng, steps = run.rng, steps_of(len(pool.train), fit)
    order = pool.train[torch.randperm(len(pool.train), generator=rng, device=rng.device)]
    total = torch.zeros((), device=rng.device)
    for good in order[: steps * fit.batch].split(fit.batch):
        x = pool.batch(net.config, good, rng)
        if net.config.trunk == "pooled":
            read = net.read_kept(x)
        else:
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(fit.device, torch.bfloat16, enabled=fit.bf16):
                read = net.read(x)
        read = Reading(*(part.float() for part in read))
        error, loss = _loss(net, read, pool.targets[good], pool.anatomy[good], fit)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        run.optimiser.step()
        run.schedule.step()
        total += error.detach()
    return total.item() / steps


def _loss(
    net: StateCnn, read: Reading, targets: Tensor, anatomy: Tensor, fit: StateFit
) -> tuple[Tensor, Tensor]:
    """The values' error, and all that is minimised; rows beyond the targets are spoilt pictures."""
    n = len(targets)
    wanted = (targets - net.mean) / net.scale
    error = F.mse_loss(read.value[:n], wanted)
    loss = error + doubt_loss(read.value[:n], read.log_sd[:n], wanted)
    known = torch.isfinite(anatomy)
    form = (anatomy.nan_to_num() - net.anatomy_mean) / net.anatomy_scale
    squared = torch.where(known, read.anatomy[:n] - form, 0.0) ** 2
    loss = loss + fit.anatomy * squared.sum() / known.sum().clamp(min=1)
    if len(read.odd) > n:
        odd = torch.zeros_like(read.odd)
        odd[n:] = 1.0
        loss = loss + fit.odd * F.binary_cross_entropy_with_logits(read.odd, odd)
    return error, loss
