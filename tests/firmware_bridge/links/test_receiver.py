import numpy as np
import pytest

from firmware_bridge.links.packet import (
    Ack,
    Info,
    Kind,
    Status,
    encode,
    encode_ack,
    encode_info,
    encode_state,
)
from firmware_bridge.links.receiver import REJECT, Limits, Reason, Receiver
from firmware_bridge.types import UNKNOWN_NS, Flag, MuscleState, Output

MS = 1_000_000
START = 10**12
NO_FLAG = Flag(0)
LIMITS = Limits(period_ms=10, max_age_ms=100, good_needed=5)


def wire(
    seq: int, age_ms: float = 8, flags: Flag = NO_FLAG, value: float = 1.0, unknown: bool = False
) -> bytes:
    values = np.array([value, 2.0], np.float32)
    t_ns = UNKNOWN_NS if unknown else START - int(age_ms * MS)
    return encode_state(MuscleState(seq, t_ns, flags, values), START)


def armed() -> tuple[Receiver, int, int]:
    """A receiver in use, the seq of its newest state, and the time that one came."""
    r = Receiver(LIMITS)
    now = START
    for seq in range(20):
        now = START + seq * 10 * MS
        r.feed(wire(seq), now)
    assert r.rearm()
    assert r.check(now).safe
    return r, 19, now


def reason(r: Receiver, now_ns: int) -> Reason:
    verdict = r.check(now_ns)
    assert verdict.safe == (verdict.reason == Reason.OK)
    return verdict.reason


def test_good_packets_alone_do_not_arm_it() -> None:
    r = Receiver(LIMITS)
    for seq in range(100):
        r.feed(wire(seq), START + seq * 10 * MS)
    verdict = r.check(START + 99 * 10 * MS)
    assert verdict == (False, Reason.NOT_ARMED, True)


def test_arming_takes_enough_good_packets_in_a_row() -> None:
    r = Receiver(LIMITS)
    for seq in range(4):
        r.feed(wire(seq), START + seq * 10 * MS)
        assert not r.rearm()
    r.feed(wire(4), START + 40 * MS)
    assert r.rearm()
    assert reason(r, START + 40 * MS) == Reason.OK


def test_nothing_at_all_is_not_safe() -> None:
    r = Receiver(LIMITS)
    assert not r.rearm()
    assert reason(r, START) == Reason.NOT_ARMED


@pytest.mark.parametrize(
    ("period_ms", "silence_ms"), [(10.0, 100.0), (20.0, 100.0), (50.0, 150.0), (1.0, 100.0)]
)
def test_silence_is_three_periods_and_at_least_100_ms(period_ms: float, silence_ms: float) -> None:
    assert Limits(period_ms=period_ms).silence_us == silence_ms * 1000


def test_silence_stops_it_before_the_data_is_too_old() -> None:
    r = Receiver(Limits(period_ms=10, max_age_ms=10_000, good_needed=1))
    r.feed(wire(0), START)
    assert r.rearm()
    assert reason(r, START + 100 * MS) == Reason.OK
    assert reason(r, START + 101 * MS) == Reason.SILENCE


def test_silence_between_two_checks_is_noticed_by_the_packet_that_ends_it() -> None:
    r, seq, now = armed()
    r.feed(wire(seq + 50), now + 500 * MS)
    assert reason(r, now + 500 * MS) == Reason.SILENCE


def test_data_grows_old_while_it_lies_here() -> None:
    r, _, now = armed()
    assert reason(r, now + 92 * MS) == Reason.OK
    assert reason(r, now + 93 * MS) == Reason.AGE


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"age_ms": 101}, Reason.AGE),
        ({"unknown": True}, Reason.AGE),
        ({"value": float("nan")}, Reason.NOT_FINITE),
        ({"value": float("inf")}, Reason.NOT_FINITE),
        *(({"flags": f}, Reason.FLAGGED) for f in Flag if f & REJECT),
    ],
)
def test_one_bad_packet_stops_it_until_enough_good_ones_and_a_rearm(
    bad: dict[str, float], why: Reason
) -> None:
    r, seq, now = armed()
    r.feed(wire(seq + 1, **bad), now + 10 * MS)  # type: ignore[arg-type]
    assert reason(r, now + 10 * MS) == why
    for i in range(2, 6):
        r.feed(wire(seq + i), now + i * 10 * MS)
        assert not r.rearm()
    r.feed(wire(seq + 6), now + 60 * MS)
    assert reason(r, now + 60 * MS) == why
    assert r.rearm()
    assert reason(r, now + 60 * MS) == Reason.OK


@pytest.mark.parametrize("flag", [Flag.LATE, Flag.PREDICTED, Flag.THROTTLED])
def test_flags_that_only_inform_do_not_stop_it(flag: Flag) -> None:
    r, seq, now = armed()
    r.feed(wire(seq + 1, flags=flag), now + 10 * MS)
    assert reason(r, now + 10 * MS) == Reason.OK


@pytest.mark.parametrize("step", [0, -1, -19, -(2**31)])
def test_a_seq_that_stands_still_or_goes_back_stops_it(step: int) -> None:
    r, seq, now = armed()
    r.feed(wire(seq + step), now + 10 * MS)
    assert reason(r, now + 10 * MS) == Reason.SEQUENCE


def test_a_lost_packet_does_not_stop_it() -> None:
    r, seq, now = armed()
    r.feed(wire(seq + 4), now + 40 * MS)
    assert reason(r, now + 40 * MS) == Reason.OK


def test_seq_and_the_microseconds_of_a_microcontroller_may_wrap() -> None:
    r = Receiver(LIMITS)
    first = 2**32 - 50
    for i in range(100):
        r.feed(wire(first + i), START + i * 10 * MS)
        if i == 10:
            assert r.rearm()
    assert reason(r, START + 990 * MS) == Reason.OK


def test_a_backlog_is_not_taken_for_fresh_although_its_packets_say_so() -> None:
    r, seq, now = armed()
    resumed = now + 90 * MS  # short enough to be no silence
    r.feed(wire(seq + 1), resumed)  # should have come 80 ms ago: 88 ms old
    assert reason(r, resumed) == Reason.OK
    assert reason(r, resumed + 13 * MS) == Reason.AGE


def test_after_a_long_stall_the_backlog_does_not_count_as_good() -> None:
    r, seq, now = armed()
    resumed = now + 3000 * MS
    for i in range(1, 290):  # what piled up on the way comes at once
        r.feed(wire(seq + i), resumed)
        assert not r.ready
    assert reason(r, resumed) == Reason.SILENCE
    for i in range(300, 305):
        r.feed(wire(seq + i), now + i * 10 * MS)
    assert r.rearm()
    assert reason(r, now + 304 * 10 * MS) == Reason.OK


@pytest.mark.parametrize("skew", [-3e-4, 3e-4])
def test_clocks_that_run_apart_are_not_taken_for_delay(skew: float) -> None:
    r = Receiver(LIMITS)
    for seq in range(0, 60_000, 9):  # 10 minutes: 180 ms apart at the end
        now = START + round(seq * 10 * MS * (1 + skew))
        r.feed(wire(seq), now)
        if seq == 90:
            assert r.rearm()
    assert reason(r, now) == Reason.OK


def test_a_sender_that_restarts_needs_a_rearm_and_no_more() -> None:
    r, _, now = armed()
    later = now + 60_000 * MS
    for seq in range(10):
        r.feed(wire(seq), later + seq * 10 * MS)
    assert reason(r, later + 90 * MS) == Reason.SEQUENCE
    assert r.rearm()
    assert reason(r, later + 90 * MS) == Reason.OK


def test_a_torn_packet_is_as_if_it_had_not_come() -> None:
    r, seq, now = armed()
    assert r.feed(wire(seq + 1)[3:], now + 10 * MS) == []
    assert reason(r, now + 10 * MS) == Reason.OK
    assert reason(r, now + 101 * MS) != Reason.OK


def test_a_malformed_state_is_counted() -> None:
    r = Receiver(LIMITS)
    assert r.feed(encode(Kind.STATE, 0, 1, b"1234"), START) == []
    assert r.counters["length"] == 1


def test_names_and_answers_are_kept() -> None:
    r = Receiver(LIMITS)
    info = Info("m", 10.0, (Output("angle", "deg"),))
    r.feed(encode_info(info, 0) + encode_ack(Ack(4, Kind.MARK, Status.NOT_NOW)), START)
    assert r.info == info
    assert list(r.acks) == [Ack(4, Kind.MARK, Status.NOT_NOW)]
