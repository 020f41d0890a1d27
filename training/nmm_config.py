"""Settings of the neural musculoskeletal model's training."""

from dataclasses import dataclass, field

from models.nmm import NmmConfig


@dataclass(frozen=True)
class NmmLoss:
    """Weights of what the training minimises; envelopes and moments are over their variances."""

    envelope: float = 1.0  # of measured muscles
    moment: float = 10.0
    motion: float = 0.1  # angles of the multiple shooting
    effort: float = 0.01  # squares of unmeasured muscles
    kin: float = 2.0  # unmeasured muscles against their neighbours', over variance
    shares: float = 2e-3  # of neighbours, against equal ones
    smooth: float = 0.001  # squares of samples' differences
    person: float = 2e-4  # parameters against what people usually are


@dataclass(frozen=True)
class NmmRun:
    """One training."""

    network: NmmConfig = field(default_factory=NmmConfig)
    loss: NmmLoss = field(default_factory=NmmLoss)
    epochs: int = 200
    alone: float = 0.3  # part of the epochs in which the person's parameters rest
    batch: int = 32
    network_rate: float = 1e-3
    person_rate: float = 2e-2
    clip: float = 1.0
    other_loads: float = 0.5  # part of a batch whose load is drawn anew, without EMG
    reach: tuple[float, float] = (
        1.5,
        1.0,
    )  # loads are drawn up to so many times, and kg more than,
    # the largest that was trained on
    first_guess: bool = True  # of the person, before the network learns
    settle: int = 25  # samples of a window before its moment counts
    shoot_every: int = 4  # batches
    seed: int = 0
