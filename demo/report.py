"""What the demo found: error against the dynamometer, latency, deadlines; as text, PNG and HTML."""

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.recording import Recording
from firmware_bridge.types import Flag

F64 = NDArray[np.float64]
MEASURED = "measured"


@dataclass
class Track:
    """One output beside its measurement, over the session; NaN where one of them is unknown."""

    name: str
    unit: str
    t_s: F64
    estimated: F64
    measured: F64
    sd: F64 | None = None
    label: str = MEASURED  # what the estimate is beside

    @property
    def rmse(self) -> float:
        """Root-mean-square error over all states with an estimate and a measurement."""
        return float(np.sqrt(np.nanmean((self.estimated - self.measured) ** 2)))

    @property
    def r2(self) -> float:
        """Share of the measurement's variance that the estimate explains; 1 is perfect."""
        both = np.isfinite(self.estimated) & np.isfinite(self.measured)
        left = np.mean((self.estimated - self.measured)[both] ** 2)
        return float(1 - left / np.var(self.measured[both]))


@dataclass
class Latency:
    """Percentiles in ms, from the times the daemon recorded and the receiver saw."""

    rows: dict[str, tuple[float, float, float]]  # name: p50, p99, max
    states: int
    late: int  # sent on time, but with an older result
    missed: int  # not sent at all
    lost: int  # sent, not received


def read_times(recording: Recording, received: dict[str, NDArray[np.int64]]) -> Latency:
    """Join the daemon's rows of times with the receiver's arrivals by state number."""
    stamps = recording.stamps()
    sent = stamps[stamps["sent_ns"] > 0]
    fresh = sent[sent["late"] == 0]
    where = {int(s): i for i, s in enumerate(received["seq"])}
    index = np.array([where.get(int(t), -1) for t in fresh["tick"]])
    got = index >= 0
    arrived = received["arrival_ns"][index[got]]
    rows = {
        "infer": fresh["infer_end_ns"] - fresh["infer_start_ns"],
        "tick to result": fresh["infer_end_ns"] - fresh["t_tick_ns"],
        "tick to receiver": arrived - fresh["t_tick_ns"][got],
    }
    for name, key in (("EMG to receiver", "emg_t_ns"), ("image to receiver", "us_t_ns")):
        known = fresh[key][got] > 0
        rows[name] = (arrived - fresh[key][got])[known]
    return Latency(
        {k: _percentiles(v) for k, v in rows.items() if len(v)},
        states=len(sent),
        late=int((sent["late"] > 0).sum()),
        missed=int(np.ptp(sent["tick"]) + 1 - len(np.unique(sent["tick"]))) if len(sent) else 0,
        lost=int(len(sent) - np.isin(sent["tick"], received["seq"]).sum()),
    )


def _percentiles(ns: NDArray[np.int64]) -> tuple[float, float, float]:
    p50, p99 = np.percentile(ns, [50, 99]) * 1e-6
    return float(p50), float(p99), float(ns.max() * 1e-6)


def read_tracks(
    recording: Recording,
    names: list[tuple[str, str]],
    measured: dict[str, tuple[str, F64]],
) -> list[Track]:
    """Estimates beside measurements; NaN where a state was flagged FAULT.

    ``measured[name] = (clock, values)``: the value at each frame (clock ``us_seq``) or each EMG
    sample (``emg_seq``) of the looped source.
    """
    states = {s.seq: s for s in recording.states()}
    stamps = recording.stamps()
    rows = stamps[(stamps["sent_ns"] > 0) & np.isin(stamps["tick"], list(states))]
    t_s = session_s(recording, rows["t_tick_ns"])
    values = np.array([states[int(k)].values for k in rows["tick"]], np.float64)
    values[[bool(states[int(k)].flags & Flag.FAULT) for k in rows["tick"]]] = np.nan
    sds = [states[int(k)].sd for k in rows["tick"]]
    tracks = []
    for i, (name, unit) in enumerate(names):
        truth = np.full(len(rows), np.nan)
        if name in measured:
            clock, series = measured[name]
            index = rows[clock] - (clock == "emg_seq")  # emg_seq is one past the newest sample
            known = index >= 0
            truth[known] = series[index[known] % len(series)]
        sd = np.array([np.nan if s is None else s[i] for s in sds], np.float64)
        sd[np.isnan(values[:, i])] = np.nan
        tracks.append(
            Track(name, unit, t_s, values[:, i], truth, None if np.isnan(sd).all() else sd)
        )
    return tracks


def session_s(recording: Recording, t_ns: NDArray[np.int64]) -> F64:
    """Times as seconds since the first state that was sent."""
    stamps = recording.stamps()
    return np.asarray((t_ns - stamps["t_tick_ns"][stamps["sent_ns"] > 0][0]) * 1e-9)


def draw(tracks: list[Track], emg: tuple[F64, F64], latency: tuple[F64, F64], title: str) -> bytes:
    """A PNG: every track beside its measurement, the raw EMG, and the latency of every tick.

    ``emg`` and ``latency`` are times in s and values, microvolts and ms.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.1 * (len(tracks) + 2)), layout="constrained")
    axes = figure.subplots(len(tracks) + 2, 1)
    figure.suptitle(title, fontsize=10)
    for axis, t in zip(axes, tracks, strict=False):
        if t.sd is not None:
            axis.fill_between(
                t.t_s, t.estimated - 2 * t.sd, t.estimated + 2 * t.sd,
                color="tab:blue", alpha=0.2, lw=0, label="estimate ± 2 SD",
            )  # fmt: skip
        axis.plot(t.t_s, t.measured, color="black", lw=1.2, label=t.label)
        axis.plot(t.t_s, t.estimated, color="tab:blue", lw=1, label="estimated")
        axis.set_ylabel(f"{t.name}\n({t.unit})", fontsize=8)
        axis.legend(loc="upper right", fontsize=7, ncols=3, frameon=False)
    axes[-2].plot(*emg, color="tab:gray", lw=0.3)
    axes[-2].set_ylabel("raw EMG\n(µV)", fontsize=8)
    axes[-1].plot(*latency, ".", ms=1.5, color="tab:red")
    axes[-1].set_ylabel("tick to result\n(ms)", fontsize=8)
    axes[-1].set_ylim(bottom=0)
    axes[-1].set_xlabel("session time (s)")
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    for axis in axes:
        axis.set_xlim(tracks[0].t_s[0], tracks[0].t_s[-1])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def write_html(path: Path, png: bytes, text: str, title: str) -> None:
    """One self-contained page: the figure and the report."""
    image = base64.b64encode(png).decode()
    path.write_text(
        "<!doctype html><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title><body style='font-family:sans-serif;max-width:72em;"
        f"margin:2em auto'><h1>{html.escape(title)}</h1>"
        f"<img alt='session' style='width:100%' src='data:image/png;base64,{image}'>"
        f"<pre>{html.escape(text)}</pre>",
        encoding="utf-8",
    )
