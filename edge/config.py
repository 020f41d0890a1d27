"""The configuration: one frozen tree with defaults, one TOML file that overrides fields by name."""

import dataclasses
import math
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edge.realtime import RealTime
from edge.runtime.settings import Runtime

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the setting and the remedy."""


@dataclass(frozen=True)
class Rig:
    """Devices, as addresses; an empty probe or emg is not there."""

    probe: str = "synthetic:calf"
    emg: str = "synthetic:"
    links: tuple[str, ...] = ()
    wearer: str = ""  # who wears it; a model calibrated to somebody else is flagged UNCALIBRATED
    angle: str = ""  # joint angle: "encoder", "encoder:LINK" or "model:NAME.OUTPUT"
    load: str = ""  # "command", "command:LINK", or a fixed one: "2.0 kg"


@dataclass(frozen=True)
class Timing:
    """When a state leaves, and how old its inputs may be."""

    period_ms: float = 10.0
    release_ms: float = 8.0  # a state leaves this long after its tick; 0 = as soon as it is done
    max_us_age_ms: float = 100.0  # older ultrasound sets STALE_US
    max_emg_age_ms: float = 50.0  # older EMG sets STALE_EMG
    max_angle_age_ms: float = 50.0  # an older joint angle sets STALE_JOINT, as does ...
    max_load_age_ms: float = 1500.0  # ... an older load: it holds, but somebody must say so

    def __post_init__(self) -> None:
        if not 1.0 <= self.period_ms <= 1000.0:
            raise ValueError(f"timing.period_ms must be 1..1000, is {self.period_ms}")
        if not 0.0 <= self.release_ms < self.period_ms:
            raise ValueError(
                f"timing.release_ms must be 0 (as soon as done) or less than the period of "
                f"{self.period_ms} ms, is {self.release_ms}"
            )
        for name in ("max_us_age_ms", "max_emg_age_ms", "max_angle_age_ms", "max_load_age_ms"):
            if getattr(self, name) <= 0:
                raise ValueError(f"timing.{name} must be positive, is {getattr(self, name)}")


@dataclass(frozen=True)
class Record:
    """Where the session is recorded; an empty folder records nothing."""

    folder: str = ""
    frames: bool = True  # False: everything but the images
    fsync_s: float = 0.5  # at most this much is lost when the power fails

    def __post_init__(self) -> None:
        if self.fsync_s <= 0:
            raise ValueError(f"record.fsync_s must be positive, is {self.fsync_s}")


@dataclass(frozen=True)
class Trust:
    """Who may have made a bundle."""

    keys: tuple[str, ...] = ()  # one must have signed each: PEM files or "ed25519:BASE64"; () = all


@dataclass(frozen=True)
class Config:
    """Everything ``sonomyo run`` reads from its TOML file."""

    rig: Rig = field(default_factory=Rig)
    models: tuple[str, ...] = ()  # bundles: a shipped name, a folder or a .sonomyo file
    timing: Timing = field(default_factory=Timing)
    realtime: RealTime = field(default_factory=RealTime)
    runtime: Runtime = field(default_factory=Runtime)
    record: Record = field(default_factory=Record)
    trust: Trust = field(default_factory=Trust)


def load_config(path: Path) -> Config:
    """Read and check a TOML file.  Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"cannot read {path}: {e}") from e
    return parse_config(text, str(path))


def parse_config(text: str, name: str = "configuration") -> Config:
    """Parse TOML text.  Raises ConfigError."""
    return parse_toml(Config, text, name)


def parse_toml(cls: type[T], text: str, name: str) -> T:
    """TOML text as a tree of frozen dataclasses; what it does not say is their default.

    A table is a field that is a dataclass.  ``name`` says in messages where the text is from.
    Raises ConfigError, also for a ValueError of a dataclass.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{name} is not TOML: {e}") from e
    try:
        return _build(cls, raw, "")
    except ConfigError as e:
        raise ConfigError(f"{name}: {e}") from e


def _build(cls: type[T], raw: dict[str, Any], where: str) -> T:
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(raw) - set(fields))
    if unknown:
        raise ConfigError(f"unknown setting {[where + u for u in unknown]}; known: {list(fields)}")
    hints = typing.get_type_hints(cls)
    parts = {k: _convert(hints[k], v, where + k) for k, v in raw.items()}
    try:
        return cls(**parts)
    except ValueError as e:
        raise ConfigError(str(e)) from e


def _convert(kind: Any, value: Any, name: str) -> Any:
    """A TOML value as the type of its field; an integer may stand for a float, nothing else."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{name} is a table: write [{name}]")
        return _build(kind, value, name + ".")
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{name} is a list: write {name} = [{value!r}]")
        item = typing.get_args(kind)[0]
        return tuple(_convert(item, v, f"{name}[{i}]") for i, v in enumerate(value))
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        wanted = kind.__name__ if not isinstance(kind, types.UnionType) else str(kind)
        raise ConfigError(f"{name} must be {wanted}, is {type(value).__name__} {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} must be a finite number, is {value}")
    return value


def to_toml(config: Config) -> str:
    """The configuration with every default written out, as recorded in a session."""
    lines = [f"models = {_literal(config.models)}"]
    for section in ("rig", "timing", "realtime", "runtime", "record", "trust"):
        lines.append(f"\n[{section}]")
        for k, v in dataclasses.asdict(getattr(config, section)).items():
            lines.append(f"{k} = {_literal(v)}")
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_literal(v) for v in value) + "]"
    return repr(value)
