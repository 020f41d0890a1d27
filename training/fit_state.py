"""Fits the state CNN: muscle state from segmented B-mode pictures, and when not to trust it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.pooled_cnn import LOOKS, Standard
from models.state_cnn import StateCnn, StateCnnConfig
from training.checkpoint import Training, Weights, adopt, digest, weights
from training.kept import keep
from training.metrics import doubt
from training.oddness import learn_odd, learn_ordinary, set_limits
from training.outliers import Spoilt, made_from
from training.predict_state import Rows, each, predict
from training.state_data import F32, StateData
from training.state_epoch import Pool, StateFit, epoch, steps_of

HEADS = ("value.", "log_sd.", "mean", "scale", "doubt")  # depends on what is estimated


class Epoch(NamedTuple):
    """Mean squared errors of the standardised targets after one pass over the data."""

    number: int  # from 1
    error: float  # on the training pictures, as they were changed
    validation: float  # NaN without validation people


class Fitted(NamedTuple):
    """A trained network in eval mode on the CPU, and how it got there."""

    net: StateCnn
    epochs: list[Epoch]
    best: int  # number of the epoch whose weights these are


def fit_state(
    data: StateData,
    train: Rows,
    validate: Rows,
    spoilt: Spoilt | None,
    model: StateCnnConfig,
    fit: StateFit,
    *,
    checkpoint: Path | None = None,
    start: Weights | None = None,
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> Fitted:
    """Train on some rows of ``data``, stop and calibrate by others; nobody is in both.

    AdamW with one cosine cycle.  ``fit.keep`` says which epoch stays; ``validate`` may choose it,
    and sets the factor on the standard deviations and the limits of the gate.  Without any, the
    last epoch is kept and the training rows do both, too confidently.  ``spoilt`` pictures of the
    training people teach the gate, during the fit or after it: ``fit.exposed``.  ``checkpoint`` is
    written after each epoch; where it exists the fit goes on from it, to the same weights as if it
    had never stopped.  ``start`` are weights to begin from, with their standardisation of targets;
    the heads, and that, are new when the number of outputs or the kind of head differs.
    The same seed gives the same weights on the same CPU.
    Raises ValueError for rows that share a person or do not fit the model, and for a checkpoint or
    weights of another network.
    """
    _check(data, train, validate, model)
    data = keep(data, model, fit.augment, fit.copies, fit.seed)
    spoilt = spoilt and keep(spoilt, model, fit.augment, fit.copies, fit.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(fit.device == "cpu")
    net, run = _begin(data, train, model, fit, start)
    if checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint)
    pool = Pool(data, train, spoilt, fit)
    while len(run.history) < fit.epochs and len(run.history) - _best(run) < fit.patience:
        error = epoch(net, run, pool, fit)
        run.history.append([error, _validation_error(net, data, validate, fit.device)])
        if _kept(run, fit) == len(run.history):
            run.best = weights(net)
        if checkpoint is not None:
            run.save(checkpoint)
        report(Epoch(len(run.history), *run.history[-1]))
    net.load_state_dict(run.best)
    net.eval()
    if spoilt is not None and not fit.exposed:
        _learn_odd(net, data, train, spoilt, fit)
    _settle(net, data, train, validate if len(validate) else train, fit.device)
    net.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return Fitted(net, [Epoch(k, *row) for k, row in enumerate(run.history, 1)], _kept(run, fit))


def _check(data: StateData, train: Rows, validate: Rows, model: StateCnnConfig) -> None:
    if both := sorted(set(data.person[train].tolist()) & set(data.person[validate].tolist())):
        raise ValueError(f"people {both} are in training and in validation")
    if len(train) == 0 or data.targets.shape[1] != model.outputs:
        raise ValueError(
            f"{len(train)} training pictures with {data.targets.shape[1]} targets, for a network "
            f"of {model.outputs} outputs"
        )
    if still := np.flatnonzero(np.ptp(data.targets[train], axis=0) == 0).tolist():
        raise ValueError(f"targets {still} do not move in training: leave them out")


def _begin(
    data: StateData, train: Rows, model: StateCnnConfig, fit: StateFit, start: Weights | None
) -> tuple[StateCnn, Training]:
    torch.manual_seed(fit.seed)
    net = StateCnn(model)
    fresh = list(net.state_dict()) if start is None else adopt(net, start, HEADS)
    if "mean" in fresh:
        targets = data.targets[train]
        net.mean.copy_(torch.from_numpy(targets.mean(0)))
        net.scale.copy_(torch.from_numpy(targets.std(0)))
    if "anatomy_mean" in fresh:
        mean, sd = _known(data.anatomy[train])
        net.anatomy_mean.copy_(mean)
        net.anatomy_scale.copy_(sd)
    if start is None and model.trunk == "pooled" and data.kept is not None:
        standard = next(m for m in net.modules() if isinstance(m, Standard))
        standard.learn(torch.from_numpy(data.kept[:, train].reshape(-1, LOOKS)))
    # A third faster on a CPU; torch's own stubs do not know the argument.
    net.to(fit.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), fit.rate, weight_decay=fit.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, fit.rate, total_steps=fit.epochs * steps_of(len(train), fit), pct_start=0.1
    )
    rng = torch.Generator(fit.device).manual_seed(fit.seed)
    people = np.unique(data.person[train]).tolist()
    key = {
        "model": asdict(model),
        "fit": asdict(fit),
        "people": people,
        "pictures": len(train),
        "start": digest(start),
    }
    return net, Training(net, optimiser, schedule, rng, key)


def _known(anatomy: F32) -> tuple[Tensor, Tensor]:
    """Mean and SD of each column's finite entries; 0 and 1 where nothing is known or moves."""
    parts = [column[np.isfinite(column)] for column in anatomy.T]
    mean = [p.mean() if len(p) else 0.0 for p in parts]
    sd = [p.std() if len(p) and p.std() > 0 else 1.0 for p in parts]
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(sd, dtype=torch.float32)


def _kept(run: Training, fit: StateFit) -> int:
    """Number of the epoch whose weights stay so far: see ``StateFit.keep``."""
    return len(run.history) if fit.keep == "last" else _best(run)


def _best(run: Training) -> int:
    """Number of the epoch with the smallest validation error; the last one without validation."""
    validation = [row[1] for row in run.history]
    if not validation or np.isnan(validation[-1]):
        return len(validation)
    return int(np.argmin(validation)) + 1


def _validation_error(net: StateCnn, data: StateData, rows: Rows, device: str) -> float:
    """Mean squared error of the standardised targets; NaN without rows."""
    if not len(rows):
        return float("nan")
    values = predict(net.eval(), data, rows, device).values
    return float(np.mean(((values - data.targets[rows]) / net.scale.cpu().numpy()) ** 2))


def _some(rows: Rows) -> Rows:
    """No more than are needed to know how pictures are spread."""
    return rows[:: max(1, len(rows) // 4000)]


def _learn_odd(net: StateCnn, data: StateData, train: Rows, spoilt: Spoilt, fit: StateFit) -> None:
    bad = made_from(spoilt, data.person[train])
    if not len(bad):
        return
    ordinary, odd = (
        each(net, pictures, rows, fit.device, lambda r: (r.imprint,))[0]
        for pictures, rows in ((data, _some(train)), (spoilt, bad))
    )
    learn_odd(net, ordinary, odd, fit.seed)


def _settle(net: StateCnn, data: StateData, train: Rows, ordinary: Rows, device: str) -> None:
    """What no descent learns: the factor on sd, and which pictures are ordinary."""
    (imprint,) = each(net, data, _some(train), device, lambda r: (r.imprint,))
    learn_ordinary(net, imprint)
    net.reset_doubt()
    seen = predict(net, data, ordinary, device)
    net.doubt.copy_(torch.from_numpy(doubt(seen.values, seen.sd, data.targets[ordinary])))
    set_limits(net, seen.odd, seen.far)
