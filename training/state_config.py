"""What ``sonomyo train state-cnn`` is told: one frozen tree, one TOML file that overrides it."""

from dataclasses import dataclass, field
from pathlib import Path

from edge.config import ConfigError, parse_toml
from models.state_cnn import StateCnnConfig
from training.cohort.participant import COHORT, COHORT_SEED
from training.folds import Folds
from training.state_epoch import StateFit

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class SimulatedPeople:
    """The simulated participants, and the segmenter whose maps the network reads."""

    first: int = 0  # number of the first; 0..31 are the evaluation's, take 100 up to tune anything
    people: int = COHORT
    frames: int = 200  # of each session
    routine: int = 200  # frames of each calibration routine, looked at only; 0 = none
    seed: int = COHORT_SEED
    cache: str = "out/cohort"  # folder that keeps the rendered frames
    segmenter: str = "calf-segmenter"  # bundle: a shipped name or a folder
    shown: int = 160  # spoilt pictures of each kind to train on
    probes: int = 96  # spoilt pictures of each kind to test on

    def __post_init__(self) -> None:
        for name in ("people", "frames", "shown", "probes"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name} must be at least 1, is {getattr(self, name)}")


@dataclass(frozen=True)
class Pretraining:
    """Further simulated people that the network meets before any fold; shared by all folds.

    Thirty people cannot show how differently people are made; a simulation has as many as wanted.
    """

    people: int = 0  # 0 = none
    first: int = 300  # number of the first; the cohort's are refused, and those of [data]
    frames: int = 100  # of each session
    epochs: int = 8
    rate: float = 2e-3

    def __post_init__(self) -> None:
        if self.people and self.first < COHORT:
            raise ValueError(f"pretrain.first must be {COHORT} or more, is {self.first}")
        if self.people < 0 or self.people == 1:
            raise ValueError(f"pretrain.people must be 0 or at least 2, is {self.people}")
        for name in ("frames", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"pretrain.{name} must be at least 1, is {getattr(self, name)}")


@dataclass(frozen=True)
class StateRun:
    """A cross-validation of one network on the simulated cohort; every table of the file."""

    # Configurations that are cross-validated one by one and answer together, with their own
    # tables; [data] and [folds] must be as here.
    members: tuple[str, ...] = ()
    data: SimulatedPeople = field(default_factory=SimulatedPeople)
    pretrain: Pretraining = field(default_factory=Pretraining)
    model: StateCnnConfig = field(default_factory=StateCnnConfig)
    fit: StateFit = field(default_factory=StateFit)
    folds: Folds = field(default_factory=Folds)

    def __post_init__(self) -> None:
        d, more = self.data, self.pretrain
        both = range(max(d.first, more.first), min(d.first + d.people, more.first + more.people))
        if both:
            raise ValueError(
                f"pretrain.first = {more.first}: people {both[0]} to {both[-1]} are in [data], "
                f"who must never be trained on before: take {d.first + d.people} or more"
            )


def load_run(name: str) -> StateRun:
    """A TOML file by its path, or one of ours by its bare name.  Raises ConfigError."""
    shipped = CONFIGS / f"{name}.toml"
    path = shipped if shipped.is_file() else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.toml")))
        raise ConfigError(f"cannot read {name} ({e}): give a TOML file, or one of {known}") from e
    return parse_run(text, str(path))


def parse_run(text: str, name: str = "configuration") -> StateRun:
    """TOML text; what it does not say is the dataclasses' default.  Raises ConfigError."""
    return parse_toml(StateRun, text, name)


def member_runs(run: StateRun) -> dict[str, StateRun]:
    """The members' runs by name.  Raises ConfigError where they do not fit together."""
    found = {name: load_run(name) for name in run.members}
    for name, one in found.items():
        if one.members or (one.data, one.folds) != (run.data, run.folds):
            raise ConfigError(f"member {name}: its [data] and [folds] are not those of the whole")
    return found
