"""Configuration of a WULPUS probe: plain units here, 68 bytes of timer ticks on the wire.

Little-endian: u8 0xFA, the nine settings of ``HEAD``, a u16 pair of switch masks for each TX/RX
pair, the seven u16 times of ``TIMES``, zeros.  ``RESTART`` is 0xFB and zeros.  From the firmware
(pulp-bio/wulpus, 1.2.3).
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_bridge.types import DeviceError

PACKAGE_BYTES = 68
RESTART = b"\xfb".ljust(PACKAGE_BYTES, b"\0")

HEAD = struct.Struct("<BHHIIBHHBB")
TIMES = struct.Struct("<7H")
CHANNELS = 8
MAX_PAIRS = (PACKAGE_BYTES - HEAD.size - TIMES.size) // 4  # 8, though firmware tables hold 16
MAX_SAMPLES = 400

CRYSTAL_HZ = 32_768
SLOW_PER_US = 65535 / 2e6  # ticks of the crystal, as the WULPUS tools round it
MIN_PERIOD_TICKS = 655  # 20 ms: what the radio link can carry
RATES_HZ = (8_000_000, 4_000_000, 2_000_000, 1_000_000, 500_000)  # wire: index
GAINS_DB = (
    -6.5, -5.5, -4.6, -4.1, -3.3, -2.3, -1.4, -0.8, 0.1, 1.0, 1.9, 2.6, 3.5, 4.4, 5.2, 6.0,
    6.8, 7.7, 8.7, 9.0, 9.8, 10.7, 11.7, 12.2, 13.0, 13.9, 14.9, 15.5, 16.3, 17.2, 18.2, 18.8,
    19.6, 20.5, 21.5, 22.0, 22.8, 23.6, 24.6, 25.0, 25.8, 26.7, 27.7, 28.1, 28.9, 29.8, 30.8,
)  # fmt: skip
FIRST_GAIN = 17  # wire: this + index
MAX_PULSE_HZ, MAX_PULSES = 5_000_000, 30


@dataclass(frozen=True)
class Pair:
    """Which channels (0..7) send and which listen in one acquisition."""

    tx: tuple[int, ...]
    rx: tuple[int, ...]
    early_rx: bool = False  # close part of the RX switches before the pulse: less switching noise

    def masks(self) -> tuple[int, int]:
        """Switches of the high-voltage multiplexer for (sending, listening)."""
        tx, rx = sum(2 << 2 * c for c in self.tx), sum(1 << 2 * c for c in self.rx)
        if self.early_rx:
            both, listen_only = set(self.rx) & set(self.tx), set(self.rx) - set(self.tx)
            early = both if len(both) > len(listen_only) else listen_only
            tx |= sum(1 << 2 * c for c in early)
        return tx, rx


@dataclass(frozen=True)
class WulpusConfig:
    """Each acquisition takes the next of ``pairs``.  Times count from its beginning.

    Raises DeviceError for what the probe cannot do.
    """

    pairs: tuple[Pair, ...] = tuple(Pair((c,), (c,)) for c in range(CHANNELS))
    period_us: float = 20_000
    dcdc_on_us: float = 100
    transducer_hz: int = 2_250_000  # not used by the probe; 101 switches its accelerometer on
    pulse_hz: int = 2_250_000
    pulses: int = 2
    rate_hz: int = RATES_HZ[0]
    samples: int = MAX_SAMPLES
    gain_db: float = 13.0
    rx_switch_us: float = 494
    pulse_us: float = 500
    adc_on_us: float = 5
    gain_bias_us: float = 5
    sampling_us: float = 509
    restart_us: float = 3000
    timeout_us: float = 3000

    def __post_init__(self) -> None:
        _check(self)
        encode(self)

    @property
    def depth0_mm(self) -> float:
        """Nominal depth of sample 0: sampling begins after the pulse."""
        return (self.sampling_us - self.pulse_us) * 0.77  # 1540 m/s, there and back

    @property
    def period_ns(self) -> int:
        """From one acquisition to the next, in whole ticks as the probe counts them."""
        return round(_ticks("period_us", self.period_us, SLOW_PER_US) * 1e9 / CRYSTAL_HZ)

    @property
    def mm_per_sample(self) -> float:
        """At 1540 m/s, there and back."""
        return 0.77e6 / self.rate_hz


def encode(c: WulpusConfig) -> bytes:
    """The 68 bytes that configure the probe and start it.  Raises DeviceError."""
    head = HEAD.pack(
        0xFA,
        _ticks("dcdc_on_us", c.dcdc_on_us, SLOW_PER_US),
        _ticks("period_us", c.period_us, SLOW_PER_US),
        c.transducer_hz,
        c.pulse_hz,
        c.pulses,
        RATES_HZ.index(c.rate_hz),
        2 * c.samples,
        FIRST_GAIN + GAINS_DB.index(c.gain_db),
        len(c.pairs),
    )
    masks = b"".join(struct.pack("<HH", *pair.masks()) for pair in c.pairs)
    times = TIMES.pack(
        _ticks("rx_switch_us", c.rx_switch_us, 8),
        _ticks("pulse_us", c.pulse_us, 5),
        _ticks("adc_on_us", c.adc_on_us, 5),
        _ticks("gain_bias_us", c.gain_bias_us, 5),
        _ticks("sampling_us", c.sampling_us, 5),
        _ticks("restart_us", c.restart_us, 5 / 16),
        _ticks("timeout_us", c.timeout_us, 5 / 4),
    )
    return (head + masks + times).ljust(PACKAGE_BYTES, b"\0")


# The names in the files of the WULPUS tools, and ours.
NAMES = {
    "dcdc_turnon": "dcdc_on_us",
    "meas_period": "period_us",
    "trans_freq": "transducer_hz",
    "pulse_freq": "pulse_hz",
    "num_pulses": "pulses",
    "sampling_freq": "rate_hz",
    "num_samples": "samples",
    "rx_gain": "gain_db",
    "start_hvmuxrx": "rx_switch_us",
    "start_ppg": "pulse_us",
    "turnon_adc": "adc_on_us",
    "start_pgainbias": "gain_bias_us",
    "start_adcsampl": "sampling_us",
    "restart_capt": "restart_us",
    "capt_timeout": "timeout_us",
}
DERIVED = {"num_acqs", "num_txrx_configs", "tx_configs", "rx_configs"}  # the pairs say it all


def load_config(path: Path) -> WulpusConfig:
    """Read ``{"us_config": {...}, "tx_rx_config": [...]}``, named as in the WULPUS tools.

    Raises DeviceError that names the field.
    """
    try:
        raw = json.loads(path.read_text())
        settings, pairs = dict(raw["us_config"]), list(raw["tx_rx_config"])
        unknown = (settings.keys() - NAMES.keys() - DERIVED) | (
            raw.keys() - {"us_config", "tx_rx_config"}
        )
        if unknown:
            raise ValueError(f"unknown settings {sorted(unknown)}; known: {sorted(NAMES)}")
        own = {NAMES[k]: v for k, v in settings.items() if k in NAMES}
        for name in ("transducer_hz", "pulse_hz", "rate_hz"):  # written as 2.25e6 by some
            if isinstance(own.get(name), float) and own[name].is_integer():
                own[name] = int(own[name])
        return WulpusConfig(pairs=tuple(_pair(p) for p in pairs), **own)
    except OSError as e:
        raise DeviceError(f"cannot read the WULPUS configuration {path}: {e.strerror}") from e
    except (ValueError, TypeError, KeyError, DeviceError) as e:
        raise DeviceError(
            f"{path} is not a WULPUS configuration ({e!s}): expected "
            '{"us_config": {...}, "tx_rx_config": [{"tx_channels": [0], "rx_channels": [0]}]}'
        ) from e


def _pair(raw: dict[str, Any]) -> Pair:
    early = bool(raw.get("optimized_switching", False))
    return Pair(tuple(raw["tx_channels"]), tuple(raw["rx_channels"]), early)


def _check(c: WulpusConfig) -> None:
    _within("pairs", len(c.pairs), 1, MAX_PAIRS)
    for channel in (ch for p in c.pairs for ch in (*p.tx, *p.rx)):
        _within("a channel", channel, 0, CHANNELS - 1)
    _within("transducer_hz", c.transducer_hz, 0, MAX_PULSE_HZ)
    _within("pulse_hz", c.pulse_hz, 1, MAX_PULSE_HZ)
    _within("pulses", c.pulses, 0, MAX_PULSES)
    _within("samples", c.samples, 1, MAX_SAMPLES)
    if c.rate_hz not in RATES_HZ:
        raise DeviceError(f"rate_hz={c.rate_hz} is not one of {RATES_HZ}")
    if c.gain_db not in GAINS_DB:
        raise DeviceError(f"gain_db={c.gain_db} is not one of {GAINS_DB}")
    if _ticks("period_us", c.period_us, SLOW_PER_US) < MIN_PERIOD_TICKS:
        raise DeviceError(f"period_us={c.period_us} is too short: 20000 at least")


def _within(name: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise DeviceError(f"{name}: expected a whole number {low}..{high}, got {value!r}")


def _ticks(name: str, us: float, per_us: float) -> int:
    ticks = int(us * per_us)
    if not 0 <= ticks <= 0xFFFF:
        raise DeviceError(f"{name}={us} is out of range: 0..{int(0xFFFF / per_us)} us")
    return ticks
