"""What a rehab device must do with the packets, in Python; ``muscle_state.h`` does the same in C.

The newest state may be used while ``check`` says ``safe``.  It stops at the first of: silence, data
too old, a rejected flag, a value that is not a number, a ``seq`` that stands still or goes back.
It starts again only after ``good_needed`` good packets in a row *and* a local ``rearm``.

Data is as old as the packet says, plus the time since it arrived, plus the time it *waited on the
way*: a packet out of a full buffer says "8 ms" however long it lay there.  ``seq`` counts periods
of the sender's clock, so arrival time minus ``seq`` periods is constant but for such waiting: its
excess over the smallest seen so far is added to the age.  The smallest may grow by 1/1024 of the
time, more than clocks differ.  Whole microseconds everywhere, so that C decides alike.
"""

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from firmware_bridge.links.packet import (
    UNKNOWN_AGE,
    Ack,
    Decoder,
    Info,
    Kind,
    decode_ack,
    decode_info,
    decode_state,
)
from firmware_bridge.types import UNKNOWN_NS, Flag, MuscleState

REJECT = (
    Flag.FAULT | Flag.STALE_US | Flag.STALE_EMG | Flag.STALE_JOINT | Flag.UNCALIBRATED | Flag.REPLAY
)
SKEW_SHIFT = 10


class Reason(IntEnum):
    """Why states are not used; what came last before it stopped."""

    OK = 0
    NOT_ARMED = 1  # nobody has armed it since the start
    SILENCE = 2
    AGE = 3
    FLAGGED = 4
    NOT_FINITE = 5
    SEQUENCE = 6


class Verdict(NamedTuple):
    """Whether the newest state may be used, and whether ``rearm`` would be accepted if not."""

    safe: bool
    reason: Reason
    ready: bool


@dataclass(frozen=True)
class Limits:
    """What one rehab device accepts.  ``max_age_ms`` must leave room for a period."""

    period_ms: float = 10.0
    max_age_ms: float = 100.0
    reject: Flag = REJECT
    good_needed: int = 10
    max_silence_ms: float = 0.0  # 0 = three periods, at least 100 ms

    @property
    def silence_us(self) -> int:
        """The silence that stops it."""
        return round(1000 * (self.max_silence_ms or max(3 * self.period_ms, 100.0)))


class Receiver:
    """Decodes and judges.  One thread; ``now_ns`` is any monotonic clock, always the same."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.info: Info | None = None  # the newest
        self.acks: deque[Ack] = deque(maxlen=64)
        self._decoder = Decoder()
        self.counters = self._decoder.counters
        self._period_us = round(limits.period_ms * 1000)
        self._max_age_us = round(limits.max_age_ms * 1000)
        self._reason = Reason.NOT_ARMED
        self._good = 0
        self._heard = False
        self._seq = self._arrival_us = self._age_us = self._base_us = 0

    def feed(self, data: bytes, now_ns: int) -> list[MuscleState]:
        """Take bytes that arrived at ``now_ns``; give the states in them, good or bad."""
        states = []
        for p in self._decoder.feed(data):
            if p.kind == Kind.STATE:
                if (state := decode_state(p, now_ns)) is None:
                    self.counters["length"] += 1
                    continue
                self._judge(state, now_ns)
                states.append(state)
            elif p.kind == Kind.INFO:
                self.info = decode_info(p) or self.info
            elif (ack := decode_ack(p)) is not None:
                self.acks.append(ack)
        return states

    def check(self, now_ns: int) -> Verdict:
        """Call at least once a period, and always before using a state."""
        if self._heard:
            since_us = now_ns // 1000 - self._arrival_us
            if since_us > self.limits.silence_us:
                self._trip(Reason.SILENCE)
            elif self._age_us + since_us > self._max_age_us:
                self._trip(Reason.AGE)
        return Verdict(self._reason == Reason.OK, self._reason, self.ready)

    @property
    def ready(self) -> bool:
        """Whether enough good packets came in a row for ``rearm``."""
        return self._good >= self.limits.good_needed

    def rearm(self) -> bool:
        """A person, or the device's own start-up check, allows it again.  False: not ``ready``."""
        if self.ready:
            self._reason = Reason.OK
        return self.ready

    def _judge(self, s: MuscleState, now_ns: int) -> None:
        now_us = now_ns // 1000
        since_us = now_us - self._arrival_us if self._heard else 0
        silent = since_us > self.limits.silence_us
        if silent:
            self._trip(Reason.SILENCE)
        back = self._heard and _signed(s.seq - self._seq) <= 0
        held_us = self._held_us(s.seq, now_us, since_us, not self._heard or silent or back)
        age_us = UNKNOWN_AGE if s.t_ns == UNKNOWN_NS else (now_ns - s.t_ns) // 1000
        self._age_us = min(age_us + held_us, UNKNOWN_AGE)
        self._heard, self._seq, self._arrival_us = True, s.seq, now_us
        if s.flags & self.limits.reject:
            self._trip(Reason.FLAGGED)
        elif not np.isfinite(s.values).all():
            self._trip(Reason.NOT_FINITE)
        elif back:
            self._trip(Reason.SEQUENCE)
        elif self._age_us > self._max_age_us:
            self._trip(Reason.AGE)
        else:
            self._good = min(self._good + 1, self.limits.good_needed)

    def _held_us(self, seq: int, now_us: int, since_us: int, begin: bool) -> int:
        """How much longer this packet waited on the way than the quickest one."""
        lag_us = now_us - seq * self._period_us
        if begin:
            self._base_us = lag_us
        excess_us = _signed(lag_us - self._base_us)
        if excess_us < 0:
            self._base_us = lag_us
            if excess_us < -(self._period_us // 2):
                self._good = 0  # a backlog is draining: those before were older than we thought
            return 0
        creep_us = min(since_us >> SKEW_SHIFT, excess_us)
        self._base_us += creep_us
        return excess_us - creep_us

    def _trip(self, reason: Reason) -> None:
        self._reason, self._good = reason, 0


def _signed(difference: int) -> int:
    """A difference of two 32-bit counters that may have wrapped."""
    return (difference + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000
