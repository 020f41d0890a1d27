"""What ``sonomyo train lfads`` is told: one frozen tree, one TOML file that overrides it."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from edge.config import ConfigError, parse_toml
from models.lfads import LfadsConfig
from training.emg_windows import Windows
from training.fit_lfads import LfadsFit
from training.pbt import Search


@dataclass(frozen=True)
class Sizes:
    """Of the network; what the data decide is not here.  See ``models.lfads.LfadsConfig``."""

    ic_enc: int = 64
    ci_enc: int = 64
    con: int = 64
    co: int = 3
    ic: int = 20
    gen: int = 64
    factors: int = 10
    lag: int = 1

    def config(self, channels: int, bins: int) -> LfadsConfig:
        """For windows of so many bins and channels."""
        return LfadsConfig(channels, bins, **asdict(self))


@dataclass(frozen=True)
class Data:
    """Which EMG, and how it is filtered."""

    set: str = "bed:gait"  # training.emg_recordings.SETS
    seed: int = 1  # of a test bed
    mains_hz: float = 50.0
    clip: float = 0.999  # quantile of each channel beyond which it is clipped


@dataclass(frozen=True)
class LfadsRun:
    """A training; every table of the file."""

    data: Data = field(default_factory=Data)
    windows: Windows = field(default_factory=Windows)
    model: Sizes = field(default_factory=Sizes)
    fit: LfadsFit = field(default_factory=LfadsFit)
    search: Search = field(default_factory=Search)


def load_lfads(file: Path | None) -> LfadsRun:
    """A TOML file, or the defaults.  Raises ConfigError."""
    if file is None:
        return LfadsRun()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"cannot read {file}: {e}") from e
    return parse_toml(LfadsRun, text, str(file))
