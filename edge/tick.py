"""The fixed-latency tick: two threads, one that thinks and one that speaks.

The tick thread assembles inputs and infers at ``t_k``; the release thread sends the state of tick k
at ``t_k + release_ms`` exactly, however long inference took.  If there is no new result by then it
sends the newest one again, flagged LATE, or what the models foresaw for this tick, flagged LATE and
PREDICTED: the controller sees one constant delay and never silence.
With ``release_ms = 0`` the tick thread sends as soon as it is done, and the release thread only
steps in at the end of the period.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.carry import Carry, foreseen
from edge.clock import Pacer, now_ns
from edge.config import Timing
from edge.estimate import Estimator, Heard
from edge.realtime import RANK_RELEASE, RANK_TICK, RealTime, prepare_thread
from edge.sensors import EmgReader, ProbeReader
from edge.turns import Turns
from firmware_bridge.links import Link
from firmware_bridge.links.packet import Info
from firmware_bridge.recording import STAMPS_DTYPE
from firmware_bridge.types import UNKNOWN_NS, Flag, MuscleState

log = logging.getLogger(__name__)

# Plain integers: IntFlag arithmetic costs more than encoding and sending a packet.
_STALE_US, _STALE_EMG, _STALE_JOINT = map(int, (Flag.STALE_US, Flag.STALE_EMG, Flag.STALE_JOINT))
_LATE, _PREDICTED, _FAULT = map(int, (Flag.LATE, Flag.PREDICTED, Flag.FAULT))

FAREWELLS = 10  # FAULT states sent on stopping, so that one of them surely arrives
GET_READY_NS = 250_000  # before a release: encoding takes that long when caches are cold
LAST_CALL = 0.9  # of a period: when an as-soon-as-done state is given up as late


class Log(Protocol):
    """Where the tick leaves what it did: the recorder."""

    def state(self, state: MuscleState) -> None:
        """Take a state as it was sent; never blocks."""

    def stamps(self, row: NDArray[np.void]) -> None:
        """Take a row of times; never blocks."""

    def joint(self, row: NDArray[np.void]) -> None:
        """Take the joint angle and load of a tick; never blocks."""

    def event(self, kind: str, **data: object) -> None:
        """Take an event; never blocks."""


@dataclass(slots=True)
class Result:
    """What one run of the models gave; never changed after it is published."""

    tick: int
    t_ns: int
    values: NDArray[np.float32]
    sd: NDArray[np.float32] | None
    fault: bool
    ahead: NDArray[np.float32] | None = None  # (ticks, n): values of the ticks after this one
    us_seq: int = -1
    us_t_ns: int = UNKNOWN_NS  # newest datum behind the values, as emg_t_ns
    emg_seq: int = 0
    emg_t_ns: int = UNKNOWN_NS
    angle_t_ns: int = UNKNOWN_NS
    load_t_ns: int = UNKNOWN_NS
    assembled_ns: int = 0
    infer_start_ns: int = 0
    infer_end_ns: int = 0

    def row(self, tick: int, t_tick_ns: int, sent_ns: int, flags: int) -> NDArray[np.void]:
        """The times of what was sent for ``tick``; ``sent_ns`` 0 = this was never sent."""
        return np.array(
            [(
                tick, t_tick_ns, self.us_seq, self.us_t_ns, self.emg_seq, self.emg_t_ns,
                self.assembled_ns, self.infer_start_ns, self.infer_end_ns, sent_ns, flags,
                tick - self.tick,
            )],
            STAMPS_DTYPE,
        )  # fmt: skip


class Tick:
    """Runs until ``stop``.  ``counters`` and ``late`` may be read from any thread."""

    def __init__(
        self,
        estimators: Sequence[Estimator],
        probe: ProbeReader | None,
        emg: EmgReader | None,
        links: Sequence[Link],
        timing: Timing,
        rt: RealTime,
        out: Log,
        info: Info,
        flags: Flag,
        turns: Turns | None = None,
    ):
        self._estimators, self._probe, self._emg = estimators, probe, emg
        self._turns = turns or Turns(estimators, timing)
        self._links, self._rt, self._out, self._info = links, rt, out, info
        self._period_ns = int(timing.period_ms * 1e6)
        self._asap = timing.release_ms == 0
        release_ms = timing.period_ms * LAST_CALL if self._asap else timing.release_ms
        self._release_ns = int(release_ms * 1e6)
        self._max_us_ns = int(timing.max_us_age_ms * 1e6)
        self._max_emg_ns = int(timing.max_emg_age_ms * 1e6)
        self._max_angle_ns = int(timing.max_angle_age_ms * 1e6)
        self._max_load_ns = int(timing.max_load_age_ms * 1e6)
        self._uses_us = any(e.uses_us for e in estimators)
        self._uses_emg = any(e.emg is not None for e in estimators)
        self._uses_angle = any(e.uses_angle for e in estimators)
        self._uses_load = any(e.uses_load for e in estimators)
        self._carry = Carry(estimators, timing.period_ms)
        n = sum(len(e.values) for e in estimators)
        has_sd = any(e.sd is not None for e in estimators)
        self._nan = np.full(n, np.nan, np.float32)
        self._heard: list[Heard] = []
        self._emg_seq, self._us_seq = 0, -1  # newest data that were there to use
        self._latest = Result(-1, UNKNOWN_NS, self._nan, self._nan if has_sd else None, False)
        self._before = self._latest
        self._emitted = self._logged = -1
        self._turn = threading.Lock()  # held until a state is handed over, at its release
        self._stopping = threading.Event()
        self._ticks_per_info = max(1, round(1000 / timing.period_ms))
        self.flags = int(flags)  # set from outside: THROTTLED, UNCALIBRATED, REPLAY
        self.paused = False  # by the receiver's STOP: states go out as FAULT and NaN
        self.errors = self.late = self.sent = 0
        self.warnings: list[str] = []
        self._pacer = Pacer(self._period_ns, 0)
        self._threads = [
            threading.Thread(target=self._think, name="tick", daemon=True),
            threading.Thread(target=self._speak, name="release", daemon=True),
        ]

    def start(self) -> None:
        """Begin ticking; the first tick is one period from now."""
        self._t0_ns = now_ns() + self._period_ns
        self._pacer = Pacer(self._period_ns, self._t0_ns)
        if self._emg:
            self._emg.keep_step(self._t0_ns, self._period_ns)
        for t in self._threads:
            t.start()

    def stop(self) -> None:
        """Say goodbye: ``FAREWELLS`` states flagged FAULT at the usual rate, then end."""
        self._stopping.set()
        for t in self._threads:
            t.join(timeout=2.0 + FAREWELLS * self._period_ns * 1e-9)

    @property
    def counters(self) -> dict[str, int]:
        """Ticks sent, sent late, skipped by inference, and failed."""
        return {
            "sent": self.sent, "late": self.late, "skipped": self._pacer.missed,
            "errors": self.errors,
            "dropped_hops": sum(e.dropped_hops for e in self._estimators),
        }  # fmt: skip

    def _think(self) -> None:
        self.warnings += prepare_thread(self._rt, RANK_TICK)
        while not self._stopping.is_set():
            tick = self._pacer.wait()
            result = self._infer(tick)
            with self._turn:
                self._log(self._latest)
                self._before, self._latest = self._latest, result
                if self._emitted >= tick or self._stopping.is_set():
                    self._log(result)  # too late for its own release
                elif self._asap:
                    self._emit(tick)

    def _log(self, r: Result) -> None:
        """Record a result that was never sent as its own tick's: a replay must know of it."""
        if r.tick > self._logged:
            self._out.stamps(r.row(r.tick, self._pacer.deadline(r.tick), 0, 0))
            self._logged = r.tick

    def _infer(self, tick: int) -> Result:
        """Assemble the newest inputs and run every model on them."""
        look = self._probe.latest if self._probe else None
        if look is not None:
            self._us_seq = look.frame.seq
        if self._emg:
            self._emg.drain(self._heard)
        if self._heard:
            last = self._heard[-1].chunk
            self._emg_seq = last.seq + len(last.data)
        assembled_ns = now_ns()
        fault, stepped = False, [False] * len(self._estimators)
        for k, e, joint in self._turns.of(tick, self._pacer.deadline(tick)):
            hops = [hop for heard in self._heard for hop in heard.hops[k]]
            try:
                if look is None:
                    stepped[k] = e.update(None, (), hops, joint)
                else:
                    stepped[k] = e.update(look.frame, look.images[k], hops, joint)
            except Exception as error:  # the tick never stops: say FAULT and count
                self._failed(tick, e, error)
            fault = fault or e.fault
        if self._turns.joint:
            self._out.joint(self._turns.joint.row())
        values, sd, t_ns = join(self._estimators)
        ahead = self._carry.look(stepped)
        done_ns = now_ns()
        started = [e.infer_start_ns for e in self._estimators if e.infer_start_ns]
        return Result(
            tick, t_ns, values, sd, fault, ahead, self._us_seq,
            min((e.us_used_ns for e in self._estimators if e.uses_us), default=UNKNOWN_NS),
            self._emg_seq,
            min((e.emg_used_ns for e in self._estimators if e.emg), default=UNKNOWN_NS),
            min((e.angle_used_ns for e in self._estimators if e.uses_angle), default=UNKNOWN_NS),
            min((e.load_used_ns for e in self._estimators if e.uses_load), default=UNKNOWN_NS),
            assembled_ns, min(started, default=done_ns), done_ns,
        )  # fmt: skip

    def _failed(self, tick: int, e: Estimator, error: Exception) -> None:
        e.fail()
        self.errors += 1
        if self.errors == 1 or self.errors % 1000 == 0:
            log.error("%s failed in tick %d (%d so far)", e.id, tick, self.errors, exc_info=error)
            self._out.event("tick failed", tick=tick, model=e.id, error=repr(error))

    def _speak(self) -> None:
        self.warnings += prepare_thread(self._rt, RANK_RELEASE)
        pacer = Pacer(self._period_ns, self._t0_ns + self._release_ns, GET_READY_NS)
        while not self._stopping.is_set():
            tick = pacer.wait()
            with self._turn:
                if self._emitted < tick:
                    self._emit(tick, pacer.deadline(tick))
            if tick % self._ticks_per_info == 0:
                for link in self._links:
                    link.send_info(self._info)
        for _ in range(FAREWELLS):
            tick = pacer.wait()
            with self._turn:
                state = MuscleState(tick, self._latest.t_ns, self.flags | _FAULT, self._nan)
                self._send(state, pacer.deadline(tick))

    def _emit(self, tick: int, at_ns: int = 0) -> None:
        """Send the newest result as the state of ``tick``, not before ``at_ns``; in its turn."""
        # A release that woke late must not send what was computed for a tick after it.
        r = self._latest if self._latest.tick <= tick else self._before
        tick = max(tick, r.tick)
        flags = self.flags | self._stale(r, max(now_ns(), at_ns))
        behind = tick - r.tick
        if behind:
            flags |= _LATE
            self.late += 1
            self._log(r)
        values, sd = r.values, r.sd
        if (later := foreseen(r.ahead, behind)) is not None:
            values = later
            flags |= _PREDICTED
        if r.fault:
            flags |= _FAULT
        if self.paused:
            flags |= _FAULT
            values, sd = self._nan, None
        self._emitted = tick
        sent_ns = self._send(MuscleState(tick, r.t_ns, flags, values, sd), at_ns)
        self._out.stamps(r.row(tick, self._pacer.deadline(tick), sent_ns, flags))
        self._logged = max(self._logged, r.tick)

    def _send(self, state: MuscleState, at_ns: int) -> int:
        """Give a state to every link, then to the recorder; when the last link took it."""
        sent_ns = 0
        for link in self._links:
            sent_ns = link.send(state, at_ns) or sent_ns
        sent_ns = sent_ns or now_ns()
        self.sent += 1
        self._out.state(state)
        return sent_ns

    def _stale(self, r: Result, now: int) -> int:
        flags = 0
        if self._uses_us and _older(r.us_t_ns, now, self._max_us_ns):
            flags |= _STALE_US
        if self._uses_emg and _older(r.emg_t_ns, now, self._max_emg_ns):
            flags |= _STALE_EMG
        if (self._uses_angle and _older(r.angle_t_ns, now, self._max_angle_ns)) or (
            self._uses_load and _older(r.load_t_ns, now, self._max_load_ns)
        ):
            flags |= _STALE_JOINT
        return flags


def _older(t_ns: int, now_ns: int, most_ns: int) -> bool:
    return t_ns == UNKNOWN_NS or now_ns - t_ns > most_ns


def join(
    estimators: Sequence[Estimator],
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, int]:
    """Values and SD of all models side by side (copies), and the time of the oldest input.

    A model without SD leaves NaN in its place; without any SD at all there is none.
    """
    if not estimators:  # recording only
        return np.zeros(0, np.float32), None, UNKNOWN_NS
    values = np.concatenate([e.values for e in estimators])
    sd = None
    if any(e.sd is not None for e in estimators):
        sd = np.concatenate(
            [e.sd if e.sd is not None else np.full_like(e.values, np.nan) for e in estimators]
        )
    return values, sd, min(e.t_ns for e in estimators)
