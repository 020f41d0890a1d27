"""Activation on the device: a twin, or LFADS over the last window, as a bundle of one person."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edge.bundle import MODEL, REFERENCE, Bundle
from export.bundle import write_bundle
from export.onnx import export_onnx
from export.reference import torch_reference
from firmware_bridge.types import Output
from models.lfads import Lfads
from models.spec import ModelSpec, State
from models.streaming import BIN_MS, Twin, TwinAt, WindowLfads
from training.card import Facts, card
from training.distil import TwinFit
from training.emg_baselines import LOW_PASS_HZ, low_pass
from training.evaluate import METRICS, metrics_json
from training.lfads_config import Device
from training.lfads_person import Person
from training.lfads_streams import scaling
from training.metrics import Score, scores

F64 = NDArray[np.float64]
EXAMPLES = 8
SETTLE_MS = BIN_MS * TwinFit().settle  # a twin's first words are not what it was judged by
BEYOND = 3.0  # times the largest value of the teacher: what is not plausible any more
LINEAR = (
    "Truth here is what LFADS says in hindsight, in its own scale; no instrument measures "
    "activation. Linear = the causal low-pass whose cut-off is best on these recordings, with gain "
    "and offset fitted to them: a favour that the network does not get."
)


def write_twin(
    folder: Path, twin: Twin, person: Person, device: Device, top: float, name: str
) -> Bundle:
    """Export a twin: a step every bin, its memory in the open, and what it foresees.

    ``top`` is the largest activation that its teacher ever said.  The card comes later, with
    ``describe``.  Raises ExportError.
    """
    at = TwinAt(twin, device.lag).eval()
    spec = ModelSpec(
        name,
        (person.chain.input(person.channels),),
        _outputs(person, top),
        period_ms=BIN_MS,
        states=(State("h", "h_next", (1, twin.config.hidden)),),
        wearer=person.name,
        delay_ms=device.lag_ms,
        settle_ms=SETTLE_MS,
        ahead="ahead",
        ahead_ms=at.ahead_ms,
    )
    rng = np.random.default_rng(0)
    heard = _heard(person)
    examples = [
        {
            "emg": row[None],
            "h": rng.uniform(-1, 1, (1, twin.config.hidden)).astype(np.float32),
        }
        for row in heard[:: max(1, len(heard) // EXAMPLES)]
    ]
    return _written(folder, at, spec, examples)


def write_window(
    folder: Path, net: Lfads, person: Person, device: Device, top: float, name: str
) -> Bundle:
    """Export LFADS over the last window, read ``device.lag`` bins before its end."""
    bins, hop = net.config.bins, device.window_hop_bins
    spec = ModelSpec(
        name,
        (person.chain.window(person.channels, bins, hop),),
        _outputs(person, top),
        period_ms=BIN_MS * hop,
        wearer=person.name,
        delay_ms=device.lag_ms,
        settle_ms=BIN_MS * bins,  # zeros before the first window is full
    )
    heard = _heard(person)
    starts = range(0, len(heard) - bins, max(1, (len(heard) - bins) // EXAMPLES))
    examples = [{"emg": heard[start : start + bins][None]} for start in starts]
    return _written(folder, WindowLfads(net, scaling(person), device.lag).eval(), spec, examples)


def describe(bundle: Bundle, facts: Facts, network: list[Score], linear: list[Score]) -> Bundle:
    """The same bundle with its card and its figures."""
    text = card(facts, bundle.spec, network, linear)
    return write_bundle(bundle.path, bundle.spec, text, {METRICS: metrics_json(network, linear)})


def judged(person: Person, said: list[F64], teacher: list[F64]) -> tuple[list[Score], list[Score]]:
    """Errors of ``said`` and of the best causal low-pass against ``teacher``, by recording.

    Each ``(bins, channels)``, one a recording; bins without either (NaN) do not count.
    """
    names = activation_names(person)
    known = [
        np.asarray(np.isfinite(s[: len(a)]).all(1) & np.isfinite(a[: len(s)]).all(1))
        for s, a in zip(said, teacher, strict=True)
    ]

    def rows(parts: list[F64]) -> F64:
        return np.concatenate([p[: len(k)][k] for p, k in zip(parts, known, strict=True)])

    truth = rows(teacher)
    bins = [np.asarray(x, np.float64) for x in person.bins]
    lines = [
        _fitted(rows([low_pass(x, hz, causal=True) for x in bins]), truth) for hz in LOW_PASS_HZ
    ]
    best = min(lines, key=lambda e: float(np.mean((e - truth) ** 2)))
    groups = np.repeat([r.name for r in person.recordings], [k.sum() for k in known]).tolist()
    return scores(names, groups, rows(said), truth), scores(names, groups, best, truth)


def activation_names(person: Person) -> list[str]:
    """Of a bundle's outputs, in the order of the channels."""
    return [f"{c.replace(' ', '_')}_activation" for c in person.channels]


def _fitted(x: F64, truth: F64) -> F64:
    """With the gain and offset of each channel that suit ``truth`` best."""
    out = np.empty_like(x)
    for k in range(x.shape[1]):
        line = np.stack([x[:, k], np.ones(len(x))], 1)
        out[:, k] = line @ np.linalg.lstsq(line, truth[:, k], rcond=None)[0]
    return out


def _outputs(person: Person, top: float) -> tuple[Output, ...]:
    return tuple(Output(name, "1", 0.0, BEYOND * top) for name in activation_names(person))


def _heard(person: Person) -> NDArray[np.float32]:
    first = person.recordings[0]
    return person.chain.bins(first.emg_uv, "device").astype(np.float32)


def _written(
    folder: Path, net: nn.Module, spec: ModelSpec, examples: list[dict[str, NDArray[np.float32]]]
) -> Bundle:
    export_onnx(net, spec, examples, folder / MODEL)
    (folder / REFERENCE).write_bytes(torch_reference(net, spec, examples))
    return write_bundle(folder, spec, "", {})
