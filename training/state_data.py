"""What a state CNN is trained on: pictures, what the segmenter saw in them, and the truth."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.state_cnn import ANATOMY, StateCnnConfig, cut
from training.augment import Augment, brighten, move
from training.frames import IMAGE

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
MapsOf = Callable[[U8], U8]  # (n, lines, samples) brightness to maps (n, 3, lines, samples)

# The network's input is standardised as on the device.
MEAN, STD = IMAGE.steps[-1].args["mean"], IMAGE.steps[-1].args["std"]


@dataclass(frozen=True)
class Pictures:
    """Pictures with their maps, kept as bytes: 64 KB each."""

    images: U8  # (n, lines, samples) brightness
    maps: U8  # (n, 3, lines, samples) probabilities, 255 = 1: aponeurosis, MG, SOL
    person: NDArray[np.intp]  # (n,)
    # (1 + copies, n, ...) what a network reads of them: as they are, then changed at random
    kept: NDArray[np.floating] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.dtype != np.uint8 or self.maps.dtype != np.uint8:
            raise ValueError(f"pictures are uint8, not {self.images.dtype}, {self.maps.dtype}")
        if self.maps.shape != (n, 3, *self.images.shape[1:]) or self.person.shape != (n,):
            raise ValueError(
                f"pictures {self.images.shape}, maps {self.maps.shape} and persons "
                f"{self.person.shape} do not belong together"
            )

    def on(self, device: str) -> tuple[Tensor, Tensor]:
        """Images and maps as tensors; on the CPU they are the arrays themselves."""
        return borrow(self.images).to(device), borrow(self.maps).to(device)


@dataclass(frozen=True)
class StateData(Pictures):
    """Pictures of known state.  Raises ValueError for a target that is not finite."""

    targets: F32  # (n, outputs)
    anatomy: F32  # (n, ANATOMY) mm and deg; NaN where nobody knows

    def __post_init__(self) -> None:
        super().__post_init__()
        n = len(self.images)
        if self.targets.ndim != 2 or len(self.targets) != n or self.anatomy.shape != (n, ANATOMY):
            raise ValueError(
                f"{n} pictures, targets {self.targets.shape}, anatomy {self.anatomy.shape}: "
                f"wanted ({n}, outputs) and ({n}, {ANATOMY})"
            )
        if not np.isfinite(self.targets).all():
            raise ValueError(
                "a target is not finite: leave out the pictures whose state is unknown"
            )


def borrow(array: NDArray[np.generic]) -> Tensor:
    """A tensor on an array's own memory, which stays unchanged, read-only memory included."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)


def regions(
    images: Tensor,
    maps: Tensor,
    config: StateCnnConfig,
    change: Augment | None = None,
    rng: torch.Generator | None = None,
) -> Tensor:
    """A batch of bytes as the network's regions ``(n, channels, lines, samples)`` float32.

    ``change`` moves picture and maps together, then changes the brightness of the picture alone.
    """
    # Bytes less an integer would stay bytes, and what is darker than MEAN would come out bright.
    both = (images[:, None].float() - MEAN) / STD
    if not config.sees_all:
        both = torch.cat([both, maps / 255.0], 1)
    if change is not None and rng is not None:
        both = move(both, change, rng)
        both = torch.cat([brighten(both[:, :1], change, rng), both[:, 1:]], 1)
    return cut(both[:, :1], both[:, 1:], config)
