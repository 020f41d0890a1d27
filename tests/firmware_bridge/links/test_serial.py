"""The serial link on pseudo-terminals: a master that reads slowly, not at all, or goes away."""

import errno
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from firmware_bridge.links import Link, open_link
from firmware_bridge.links import serial as serial_link
from firmware_bridge.links.commands import (
    Command,
    Encoder,
    Hello,
    Load,
    Mark,
    Start,
    Stop,
    encode_command,
)
from firmware_bridge.links.packet import (
    Ack,
    Info,
    Kind,
    Status,
    decode_ack,
    decode_info,
    decode_state,
    encode,
)
from firmware_bridge.links.receiver import Limits, Receiver
from firmware_bridge.types import UNKNOWN_NS, DeviceError, Flag, MuscleState, Output

INFO = Info("m@1", 10.0, (Output("angle", "deg", -60, 30),))
WAIT_S = 10.0  # only a broken link takes so long


def until(done: Callable[[], object]) -> None:
    """Wait for something another thread does."""
    end = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.002)


def state(seq: int, n: int = 4) -> MuscleState:
    return MuscleState(seq, time.monotonic_ns(), Flag(0), np.full(n, seq, np.float32))


def test_states_and_info_arrive_and_the_first_byte_flushes_the_line(port: Any, link: Link) -> None:
    assert link.send(state(7))
    assert link.send_info(INFO)
    first = port.read(1)
    packets = port.packets()
    assert first == b"\0"
    assert [(p.kind, p.seq) for p in packets] == [(Kind.STATE, 7), (Kind.INFO, 0)]
    assert decode_info(packets[1]) == INFO
    assert link.counters["sent"] == 1


def test_a_state_leaves_at_its_moment_with_the_age_of_that_moment(port: Any, link: Link) -> None:
    old = state(7)
    at_ns = old.t_ns + 3_000_000
    assert link.send(old, at_ns) >= at_ns
    assert time.monotonic_ns() >= at_ns
    (packet,) = port.packets()
    sent = decode_state(packet, at_ns)
    assert sent is not None
    assert at_ns - sent.t_ns == 3_000_000


def test_age_is_that_of_the_moment_of_sending(port: Any, link: Link) -> None:
    old = MuscleState(0, time.monotonic_ns() - 40_000_000, Flag(0), np.ones(1, np.float32))
    assert link.send(old)
    (packet,) = port.packets()
    assert int.from_bytes(packet.payload[:4], "little") >= 40_000


COMMANDS: list[Command] = [
    Hello(1, UNKNOWN_NS, "orthosis"),
    Stop(2, UNKNOWN_NS),
    Start(3, UNKNOWN_NS),
    Encoder(4, UNKNOWN_NS, 12.0, -3.0),
    Load(5, UNKNOWN_NS, 1.5, "kg"),
    Mark(6, UNKNOWN_NS, 4, "heel strike"),
]


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_commands_arrive_and_are_acknowledged_with_the_next_state(
    port: Any, link: Link, chunk: int
) -> None:
    assert not link.peer_alive(time.monotonic_ns())
    wire = b"".join(encode_command(c, 0) for c in COMMANDS)
    for at in range(0, len(wire), chunk):
        os.write(port.master, wire[at : at + chunk])
    got: list[Command] = []

    def all_arrived() -> bool:
        got.extend(link.commands())
        return len(got) == len(COMMANDS)

    until(all_arrived)
    assert [type(c) for c in got] == [type(c) for c in COMMANDS]
    assert got[3:5] == COMMANDS[3:5]
    until(lambda: link.peer_alive(time.monotonic_ns()))
    assert not link.peer_alive(time.monotonic_ns() + 3_100_000_000)
    acks: list[Ack | None] = []

    def all_acknowledged() -> bool:
        link.send(state(0))
        acks.extend(decode_ack(p) for p in port.packets() if p.kind == Kind.ACK)
        return len(acks) == len(COMMANDS)

    until(all_acknowledged)
    kinds = (Kind.HELLO, Kind.STOP, Kind.START, Kind.ENCODER, Kind.LOAD, Kind.MARK)
    assert acks == [Ack(seq, kind, Status.OK) for seq, kind in enumerate(kinds, 1)]


def test_refused_commands_are_acknowledged_as_such_and_not_delivered(port: Any, link: Link) -> None:
    os.write(port.master, encode_command(Encoder(1, 0, 1e6, 0.0), 0))
    os.write(port.master, encode(Kind.HELLO, 0, 2, b"\x09x"))
    os.write(port.master, encode_command(Mark(3, 0, 1, "after"), 0)[4:])  # torn
    until(lambda: link.counters["refused"] == 2)
    until(lambda: link.counters["crc"] + link.counters["cobs"] + link.counters["length"] == 1)
    assert link.commands() == []
    link.send(state(0))
    assert [decode_ack(p) for p in port.packets()][1:] == [
        Ack(1, Kind.ENCODER, Status.OUT_OF_RANGE),
        Ack(2, Kind.HELLO, Status.MALFORMED),
    ]


def test_more_commands_than_anybody_takes_are_answered_not_now(port: Any, link: Link) -> None:
    for seq in range(serial_link.MAX_WAITING + 1):
        os.write(port.master, encode_command(Mark(seq, 0, 1, ""), 0))
        if seq % 32 == 31:
            until(lambda n=seq: len(link._commands) == min(n + 1, 256))  # type: ignore
    until(lambda: link.counters["refused"] == 1)
    link.send(state(0))
    (last,) = port.packets()[-1:]
    assert decode_ack(last) == Ack(serial_link.MAX_WAITING, Kind.MARK, Status.NOT_NOW)
    assert len(link.commands()) == serial_link.MAX_WAITING


def test_who_watches_sees_commands_as_they_are_decoded_and_may_refuse_them(
    port: Any, link: Link
) -> None:
    seen: list[Command] = []

    def watch(command: Command) -> Status:
        seen.append(command)
        return Status.OUT_OF_RANGE if isinstance(command, Load) else Status.OK

    link.watch = watch
    os.write(port.master, encode_command(Load(1, 0, 1.0, "N m"), 0))
    os.write(port.master, encode_command(Encoder(2, 0, 5.0, 0.0), 0))
    until(lambda: len(seen) == 2)
    until(lambda: [type(c) for c in link.commands()] == [Encoder])
    link.send(state(0))
    acks = [decode_ack(p) for p in port.packets() if p.kind == Kind.ACK]
    assert acks == [Ack(1, Kind.LOAD, Status.OUT_OF_RANGE), Ack(2, Kind.ENCODER, Status.OK)]


def test_who_wants_the_newest_reads_the_port_without_the_listening_thread(
    port: Any, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Command] = []

    def watch(command: Command) -> Status:
        seen.append(command)
        return Status.OK

    link.watch = watch
    monkeypatch.setattr(serial_link, "wait", lambda fd: time.sleep(0.01))  # it hears nothing
    time.sleep(0.15)  # but what it is waiting for now
    link.poll()
    assert not seen
    os.write(port.master, encode_command(Encoder(1, 0, 5.0, 0.0), 0))

    def polled() -> bool:
        link.poll()
        return bool(seen)

    until(polled)
    assert link.counters["reconnects"] == 0


def test_polling_never_waits_for_the_thread_that_reads(port: Any, link: Link) -> None:
    seen: list[Command] = []

    def watch(command: Command) -> Status:
        link.poll()  # as from another thread, while this one is decoding
        seen.append(command)
        return Status.OK

    link.watch = watch
    os.write(port.master, b"".join(encode_command(Encoder(k, 0, 5.0, 0.0), 0) for k in range(9)))
    until(lambda: len(seen) == 9)
    assert [c.seq for c in seen] == list(range(9))


def test_two_readers_of_a_port_lose_nothing_and_do_not_take_it_for_gone(
    port: Any, link: Link
) -> None:
    got: list[Command] = []

    def arrived(count: int) -> bool:
        link.poll()
        got.extend(link.commands())
        return len(got) == count

    for seq in range(300):
        os.write(port.master, encode_command(Mark(seq, 0, 1, ""), 0))
        link.poll()
        if seq % 100 == 99:  # more than 256 nobody asks for would be refused
            until(lambda n=seq + 1: arrived(n))  # type: ignore[misc]
    assert [c.seq for c in got] == list(range(300))
    port.unplug()
    link.poll()
    port.plug()
    until(lambda: link.counters["reconnects"] == 1)
    link.poll()


def test_an_echoing_line_is_not_answered(port: Any, link: Link) -> None:
    link.send(state(0))
    os.write(port.master, port.read())
    until(lambda: link.counters["refused"] == 1)
    link.send(state(1))
    assert [p.kind for p in port.packets()] == [Kind.STATE]


def test_a_port_that_vanishes_and_returns_at_its_path_is_used_again(port: Any, link: Link) -> None:
    assert link.send(state(1))
    assert [p.seq for p in port.packets()] == [1]
    for round_ in (1, 2):
        port.unplug()
        until(lambda: not link.send(state(2)))
        dropped = link.counters["dropped"]
        assert not link.send(state(3))
        assert not link.send_info(INFO)
        assert link.counters["dropped"] == dropped + 2
        port.plug()
        until(lambda: link.send(state(4)))
        assert port.read(2) == serial_link.CUT
        assert [p.seq for p in port.packets() if p.kind == Kind.STATE] == [4]
        assert link.counters["reconnects"] == round_
        os.write(port.master, encode_command(Mark(round_, 0, 1, ""), 0))
        until(link.commands)


def test_a_receiver_behind_the_link_goes_safe_when_nothing_more_comes(
    port: Any, link: Link
) -> None:
    receiver = Receiver(Limits(good_needed=3))
    for seq in range(3):
        link.send(state(seq))
        receiver.feed(port.read(), seq * 10_000_000)
    assert receiver.rearm()
    assert receiver.check(20_000_000).safe
    assert not receiver.check(130_000_000).safe


def test_what_was_sent_last_still_leaves_when_the_link_is_closed(port: Any, link: Link) -> None:
    for seq in range(10):
        link.send(state(seq))
    link.close()
    link.close()
    assert [p.seq for p in port.packets()] == list(range(10))
    assert not link.send(state(10))


def test_a_closed_port_can_be_opened_again(port: Any) -> None:
    for seq in range(3):
        link = open_link(f"serial:{port.path}")
        assert link.send(state(seq))
        link.close()
        assert [p.seq for p in port.packets()] == [seq]


def test_a_second_program_is_told_to_stop_the_first(port: Any, link: Link) -> None:
    with pytest.raises(DeviceError, match="another program"):
        open_link(f"serial:{port.path}")


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("serial:/dev/ttyNotThere9", "plug the device in"),
        ("serial:", "plug the device in"),
        ("serial:/dev/null", "/dev/null"),
        ("serial:/dev/ttyS0?bauds=9600", "known: \\['baud'\\]"),
        ("serial:/dev/ttyS0?baud=fast", "baud='fast'"),
        ("serial:/dev/ttyS0?baud=-3", "baud"),
        ("can:can0", "known: serial:"),
    ],
)
def test_an_address_that_cannot_be_opened_says_what_to_do(address: str, remedy: str) -> None:
    with pytest.raises(DeviceError, match=remedy):
        open_link(address)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EACCES, "dialout"), (errno.EBUSY, "fuser /dev/ttyX"), (errno.EIO, "boom")],
)
def test_the_operating_system_s_refusals_have_remedies(
    number: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, "boom")

    monkeypatch.setattr("serial.serialposix.os.open", refuse)
    with pytest.raises(DeviceError, match=remedy):
        open_link("serial:/dev/ttyX")
