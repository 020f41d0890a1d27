"""What an encoder's angles cost ``elbow-nmm`` when they do not come one a tick.

``make bench-encoder`` takes some minutes: simulated trials through the device's own estimator.
First the newest angle is given again, one to four times in a row, and the torque is compared with
that of the same trial undisturbed.  Then encoders of other rates, clocks and lines are read at each
tick as the daemon reads them, and the torque is compared with that of the simulation.
"""

import json
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from bench.part import Part, number, plain, print_parts
from edge.bundle import load_bundle
from edge.estimate import Estimator, Sources
from edge.joint import Joint, Reading
from training.virtual_arm import Trial, trials_of
from training.virtual_measure import ANGLE_NOISE_DEG
from training.virtual_people import RATE_HZ, TUNED_ON

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
NAME, TORQUE = "elbow-nmm", "elbow_torque"
TICK_MS = 10.0
TRIALS = ((0.0, 0.7), (2.0, 0.7), (4.0, 0.7), (2.0, 1.2), (2.0, 2.0))  # kg, s of a movement
AGAIN = (1, 2, 3, 4)
FIRST, APART, SHIFTS = 200, 160, (0, 40, 80, 120)  # ticks: when an angle is given again
LINE_MS = 2.0  # from the measurement to the daemon, known to the device; jitter it does not know


@dataclass(frozen=True)
class Encoder:
    """Its rate, how far its clock is off, the mean of its line's jitter, what it loses."""

    name: str
    rate_hz: float
    off: float = 0.002
    jitter_ms: float = 0.2
    lost: float = 0.0


ENCODERS = (
    Encoder("one angle a tick", RATE_HZ, off=0.0, jitter_ms=0.0),
    Encoder("100 Hz, jitter 0.2 ms", 100),
    Encoder("100 Hz, jitter 1 ms", 100, jitter_ms=1.0),
    Encoder("100 Hz, 1 of 100 lost", 100, lost=0.01),
    Encoder("200 Hz, 1 of 100 lost", 200, lost=0.01),
    Encoder("61 Hz", 61),
    Encoder("50 Hz", 50),
    Encoder("40 Hz", 40),
)


@dataclass(frozen=True)
class Said:
    """Torque, its SD and whether it was a fault, ``(ticks,)``."""

    nm: F64
    sd: F64
    fault: NDArray[np.bool_]


def say(deg: F64, t_ns: I64, load_kg: float) -> Said:
    """What the shipped model says of angles ``(ticks,)`` measured at ``t_ns``."""
    e = Estimator(load_bundle(NAME), Sources(angle=True, load=True))
    assert e.sd is not None
    torque = [o.name for o in e.spec.outputs].index(TORQUE)
    said = []
    for k, (q, t) in enumerate(zip(deg.tolist(), t_ns.tolist(), strict=True)):
        e.update(None, (), (), Joint(k, Reading(q, t), Reading(load_kg, t)))
        said.append((e.values[torque], e.sd[torque], e.fault))
    e.close()
    nm, sd, fault = np.array(said, np.float64).T
    return Said(nm, sd, fault.astype(bool))


def again_part(trials: list[Trial]) -> Part:
    """The newest angle once, twice, ... again."""
    peaks: dict[int, list[tuple[float, float, float]]] = {n: [] for n in AGAIN}
    for trial in trials:
        n_ticks = len(trial.angle_rad)
        noise = np.random.default_rng(1).standard_normal(n_ticks)
        deg = np.rad2deg(trial.angle_rad) + ANGLE_NOISE_DEG * noise
        ticks = np.arange(n_ticks)
        calm = say(deg, _ns(ticks), trial.load_kg)
        for n in AGAIN:
            for shift in SHIFTS:
                begins = range(FIRST + shift, n_ticks - 20, APART)
                of = ticks.copy()
                for k in begins:
                    of[k : k + n] = k - 1
                held = say(deg[of], _ns(of), trial.load_kg)
                off_nm = np.abs(held.nm - calm.nm)
                passed = np.where(held.fault, 0.0, off_nm / held.sd)
                for k in begins:
                    part = slice(k, k + APART)
                    peaks[n].append((
                        off_nm[part].max(), (off_nm / held.sd)[part].max(), passed[part].max()
                    ))  # fmt: skip
    rows, numbers = [], {}
    for n, found in peaks.items():
        nm, sds, passed = np.array(found).T
        cells = [*np.percentile(nm, (50, 95, 100)), *np.percentile(sds, (95, 100)), passed.max()]
        rows.append((f"{n} times again, {len(nm)} moments", *map(number, cells)))
        names = ("p50_nm", "p95_nm", "max_nm", "p95_sd", "max_sd", "max_sd_without_fault")
        numbers[f"again_{n}"] = dict(zip(names, cells, strict=True))
    heads = ("median, N m", "95 %", "greatest", "95 %, in SDs", "greatest", "... without FAULT")
    return Part("Torque is off by, at its worst: an angle", heads, rows, numbers)


def encoder_part(trials: list[Trial]) -> Part:
    """Encoders that do not know of the ticks."""
    rows, numbers = [], {}
    for encoder in ENCODERS:
        rms_nm, fault = _errors(encoder, trials)
        rows.append((encoder.name, number(rms_nm), number(100 * fault, 1)))
        numbers[encoder.name] = {"rmse_nm": rms_nm, "fault": fault}
    heads = ("RMSE of all, N m", "FAULT after the beginning, %")
    return Part("Encoders that do not know of the ticks", heads, rows, numbers)


def _errors(encoder: Encoder, trials: list[Trial]) -> tuple[float, float]:
    """RMSE of all torques, be they a fault or not, in N m; share that is one once settled."""
    settled = round(load_bundle(NAME).spec.settle_ms / TICK_MS)
    squares, faults = [], []
    for trial in trials:
        deg, t_ns, load_nm = _read(encoder, trial)
        said = say(deg, t_ns, trial.load_kg)
        squares.append((said.nm - load_nm)[settled:] ** 2)
        faults.append(said.fault[settled:])
    return float(np.sqrt(np.mean(np.concatenate(squares)))), float(np.mean(np.concatenate(faults)))


def _read(encoder: Encoder, trial: Trial) -> tuple[F64, I64, F64]:
    """The newest angle at every tick, its time as the daemon dates it, and the torque at it."""
    rng = np.random.default_rng(3)
    at_s = np.arange(len(trial.angle_rad)) / RATE_HZ
    made_s = np.arange(
        rng.uniform(0, 1 / encoder.rate_hz), at_s[-1], (1 + encoder.off) / encoder.rate_hz
    )
    delay_s = 1e-3 * (LINE_MS + encoder.jitter_ms * rng.exponential(size=len(made_s)))
    come_s = np.maximum.accumulate(made_s + delay_s)
    deg = CubicSpline(at_s, np.rad2deg(trial.angle_rad))(made_s)
    deg += ANGLE_NOISE_DEG * rng.standard_normal(len(deg))
    kept = rng.uniform(size=len(deg)) >= encoder.lost
    deg, come_s = deg[kept], come_s[kept]
    newest = np.maximum(np.searchsorted(come_s, at_s, side="right") - 1, 0)
    said_s = come_s[newest] - 1e-3 * LINE_MS
    moment_nm = CubicSpline(at_s, trial.moment_nm)(said_s)
    return deg[newest], (said_s * 1e9).astype(np.int64), moment_nm


def _ns(ticks: I64) -> I64:
    return (ticks * TICK_MS * 1e6).astype(np.int64)


def main() -> int:
    """Print the table and one line of JSON."""
    all_trials = {(t.load_kg, t.tempo_s): t for t in trials_of(TUNED_ON)}
    trials = [all_trials[which] for which in TRIALS]
    parts = [again_part(trials), encoder_part(trials)]
    print_parts(parts, "bench.encoder")
    print(json.dumps(plain({k: v for p in parts for k, v in p.numbers.items()})))
    return 0


if __name__ == "__main__":
    sys.exit(main())
