"""From sensor data to values: what replays bit for bit.

``look`` and ``hear`` prepare data on the sensors' threads, as it arrives; ``update`` infers in the
tick.  What comes out depends only on the frames and samples that went in, in that order, never on
the clock or on how they were cut: the daemon and ``sonomyo replay`` run the same object.  Joint
angle and load go in with the tick that used them.
"""

import math
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.clock import now_ns
from edge.evenness import Evenness, wants_even
from edge.joint import Joint
from edge.preprocess import EmgPipeline, UsPipeline
from edge.runtime import Engine, open_engine
from firmware_bridge.types import UNKNOWN_NS, Chunk, Frame, Geometry
from models.spec import Input, SpecError

MAX_STEPS = 64  # per tick; a longer backlog is history: the newest part of it is kept
KEEP_STEPS = 16
F32 = NDArray[np.float32]
_NEEDS = {
    "angle": 'a joint angle: set rig.angle to "encoder" or "model:NAME.OUTPUT"',
    "load": 'a load: set rig.load to "command" or, where it never changes, to "2.0 kg"',
}


@dataclass(frozen=True, slots=True)
class Hop:
    """One step's EMG input of one model."""

    features: F32
    t_ns: int  # of its newest sample
    unreliable: bool  # a channel is dead or saturated


@dataclass(frozen=True, slots=True)
class Look:
    """A frame, and the image inputs it makes for each estimator."""

    frame: Frame
    images: tuple[tuple[F32, ...], ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """A chunk, and the hops it completes for each estimator."""

    chunk: Chunk
    hops: tuple[tuple[Hop, ...], ...]


@dataclass(frozen=True)
class Sources:
    """What the rig delivers; None where a sensor is not there."""

    geometry: Geometry | None = None
    emg_fs_hz: float = 0.0
    emg_channels: tuple[str, ...] = ()
    angle: bool = False  # somebody says what the joint angle is
    load: bool = False


class Estimator:
    """One bundle: its preprocessing, its engine, its recurrent state.

    ``values`` and ``sd`` are the engine's own buffers: ``(n,)`` float32, overwritten by ``update``,
    NaN until every input has had data.
    """

    def __init__(self, bundle: Bundle, sources: Sources, engine: Engine | None = None):
        spec = self.spec = bundle.spec
        if not spec.outputs:
            raise SpecError(
                f"{spec.name} draws maps ({', '.join(spec.map_names)}) and estimates no state:"
                ' take it out of models = [...]; "sonomyo measure" uses it'
            )
        self.id = bundle.id
        self.engine = engine or open_engine(bundle)
        self.warm_ms = self.engine.warm_up()
        self._us: list[tuple[UsPipeline, F32]] = []
        self.emg: EmgPipeline | None = None  # its counters may be read from any thread
        self._joint: list[tuple[Input, F32]] = []  # angle, load
        for i in spec.inputs:
            self._connect(i, sources)
        self.uses_angle = any(i.source == "angle" for i in spec.inputs)
        self.uses_load = any(i.source == "load" for i in spec.inputs)
        self._ticked = spec.driver == "tick"
        self.values: F32 = self.engine.outputs[spec.values][0]
        self.sd: F32 | None = self.engine.outputs[spec.sd][0] if spec.sd else None
        self.ahead: F32 | None = None  # (times, n), rows as spec.ahead_ms
        if spec.ahead:
            self.ahead = self.engine.outputs[spec.ahead].reshape(-1, len(spec.outputs))
        self._delay_ns = int(spec.delay_ms * 1e6)
        # In steps: how long after a bad one, and after a beginning, values are not to be used.
        self._delay = math.ceil(spec.delay_ms / spec.period_ms)
        self._settle = self._doubtful = math.ceil(spec.settle_ms / spec.period_ms)
        self._states = [
            (self.engine.inputs[s.input], self.engine.outputs[s.output]) for s in spec.states
        ]
        self._evenness = Evenness(spec.period_ms) if wants_even(spec) else None
        self.fail()
        self.us_used_ns = self.emg_used_ns = UNKNOWN_NS  # newest datum behind the values
        self.angle_used_ns = self.load_used_ns = UNKNOWN_NS
        self._angle_ns = self._load_ns = UNKNOWN_NS  # of what lies before the network now
        self.dropped_hops = 0
        self.uneven_steps = 0  # on angles that did not come evenly
        self.fault = False  # implausible or doubtful values, or inputs that are no muscle's
        self.infer_start_ns = 0  # when the engine first ran in the last update; 0 = it did not
        self._frame_seq = -1
        self._frame_t_ns = UNKNOWN_NS
        self._emg_next = -1  # index after the newest sample heard
        self._hops: deque[Hop] = deque()  # not yet inferred
        self._known = False  # joint angle and load, in the last update
        self._tick = -1  # the last update's
        self._ranges = [(o.min, o.max) for o in spec.outputs]
        # An infinite SD is a fault even where max_sd is open.
        self._max_sd = [min(o.max_sd, sys.float_info.max) for o in spec.outputs]

    @property
    def uses_us(self) -> bool:
        """Whether the model looks at ultrasound."""
        return bool(self._us)

    def look(self, frame: Frame) -> tuple[F32, ...]:
        """The image inputs of a frame; always on one thread, which need not be ``update``'s."""
        return tuple(pipe.run(frame.data).copy() for pipe, _ in self._us)

    def hear(self, chunk: Chunk) -> tuple[Hop, ...]:
        """The hops that end in a chunk; always on one thread, which need not be ``update``'s."""
        pipe = self.emg
        if pipe is None:
            return ()
        lost = chunk.seq - self._emg_next if self._emg_next >= 0 else 0
        if lost > 0:
            pipe.gap(lost)
        pipe.push(chunk.data)
        self._emg_next = chunk.seq + len(chunk.data)
        hops = []
        while (features := pipe.next_step()) is not None:
            t_ns = chunk.t_ns - int(pipe.pending * 1e9 / pipe.fs_hz)
            hops.append(Hop(features.copy(), t_ns, pipe.unreliable))
        return tuple(hops)

    def update(
        self,
        frame: Frame | None,
        images: Sequence[F32],
        hops: Sequence[Hop],
        joint: Joint | None = None,
    ) -> bool:
        """Infer on the newest frame as ``look`` made it and on all new hops; True: new values.

        A model of neither steps once per call.  Without the angle or load that a model takes, or
        beyond where it was validated, it does not step, and its past ends.  On angles that came
        unevenly it steps, and all it says is a fault until it has settled again.
        """
        self.infer_start_ns = 0
        fresh = frame is not None and frame.seq != self._frame_seq
        if frame is not None and fresh:
            for (_, tensor), image in zip(self._us, images, strict=True):
                tensor[...] = image
            self._frame_seq, self._frame_t_ns = frame.seq, frame.t_ns
        known = not self._joint or self._place(joint)
        if self.emg is None:
            due = known and (fresh or not self._us)
            if due:
                self.fault = self._step(unreliable=False)
            return due
        if not known:
            self._hops.clear()
            return False
        self._hops.extend(hops)
        if len(self._hops) > MAX_STEPS:
            self._catch_up()
        stepped = fault = False
        while self._hops:
            hop = self._hops.popleft()
            self._features[...] = hop.features
            self.emg_used_ns = hop.t_ns
            if not self._us or self._frame_seq >= 0:
                # One bad step of several is not hidden by the good ones after it.
                fault |= self._step(hop.unreliable)
                stepped = True
        self.fault = fault if stepped else self.fault
        return stepped

    @property
    def t_ns(self) -> int:
        """What the values are of: the newest datum of the most delayed input, less the model's
        own delay; UNKNOWN_NS: no data yet.
        """
        # Not of the load: it holds until it is changed, and STALE_JOINT watches over it.
        times = [self.us_used_ns] if self._us else []
        times += [self.emg_used_ns] if self.emg else []
        newest = min([*times, self.angle_used_ns] if self.uses_angle else times)
        return newest if newest == UNKNOWN_NS else newest - self._delay_ns

    def _place(self, joint: Joint | None) -> bool:
        """Put angle and load before the network; False: unknown, or where it was never validated.

        After a hole in them, and where ticks drive after a skipped one, the past is worth nothing.
        Angles that came unevenly are in doubt until they are forgotten.
        """
        joint = joint or Joint(self._tick)
        known = True
        for i, tensor in self._joint:
            reading = joint.angle if i.source == "angle" else joint.load
            if reading is None:
                known = False
            elif not i.min <= reading.value <= i.max:
                known, self.fault = False, True
            else:
                tensor[0, 0] = reading.value
                if i.source == "angle":
                    self._angle_ns = reading.t_ns
                else:
                    self._load_ns = reading.t_ns
        skipped = self._ticked and joint.tick != self._tick + 1
        if known and (skipped or not self._known):
            self._forget()
        if known and self._evenness and not self._evenness.take(joint.tick, self._angle_ns):
            self.uneven_steps += 1
            self._doubtful = max(self._doubtful, 1 + max(self._settle, self._delay))
        self._known, self._tick = known, joint.tick
        return known

    def _catch_up(self) -> None:
        """Skip to the newest hops; a recurrent state from before the hole is worth nothing."""
        while len(self._hops) > KEEP_STEPS:
            self._hops.popleft()
            self.dropped_hops += 1
        self._forget()

    def _forget(self) -> None:
        """The recurrent state begins from nothing, and what it says next with it."""
        for into, _ in self._states:
            into.fill(0)
        if self._evenness:
            self._evenness.forget()
        self._doubtful = max(self._doubtful, self._settle)

    def fail(self) -> None:
        """Nothing is known until the next update that works."""
        self.values.fill(np.nan)
        for more in (self.sd, self.ahead):
            if more is not None:
                more.fill(np.nan)
        self.fault = True
        self._known = False  # a step is missing: joint angle and load begin anew

    def close(self) -> None:
        """Release the engine."""
        self.engine.close()

    def _connect(self, i: Input, sources: Sources) -> None:
        try:
            self._connect_one(i, sources)
        except SpecError:
            raise
        except (ValueError, ArithmeticError, MemoryError) as e:  # NumPy's and SciPy's words
            raise SpecError(
                f"{self.spec.name}: {i.name!r} cannot be prepared like this ({e}): export it again"
            ) from e

    def _connect_one(self, i: Input, sources: Sources) -> None:
        tensor = self.engine.inputs[i.name]
        if i.source == "us":
            if sources.geometry is None:
                raise SpecError(f"{self.spec.name} looks at ultrasound: set rig.probe")
            self._us.append((UsPipeline(sources.geometry, i), tensor))
        elif i.source != "emg":
            if not (sources.angle if i.source == "angle" else sources.load):
                raise SpecError(f"{self.spec.name} takes {_NEEDS[i.source]}")
            self._joint.append((i, tensor))
        else:
            if not sources.emg_channels:
                raise SpecError(f"{self.spec.name} listens to EMG: set rig.emg")
            if self.emg is not None:
                raise SpecError(f"{self.spec.name}: two EMG inputs; stack the channels in one")
            self.emg = EmgPipeline(sources.emg_fs_hz, sources.emg_channels, i)
            self._features = tensor

    def _step(self, unreliable: bool) -> bool:
        """Run the network once; whether its values must not be used."""
        self.infer_start_ns = self.infer_start_ns or now_ns()
        self.engine.run()
        for into, out in self._states:
            into[...] = out
        # Few and plain operations: a tick finds cold caches.  NaN, too, is outside every range.
        values = self.values.tolist()
        plausible = all(lo <= v <= hi for v, (lo, hi) in zip(values, self._ranges, strict=True))
        if self.sd is not None:
            doubts = self.sd.tolist()
            values += doubts
            # No SD is 0: that would be a certainty that no measurement gives.
            plausible &= all(0.0 < s <= m for s, m in zip(doubts, self._max_sd, strict=True))
        if unreliable:  # a model that waits speaks of this step later, too
            self._doubtful = max(self._doubtful, 1 + self._delay)
        fault = self._doubtful > 0 or not plausible
        self._doubtful = max(0, self._doubtful - 1)
        if not plausible and not all(map(math.isfinite, values)):
            self._forget()  # or one NaN would stay in the recurrent state for ever
        self.us_used_ns = self._frame_t_ns
        self.angle_used_ns, self.load_used_ns = self._angle_ns, self._load_ns
        return fault


def look_at(frame: Frame, estimators: Sequence[Estimator]) -> Look:
    """Prepare a frame for every estimator."""
    return Look(frame, tuple(e.look(frame) for e in estimators))


def listen_to(chunk: Chunk, estimators: Sequence[Estimator]) -> Heard:
    """Prepare a chunk for every estimator."""
    return Heard(chunk, tuple(e.hear(chunk) for e in estimators))
