"""From sensor data to values: the part of the tick that replays bit for bit.

What comes out depends only on the frames and samples that went in, in that order, never on the
clock: the daemon and ``sonomyo replay`` run the same object.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.clock import now_ns
from edge.preprocess import EmgPipeline, UsPipeline
from edge.runtime import Engine, open_engine
from firmware_bridge.types import UNKNOWN_NS, Chunk, Frame, Geometry
from models.spec import Input, SpecError

MAX_STEPS = 16  # per tick: after a stall the backlog is worked off without a second stall


@dataclass(frozen=True, slots=True)
class Look:
    """A frame and what each estimator sees of it: prepared on arrival, before any tick needs it."""

    frame: Frame
    images: tuple[tuple[NDArray[np.float32], ...], ...]  # per estimator, per image input


@dataclass(frozen=True)
class Sources:
    """What the rig delivers; None where a sensor is not there."""

    geometry: Geometry | None = None
    emg_fs_hz: float = 0.0
    emg_channels: tuple[str, ...] = ()


class Estimator:
    """One bundle: its preprocessing, its engine, its recurrent state.

    ``values`` and ``sd`` are reused: ``(n,)`` float32, NaN until every input has had data.
    ``t_ns`` is the newest datum of the most delayed input behind them.
    """

    def __init__(self, bundle: Bundle, sources: Sources, engine: Engine | None = None):
        spec = self.spec = bundle.spec
        self.id = bundle.id
        self.engine = engine or open_engine(bundle)
        self.warm_ms = self.engine.warm_up()
        self._us: list[tuple[UsPipeline, NDArray[np.float32]]] = []
        self._emg: list[tuple[EmgPipeline, NDArray[np.float32]]] = []
        for i in spec.inputs:
            self._connect(i, sources)
        if len(self._emg) > 1:
            raise SpecError(f"{spec.name}: more than one EMG input; stack the channels in one")
        self.values = np.full(len(spec.outputs), np.nan, np.float32)
        self.sd = np.full(len(spec.outputs), np.nan, np.float32) if spec.sd else None
        self.t_ns = UNKNOWN_NS
        self.fault = False
        self.infer_start_ns = 0  # when the engine first ran in the last update; 0 = it did not
        self._frame_seq = -1
        self._frame_t_ns = UNKNOWN_NS
        self._emg_next = -1  # index after the newest sample pushed
        self._emg_t_ns = UNKNOWN_NS
        self._lo = np.array([o.min for o in spec.outputs], np.float32)
        self._hi = np.array([o.max for o in spec.outputs], np.float32)

    @property
    def emg(self) -> EmgPipeline | None:
        """The EMG preprocessing, with its counters; None for a model without EMG."""
        return self._emg[0][0] if self._emg else None

    @property
    def uses_us(self) -> bool:
        """Whether the model looks at ultrasound."""
        return bool(self._us)

    def look(self, frame: Frame) -> tuple[NDArray[np.float32], ...]:
        """The image inputs of a frame (copies); on one thread, which need not be ``update``'s."""
        return tuple(pipe.run(frame.data).copy() for pipe, _ in self._us)

    def update(
        self,
        frame: Frame | None,
        images: Sequence[NDArray[np.float32]],
        chunks: Sequence[Chunk],
    ) -> bool:
        """Take the newest frame as ``look`` made it and all new samples; True: new values."""
        self.infer_start_ns = 0
        fresh = frame is not None and frame.seq != self._frame_seq
        if frame is not None and fresh:
            for (_, tensor), image in zip(self._us, images, strict=True):
                tensor[...] = image
            self._frame_seq, self._frame_t_ns = frame.seq, frame.t_ns
        if not self._emg:
            return fresh and self._step()
        emg, window = self._emg[0]
        for chunk in chunks:
            self._push(emg, chunk)
        stepped = False
        for _ in range(MAX_STEPS):
            features = emg.next_step()
            if features is None:
                break
            window[...] = features
            if not self._us or self._frame_seq >= 0:
                stepped = self._step() or stepped
        return stepped

    def fail(self) -> None:
        """The last update broke: nothing is known until the next one that works."""
        self.values.fill(np.nan)
        self.fault = True

    def close(self) -> None:
        """Release the engine."""
        self.engine.close()

    def _connect(self, i: Input, sources: Sources) -> None:
        tensor = self.engine.inputs[i.name]
        if i.source == "us":
            if sources.geometry is None:
                raise SpecError(f"{self.spec.name} looks at ultrasound: set rig.probe")
            self._us.append((UsPipeline(sources.geometry, i), tensor))
        else:
            if not sources.emg_channels:
                raise SpecError(f"{self.spec.name} listens to EMG: set rig.emg")
            self._emg.append((EmgPipeline(sources.emg_fs_hz, sources.emg_channels, i), tensor))

    def _push(self, pipe: EmgPipeline, chunk: Chunk) -> None:
        lost = chunk.seq - self._emg_next if self._emg_next >= 0 else 0
        if lost > 0:
            pipe.gap(lost)
        pipe.push(chunk.data)
        self._emg_next = chunk.seq + len(chunk.data)
        self._emg_t_ns = chunk.t_ns

    def _step(self) -> bool:
        self.infer_start_ns = self.infer_start_ns or now_ns()
        self.engine.run()
        for s in self.spec.states:
            self.engine.inputs[s.input][...] = self.engine.outputs[s.output]
        self.values[...] = self.engine.outputs[self.spec.values][0]
        if self.sd is not None:
            self.sd[...] = self.engine.outputs[self.spec.sd][0]
        # Written so that NaN, too, is out of range.
        self.fault = not bool(np.all((self.values >= self._lo) & (self.values <= self._hi)))
        if self.fault and not np.isfinite(self.values).all():
            for s in self.spec.states:  # or one NaN would stay in the recurrent state for ever
                self.engine.inputs[s.input].fill(0)
        times = [self._frame_t_ns] if self._us else []
        if self._emg:
            pipe = self._emg[0][0]
            times.append(self._emg_t_ns - int(pipe.pending * 1e9 / pipe.fs_hz))
        self.t_ns = min(times)
        return True


def look_at(frame: Frame, estimators: Sequence[Estimator]) -> Look:
    """Prepare a frame for every estimator."""
    return Look(frame, tuple(e.look(frame) for e in estimators))
