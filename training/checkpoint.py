"""A training that survives being killed: everything its next epoch depends on, in one file."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


@dataclass
class Training:
    """A network on its way, between two epochs.

    ``key`` is what the result depends on besides the data: a checkpoint with another one is
    another training.
    """

    net: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    rng: torch.Generator  # of the order and the changes of pictures; on the network's device
    key: dict[str, Any]
    history: list[list[float]] = field(default_factory=list)  # a row per epoch
    best: Weights = field(default_factory=dict)  # of the best epoch so far

    def save(self, path: Path) -> None:
        """Everything between two epochs; a kill leaves the file of the epoch before."""
        whole = {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "rng": self.rng.get_state(),
            "dropout": _dropout_state(self.rng.device),
            "history": self.history,
            "best": self.best,
        }
        save(path, whole, self.key)

    def resume(self, path: Path) -> None:
        """Go on from a file of ``save``.  Raises ValueError when it is of another training."""
        found = load(path, self.key)
        self.net.load_state_dict(found["net"])
        self.optimiser.load_state_dict(found["optimiser"])
        self.schedule.load_state_dict(found["schedule"])
        self.rng.set_state(found["rng"])
        if self.rng.device.type == "cuda":
            torch.cuda.set_rng_state(found["dropout"])
        else:
            torch.set_rng_state(found["dropout"])
        self.history = found["history"]
        self.best = found["best"]


def save(path: Path, what: dict[str, Any], key: dict[str, Any]) -> None:
    """Write ``what`` at once or not at all, with the ``key`` that ``load`` asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    torch.save({**what, "key": json.dumps(key, sort_keys=True)}, fresh)
    os.replace(fresh, path)


def load(path: Path, key: dict[str, Any]) -> dict[str, Any]:
    """What ``save`` wrote, on the CPU.  Raises ValueError when it was written for another key."""
    found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if found["key"] != json.dumps(key, sort_keys=True):
        raise ValueError(f"{path} is of other settings: choose another folder, or delete it")
    return found


def digest(start: Weights | None) -> str:
    """What tells weights from others; empty for none."""
    if start is None:
        return ""
    found = hashlib.sha256()
    for name, tensor in sorted(start.items()):
        found.update(name.encode())
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


def weights(net: nn.Module) -> Weights:
    """A copy of a network's parameters and buffers on the CPU."""
    return {k: v.detach().cpu().clone() for k, v in net.state_dict().items()}


def adopt(net: nn.Module, start: Weights, heads: tuple[str, ...]) -> list[str]:
    """Begin from the weights of another training; the names of those that stay as they were.

    Only what starts with one of ``heads`` may differ in name or shape; when any of it does, all of
    it stays as it was.  Raises ValueError for other differences.
    """
    own = net.state_dict()
    if missing := sorted(k for k in set(own) ^ set(start) if not k.startswith(heads)):
        raise ValueError(f"the weights to start from are of another network: {missing[:4]}")
    fresh = [k for k in own if k not in start or own[k].shape != start[k].shape]
    if wrong := [k for k in fresh if not k.startswith(heads)]:
        raise ValueError(f"the weights to start from have other sizes: {wrong[:4]}")
    if fresh or set(start) - set(own):
        fresh = [k for k in own if k.startswith(heads)]
    net.load_state_dict({k: own[k] if k in fresh else start[k] for k in own})
    return fresh


def _dropout_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state() if device.type == "cuda" else torch.get_rng_state()
