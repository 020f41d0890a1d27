"""What a state CNN says about pictures, in small batches."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.state_cnn import Reading, StateCnn
from training.state_data import F32, Pictures, regions

Rows = NDArray[np.intp]


class Estimates(NamedTuple):
    """What a network says about pictures; float32 arrays ``(n, ...)``."""

    values: F32  # (n, outputs) target units
    sd: F32  # (n, outputs)
    anatomy: F32  # (n, ANATOMY) mm and deg
    features: F32  # (n, hidden) what the values are read off; linearly, with a linear head
    odd: F32  # (n,) logit of the classifier
    far: F32  # (n,) Mahalanobis distance
    gate: F32  # (n,) 0 ordinary .. 1 unknown


def predict(
    net: StateCnn, pictures: Pictures, rows: Rows | None = None, device: str = "cpu"
) -> Estimates:
    """Estimates of some or all pictures, float32 throughout; ``net`` in eval mode."""

    def look(r: Reading) -> tuple[Tensor, ...]:
        anatomy = net.anatomy_mean + net.anatomy_scale * r.anatomy
        far = net.distance(r.imprint)
        return (*net.estimate(r), anatomy, r.features, r.odd, far, net.gate(r))

    return Estimates(*each(net, pictures, rows, device, look))


def each(
    net: StateCnn,
    pictures: Pictures,
    rows: Rows | None,
    device: str,
    look: Callable[[Reading], tuple[Tensor, ...]],
) -> list[F32]:
    """``look`` at what the network reads off every picture, in small batches."""
    rows = np.arange(len(pictures.images)) if rows is None else rows
    found = []
    with torch.inference_mode():
        for some in np.array_split(rows, max(1, len(rows) // 64)):
            if pictures.kept is not None:
                kept = torch.from_numpy(pictures.kept[0, some]).to(device)
                reading = net.read_kept(kept.float())
            else:
                images = torch.from_numpy(pictures.images[some]).to(device)
                maps = torch.from_numpy(pictures.maps[some]).to(device)
                reading = net.read(regions(images, maps, net.config))
            found.append([part.cpu().numpy() for part in look(reading)])
    return [np.concatenate(part) for part in zip(*found, strict=True)]
