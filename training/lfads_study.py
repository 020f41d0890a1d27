"""Every way from EMG to activation, on the same bins of the same recordings."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.lfads import Lfads
from models.streaming import AHEAD, LAGS, Twin, TwinConfig
from training.distil import Taught, TwinFit, aligned, fit_twin, follow
from training.emg_baselines import (
    LOW_PASS_HZ,
    bayes_grid,
    enough_synergies,
    low_pass,
)
from training.emg_decoding import LEARNED, decode, truth_r2
from training.emg_recordings import Recording
from training.fit_lfads import Epoch, fit_lfads
from training.lfads_config import LfadsRun
from training.lfads_person import Person, activation, people, windows_of

F64 = NDArray[np.float64]
Report = Callable[[Epoch], None]

SYNERGY_HZ = 10.0  # envelopes that synergies are found in
FIRST_S = 20.0  # of a recording, that the Bayesian filter's settings are chosen on
TWIN = TwinFit()


@dataclass(frozen=True)
class Studied:
    """One person's networks, and the activation that each method gives for each recording."""

    net: Lfads
    twin: Twin
    methods: tuple[dict[str, F64], ...]  # by recording: name to (bins, channels)


def study_bed(recording: Recording, run: LfadsRun, report: Report) -> dict[str, float]:
    """R2 of known activation by method, on the last quarter of a test bed: it trained nothing."""
    hop = len(recording.emg_uv) / len(next(iter(recording.targets.values())))
    bins = len(next(iter(recording.targets.values())))
    cut = int(LEARNED * bins)
    early = replace(
        recording,
        emg_uv=recording.emg_uv[: int(cut * hop)],
        targets={k: v[:cut] for k, v in recording.targets.items()},
    )
    (person,) = people([early], run.data)
    truth = np.stack(list(recording.targets.values()), 1)
    train = np.arange(bins) < cut

    def best(estimate: F64) -> float:
        return truth_r2(estimate[:cut], truth[:cut], np.arange(cut) % 2 == 0)

    done = _methods(person, [recording], run, [best], report)
    return {name: truth_r2(a, truth, train) for name, a in done.methods[0].items()}


def study_person(
    recordings: Sequence[Recording], run: LfadsRun, report: Report
) -> list[dict[str, Any]]:
    """R2 of everything that is decoded from one person's recordings, by method; a row a target."""
    (person,) = people(recordings, run.data)
    scores = [_decoding_score(r) for r in recordings]
    done = _methods(person, recordings, run, scores, report)
    rows = []
    for r, methods in zip(recordings, done.methods, strict=True):
        n = min(len(a) for a in methods.values())
        valid = np.all([np.isfinite(a[:n]).all(1) for a in methods.values()], axis=0)
        for target, truth in r.targets.items():
            found = {name: decode(a[:n], truth[:n], valid).r2 for name, a in methods.items()}
            rows.append({"person": person.name, "recording": r.name, "target": target, **found})
    return rows


def _methods(
    person: Person,
    recordings: Sequence[Recording],
    run: LfadsRun,
    scores: Sequence[Callable[[F64], float]],
    report: Report,
) -> Studied:
    """Fit LFADS and its twin to ``person``, and run everything on ``recordings``."""
    config = run.model.config(len(person.channels), run.windows.bins)
    net, _ = fit_lfads(windows_of(person, run.windows), config, run.fit, report=report)
    chain, scale = person.chain, person.scale
    heard = [chain.bins(r.emg_uv, "device") for r in person.recordings]
    taught = [
        Taught(x, a) for x, a in zip(heard, activation(net, person, run.windows), strict=True)
    ]
    twin = fit_twin(taught, scale, TWIN, TwinConfig(len(person.channels)))
    first = person.recordings[0]
    part = first.emg_uv[: int(FIRST_S * first.fs_hz)]
    bayes = bayes_grid(lambda b: scores[0](b.run(part, chain)))
    synergies = enough_synergies(
        low_pass(np.concatenate([np.asarray(x, np.float64) for x in person.bins]), SYNERGY_HZ)
    )
    found = []
    for r in recordings:
        bins = np.asarray(scale.apply(chain.bins(r.emg_uv)), np.float64)
        one = replace(person, recordings=(r,), bins=(bins.astype(np.float32),))
        methods = {f"low-pass {hz:g} Hz": low_pass(bins, hz) for hz in LOW_PASS_HZ}
        methods |= {
            f"causal low-pass {hz:g} Hz": low_pass(bins, hz, causal=True) for hz in LOW_PASS_HZ
        }
        methods["synergies"] = synergies.run(low_pass(bins, SYNERGY_HZ))
        methods["bayes"] = bayes.run(r.emg_uv, chain) / scale.unit
        methods["lfads"] = activation(net, one, run.windows)[0]
        said = follow(twin, chain.bins(r.emg_uv, "device"))
        methods |= {name: aligned(said, k) for k, name in enumerate(twin_names())}
        found.append(methods)
    return Studied(net, twin, tuple(found))


def twin_names() -> Iterator[str]:
    """How the twin's words are called, in its order: by what they lag, or run ahead."""
    yield from (f"twin {2 * lag} ms" for lag in LAGS)
    yield from (f"twin {2 * ahead} ms ahead" for ahead in AHEAD)


def _decoding_score(r: Recording) -> Callable[[F64], float]:
    """Mean R2 over the targets, for choosing a filter on the beginning of a recording."""

    def score(estimate: F64) -> float:
        n = len(estimate)
        return float(np.mean([decode(estimate, t[:n]).r2 for t in r.targets.values()]))

    return score
