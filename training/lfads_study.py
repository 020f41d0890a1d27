"""Every way from EMG to activation, on the same bins of the same recordings.

Test beds are judged by their truth, on the last quarter: it trained nothing.  Recordings of people
are judged by what can be decoded from them.  LFADS itself learns from all of a person's EMG and
from nothing else, as in the paper; twins are taught by one half of each recording and judged on the
other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.lfads import Lfads
from models.streaming import AHEAD, LAGS, Twin
from training.distil import aligned, follow
from training.emg_baselines import (
    LOW_PASS_HZ,
    Bayes,
    Synergies,
    bayes_grid,
    enough_synergies,
    low_pass,
)
from training.emg_decoding import LEARNED, decode, truth_r2
from training.emg_recordings import Recording
from training.fit_lfads import Epoch, fit_lfads
from training.lfads_config import LfadsRun
from training.lfads_person import Person, activation, people, windows_of
from training.lfads_streams import (
    FIRST_HALF,
    SECOND_HALF,
    WHOLE,
    Part,
    lessons,
    slide,
    teach,
)

F64 = NDArray[np.float64]
Report = Callable[[Epoch], None]
Row = dict[str, Any]  # recording, target, and R2 by method

SYNERGY_HZ = 10.0  # envelopes that synergies are found in
FIRST_S = 20.0  # of a recording, that the Bayesian filter's settings are chosen on
HOP_BINS = 5  # of sliding windows: one every 10 ms
SMOOTHER = "lfads"


@dataclass(frozen=True)
class Studied:
    """What came out for one person, or one bed."""

    net: Lfads
    epochs: list[Epoch]
    rows: list[Row]


def study(recordings: Sequence[Recording], run: LfadsRun, report: Report) -> Studied:
    """Fit LFADS and its twin to one person's recordings, and judge every method.

    Raises what ``people`` and ``windows_of`` raise.
    """
    return (_bed if recordings[0].simulated else _person)(recordings, run, report)


def twin_names() -> Iterator[str]:
    """How the twin's words are called, in its order: by what they lag, or run ahead."""
    yield from (f"twin {2 * lag} ms" for lag in LAGS)
    yield from (f"twin {2 * ahead} ms ahead" for ahead in AHEAD)


def _bed(recordings: Sequence[Recording], run: LfadsRun, report: Report) -> Studied:
    (recording,) = recordings
    truth = np.stack(list(recording.targets.values()), 1)
    cut = int(LEARNED * len(truth))
    hop = len(recording.emg_uv) / len(truth)
    early = replace(
        recording,
        emg_uv=recording.emg_uv[: int(cut * hop)],
        targets={k: v[:cut] for k, v in recording.targets.items()},
    )
    train = np.arange(len(truth)) < cut

    def score(estimate: F64, n: int) -> float:
        return truth_r2(estimate, truth[:n], np.arange(n) % 2 == 0)

    (person,) = people([early], run.data)
    lab = _Lab(person, run, report)
    bayes = lab.bayes(lambda e: score(e, len(e)))
    twin = lab.twin(WHOLE)
    methods = lab.filters(recording) | lab.smoother(recording)
    methods["bayes"] = bayes.run(recording.emg_uv, person.chain)
    methods |= _said(follow(twin, person.chain.bins(recording.emg_uv, "device")))
    methods |= {f"window {2 * lag} ms": lab.window(recording, lag) for lag in LAGS}
    found = {name: truth_r2(e, truth, train) for name, e in methods.items()}
    return Studied(
        lab.net, lab.epochs, [{"recording": recording.name, "target": "activation", **found}]
    )


def _person(recordings: Sequence[Recording], run: LfadsRun, report: Report) -> Studied:
    (person,) = people(recordings, run.data)
    lab = _Lab(person, run, report)
    first = recordings[0]

    def score(estimate: F64) -> float:
        found = [decode(estimate, y[: len(estimate)]).r2 for y in first.targets.values()]
        return float(np.mean(found))

    bayes = lab.bayes(score)
    twins = [lab.twin(part) for part in (FIRST_HALF, SECOND_HALF)]
    rows: list[Row] = []
    for r in recordings:
        methods = lab.filters(r) | lab.smoother(r)
        methods["bayes"] = bayes.run(r.emg_uv, person.chain)
        heard = person.chain.bins(r.emg_uv, "device")
        early, late = (_said(follow(twin, heard)) for twin in reversed(twins))
        middle = len(heard) // 2
        methods |= {k: np.concatenate([early[k][:middle], late[k][middle:]]) for k in early}
        n = min(len(e) for e in methods.values())
        valid = np.all([np.isfinite(e[:n]).all(1) for e in methods.values()], axis=0)
        for target, y in r.targets.items():
            found = {name: decode(e[:n], y[:n], valid).r2 for name, e in methods.items()}
            rows.append({"recording": r.name, "target": target, **found})
    return Studied(lab.net, lab.epochs, rows)


class _Lab:
    """One person's networks, and everything that gives activation."""

    def __init__(self, person: Person, run: LfadsRun, report: Report):
        self.person, self.run = person, run
        config = run.model.config(len(person.channels), run.windows.bins)
        self.net, self.epochs = fit_lfads(
            windows_of(person, run.windows), config, run.fit, report=report
        )
        self._taught = lessons(self.net, person, run.windows)

    def twin(self, part: Part) -> Twin:
        """Taught by this part of every recording."""
        return teach(self._taught, self.person, self.run.twin, part)

    def bayes(self, score: Callable[[F64], float]) -> Bayes:
        """The Bayesian filter whose settings are best on the beginning of the first recording."""
        first = self.person.recordings[0]
        part = first.emg_uv[: int(FIRST_S * first.fs_hz)]
        return bayes_grid(lambda b: score(b.run(part, self.person.chain)))

    def filters(self, r: Recording) -> dict[str, F64]:
        """Low-passes, both ways and causal, and synergies."""
        bins = self._scaled(r)
        found = {f"low-pass {hz:g} Hz": low_pass(bins, hz) for hz in LOW_PASS_HZ}
        found |= {
            f"causal low-pass {hz:g} Hz": low_pass(bins, hz, causal=True) for hz in LOW_PASS_HZ
        }
        return found | {"synergies": self._synergies.run(low_pass(bins, SYNERGY_HZ))}

    def smoother(self, r: Recording) -> dict[str, F64]:
        """LFADS over all windows, merged."""
        one = replace(self.person, recordings=(r,), bins=(self._scaled(r).astype(np.float32),))
        return {SMOOTHER: activation(self.net, one, self.run.windows)[0]}

    def window(self, r: Recording, lag: int) -> F64:
        """LFADS over the last window, as on the device."""
        heard = self.person.chain.bins(r.emg_uv, "device")
        return slide(self.net, self.person, heard, lag, HOP_BINS)

    def _scaled(self, r: Recording) -> F64:
        return np.asarray(self.person.scale.apply(self.person.chain.bins(r.emg_uv)), np.float64)

    @cached_property
    def _synergies(self) -> Synergies:
        bins = np.concatenate([np.asarray(x, np.float64) for x in self.person.bins])
        return enough_synergies(low_pass(bins, SYNERGY_HZ))


def _said(twin: F64) -> dict[str, F64]:
    """By method, what a twin said of each bin."""
    return {name: aligned(twin, k) for k, name in enumerate(twin_names())}
