"""Streaming EMG preprocessing: samples in any portions, one tensor per complete hop."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.emg_health import EmgHealth
from edge.emg_ops import build_ops
from edge.steps import args_of
from models.spec import Input, SpecError

BACKLOG_S = 4.0  # more than this unread is dropped: the estimator has stopped
FILL_S = 0.05  # a longer loss restarts the filters instead of inventing samples
RATE_TOLERANCE = 0.005  # nominal rates agree exactly; a crystal's error is far below


class EmgPipeline:
    """The steps of an ``emg`` input for one amplifier; the same bits for any chunking.

    ``fs_hz`` and ``channels`` are the amplifier's.  Raises SpecError when they cannot serve
    ``inp``, or when a step is wrong.
    """

    def __init__(self, fs_hz: float, channels: Sequence[str], inp: Input):
        if abs(fs_hz / inp.rate_hz - 1) > RATE_TOLERANCE:
            raise SpecError(
                f"input {inp.name!r} is made for EMG at {inp.rate_hz:g} Hz, the amplifier gives "
                f"{fs_hz:g} Hz: set its rate, or train for this one"
            )
        self.fs_hz, self.hop = fs_hz, inp.hop
        self._columns = _columns(channels, inp)
        width = len(self._columns)
        # Designed for the spec's rate, so that training and every device filter alike.
        self._ops = build_ops(inp.steps, inp.rate_hz, inp.hop, width)
        self._health = EmgHealth(inp.rate_hz, inp.hop, width, _rail_uv(inp))
        self._ring = np.zeros((max(math.ceil(BACKLOG_S * fs_hz), 2 * inp.hop), width), np.float32)
        self._head = self._tail = 0  # written up to, read up to
        self._raw = np.zeros((inp.hop, width), np.float32)
        self._x = np.zeros((inp.hop, width))
        self._level = np.zeros(width)
        last = self._ops[-1].out if self._ops else self._x
        if last.size != math.prod(inp.shape):
            raise SpecError(f"input {inp.name!r}: steps give {last.shape}, not {inp.shape}")
        self._out = np.zeros(inp.shape, np.float32)
        self._flat = self._out.reshape(last.shape)
        self._fresh = True  # no hop since the start or a restart
        self.counters = dict.fromkeys(
            ("bad_samples", "filled", "lost", "restarts", "overflow", "dead", "saturated"), 0
        )

    @property
    def pending(self) -> int:
        """Samples taken but not yet part of a step."""
        return self._head - self._tail

    @property
    def steps(self) -> int:
        """Complete hops waiting for ``next_step``."""
        return self.pending // self.hop

    @property
    def dead_channels(self) -> int:
        """Bit mask over the input's channels: constant for more than 100 ms."""
        return self._health.dead

    @property
    def saturated(self) -> int:
        """Bit mask over the input's channels: at the rails for over 20 % of the last 100 ms."""
        return self._health.saturated

    @property
    def unreliable(self) -> bool:
        """Whether any channel the model listens to is dead, saturated or missing in this hop."""
        return bool(self._health.dead or self._health.saturated or self._health.missing)

    def push(self, data: NDArray[np.float32]) -> None:
        """Take samples ``(n, channels of the amplifier)`` float32 uV; they are copied."""
        capacity = len(self._ring)
        if len(data) > capacity:
            self._count("overflow", len(data) - capacity)
            data = data[-capacity:]
        slot = self._room(len(data))
        # mode="clip" because the default mode buffers the whole result.
        np.take(data, self._columns, axis=1, out=slot, mode="clip")
        good = np.isfinite(slot)
        if not good.all():
            self._count("bad_samples", good.size - int(np.count_nonzero(good)))

    def gap(self, n_lost: int) -> None:
        """Samples were lost before the next push: fill a short gap, restart after a long one."""
        self._count("lost", n_lost)
        if n_lost <= FILL_S * self.fs_hz:
            self._count("filled", n_lost)
            self._room(n_lost).fill(np.nan)  # becomes the last good value
        else:
            self._restart()

    def next_step(self) -> NDArray[np.float32] | None:
        """The input tensor of the next hop (float32, ``inp.shape``, reused), or None."""
        if self.pending < self.hop:
            return None
        self._raw[...] = self._ring[self._tail : self._tail + self.hop]
        self._tail += self.hop
        self._health.watch(self._raw)
        self.counters["dead"] += self._health.dead != 0
        self.counters["saturated"] += self._health.saturated != 0
        x = self._x
        x[...] = self._raw
        if self._fresh:
            self._fresh = False
            self._level[...] = x[0]
            for op in self._ops:
                op.restart(self._level)
        for op in self._ops:
            x = op.run(x)
        self._flat[...] = x
        return self._out

    def _room(self, n: int) -> NDArray[np.float32]:
        """The place for ``n`` more samples; drops the backlog when there is none."""
        if self.pending + n > len(self._ring):
            self._count("overflow", self.pending)
            self._restart()
        if self._head + n > len(self._ring):
            self._ring[: self.pending] = self._ring[self._tail : self._head]
            self._head, self._tail = self.pending, 0
        self._head += n
        return self._ring[self._head - n : self._head]

    def _restart(self) -> None:
        self._count("restarts", 1)
        self._head = self._tail = 0
        self._fresh = True

    def _count(self, what: str, n: int) -> None:
        self.counters[what] += n


def _columns(channels: Sequence[str], inp: Input) -> NDArray[np.intp]:
    missing = [c for c in inp.channels if c not in channels]
    if missing:
        raise SpecError(
            f"input {inp.name!r} listens to {missing}, the amplifier has {list(channels)}: "
            "name its channels accordingly"
        )
    return np.array([list(channels).index(c) for c in inp.channels], np.intp)


def _rail_uv(inp: Input) -> float:
    found = [args_of(s, "rail_uv")[0] for s in inp.steps if s.op == "limits"]
    return min(found, default=math.inf)
