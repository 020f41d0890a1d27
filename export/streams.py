"""Recorded inputs of a network, step after step, and what a network makes of them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec import ModelSpec

F32 = NDArray[np.float32]
Network = Callable[[Mapping[str, F32]], Mapping[str, F32]]  # tensors by name, one step


@dataclass(frozen=True)
class Stream:
    """Consecutive inputs ``(n, *shape)`` by tensor name, without states; ``truth (n, outputs)`` is
    NaN where nobody knows it.  States begin from zero at its first step.
    """

    name: str
    inputs: Mapping[str, F32]
    truth: F32 | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def steps(self) -> Iterator[dict[str, F32]]:
        """What goes in, step after step."""
        for k in range(len(self)):
            yield {name: x[k] for name, x in self.inputs.items()}

    def part(self, where: slice) -> "Stream":
        """Some consecutive steps."""
        truth = None if self.truth is None else self.truth[where]
        return Stream(self.name, {k: v[where] for k, v in self.inputs.items()}, truth)

    def lasting(self, steps: int) -> "Stream":
        """Repeated, forwards, until it has so many steps: where a recording is too short for what
        builds up slowly."""
        times = -(-steps // len(self))
        rows = {k: np.concatenate([v] * times)[:steps] for k, v in self.inputs.items()}
        return Stream(self.name, rows)


@dataclass(frozen=True)
class Played:
    """What came out: ``values`` (and ``sd``) ``(n, outputs)``, a row for every step."""

    values: F32
    sd: F32 | None
    maps: F32 | None  # (n, k, lines, samples)
    ahead: F32 | None = None  # (n, times, outputs)
    rows: list[dict[str, F32]] = field(default_factory=list)  # what went in, states with it

    def part(self, where: slice) -> "Played":
        """Some consecutive steps."""
        sd, maps, ahead = (
            None if x is None else x[where] for x in (self.sd, self.maps, self.ahead)
        )
        return Played(self.values[where], sd, maps, ahead)


def play(network: Network, spec: ModelSpec, stream: Stream, keep_rows: bool = False) -> Played:
    """Every step of ``stream``, states carried on from zero."""
    states = {s.input: np.zeros(s.shape, np.float32) for s in spec.states}
    values, sds, maps, ahead, rows = [], [], [], [], []
    for given in stream.steps():
        feed = {**given, **states}
        if keep_rows:
            rows.append(feed)
        out = network(feed)
        states = {s.input: out[s.output] for s in spec.states}
        if spec.values and spec.outputs:
            values.append(out[spec.values][0])
        if spec.sd:
            sds.append(out[spec.sd][0])
        if spec.maps:
            maps.append(out[spec.maps][0])
        if spec.ahead:
            ahead.append(out[spec.ahead].reshape(len(spec.ahead_ms), -1))
    return Played(
        np.array(values, np.float32).reshape(len(stream), -1),
        np.array(sds, np.float32) if sds else None,
        np.array(maps, np.float32) if maps else None,
        np.array(ahead, np.float32) if ahead else None,
        rows,
    )


def steps_of(network: Network, spec: ModelSpec, streams: Sequence[Stream]) -> list[dict[str, F32]]:
    """All inputs of all streams, with the states that the network had then."""
    return [row for s in streams for row in play(network, spec, s, keep_rows=True).rows]


class OrtNetwork:
    """An ONNX model (ModelProto), or its bytes, on one thread of the CPU; ``size`` in bytes."""

    def __init__(self, model: Any):
        import onnxruntime as ort

        data = model if isinstance(model, bytes) else model.SerializeToString()
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._names = [o.name for o in self.session.get_outputs()]
        self.size = len(data)

    def __call__(self, feed: Mapping[str, F32]) -> Mapping[str, F32]:
        """One step."""
        return dict(zip(self._names, self.session.run(None, dict(feed)), strict=True))


def side_by_side_ms(
    networks: Mapping[str, Network], rows: Sequence[Mapping[str, F32]], rounds: int
) -> dict[str, NDArray[np.float64]]:
    """Time of each call in ms, network after network in every round: noise meets all alike."""
    found: dict[str, list[float]] = {n: [] for n in networks}
    for network in networks.values():  # the first calls allocate
        for row in rows[:5]:
            network(row)
    for k in range(rounds):
        row = rows[k % len(rows)]
        for name, network in networks.items():
            start_ns = time.perf_counter_ns()
            network(row)
            found[name].append((time.perf_counter_ns() - start_ns) * 1e-6)
    return {n: np.array(t) for n, t in found.items()}
