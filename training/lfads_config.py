"""What ``sonomyo train lfads`` is told: one frozen tree, one TOML file that overrides it."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from edge.config import ConfigError, parse_toml
from models.lfads import LfadsConfig
from models.streaming import BIN_MS, LAGS
from training.distil import TwinFit
from training.emg_windows import Windows
from training.fit_lfads import LfadsFit
from training.pbt import Search


@dataclass(frozen=True)
class Sizes:
    """Of the network; what the data decide is not here.  See ``models.lfads.LfadsConfig``."""

    ic_enc: int = 64
    ci_enc: int = 64
    con: int = 64
    co: int = 6
    ic: int = 32
    gen: int = 128
    factors: int = 24  # fewer, and what each muscle does on its own is lost
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
class Device:
    """What runs on the device.  Raises ValueError for what none does."""

    kind: str = "twin"  # or window: LFADS itself over the last window
    lag_ms: float = 20.0  # so long before the newest datum: more is better, and later
    window_hop_bins: int = 5  # a window every so many bins

    def __post_init__(self) -> None:
        if self.kind not in ("twin", "window"):
            raise ValueError(f"device.kind must be twin or window, is {self.kind!r}")
        lags = [BIN_MS * lag for lag in LAGS]
        if self.kind == "twin" and self.lag_ms not in lags:
            raise ValueError(f"device.lag_ms must be one of {lags}, is {self.lag_ms:g}")
        if not self.lag_ms >= 0 or self.lag_ms % BIN_MS or self.window_hop_bins < 1:
            raise ValueError(
                f"device.lag_ms must be 0 or a multiple of {BIN_MS:g}, window_hop_bins 1 or more"
            )

    @property
    def lag(self) -> int:
        """In bins."""
        return round(self.lag_ms / BIN_MS)


@dataclass(frozen=True)
class LfadsRun:
    """A training; every table of the file."""

    data: Data = field(default_factory=Data)
    windows: Windows = field(default_factory=Windows)
    model: Sizes = field(default_factory=Sizes)
    fit: LfadsFit = field(default_factory=LfadsFit)
    search: Search = field(default_factory=Search)
    twin: TwinFit = field(default_factory=TwinFit)
    device: Device = field(default_factory=Device)

    def __post_init__(self) -> None:
        d, bins = self.device, self.windows.bins
        if d.kind == "window" and (bins % d.window_hop_bins or not d.lag < bins):
            raise ValueError(
                f"device: windows of {bins} bins need a window_hop_bins that fills them, not "
                f"{d.window_hop_bins}, and a lag_ms below {BIN_MS * bins:g}, not {d.lag_ms:g}"
            )


def usual(name: str) -> LfadsRun:
    """The defaults for a set.  EMG of the test beds is plain noise and has no motor units: 10 ms
    are enough to hide, and windows of 200 ms, the paper's, to learn from.
    """
    run = LfadsRun(data=Data(set=name))
    if not name.startswith("bed:"):
        return run
    fit = replace(run.fit, epochs=120, noise=replace(run.fit.noise, block_bins=5))
    return replace(run, windows=Windows(bins=100, overlap=25), fit=fit)


def load_lfads(file: Path | None, name: str | None = None) -> LfadsRun:
    """A TOML file, or the defaults, for the set ``name`` or the file's own.  Raises ConfigError."""
    if file is None:
        return usual(name or Data().set)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"cannot read {file}: {e}") from e
    run = parse_toml(LfadsRun, text, str(file))
    return replace(run, data=replace(run.data, set=name)) if name else run


def token(run: LfadsRun) -> LfadsRun:
    """The same way through with next to nothing on it."""
    sizes = replace(run.model, ic_enc=8, ci_enc=8, con=8, gen=8, ic=4, factors=3)
    few = replace(run.search, members=2, generation=1, burn_in=0, generations=2, settle=1)
    fit, twin = replace(run.fit, epochs=2, batches=10), replace(run.twin, epochs=2, batches=2)
    return replace(run, model=sizes, fit=fit, search=few, twin=twin)
