"""A port that nobody reads, that reads slowly, or that two threads write to."""

import os
import threading
import time
from typing import Any

import numpy as np
import pytest

from firmware_bridge.links import Link
from firmware_bridge.links import serial as serial_link
from firmware_bridge.links.packet import Decoder, Info, Kind, Packet
from firmware_bridge.types import Flag, MuscleState, Output

INFO = Info("m@1", 10.0, (Output("angle", "deg", -60, 30),))


def state(seq: int, n: int = 4) -> MuscleState:
    return MuscleState(seq, time.monotonic_ns(), Flag(0), np.full(n, seq, np.float32))


def fill(link: Link) -> int:
    """Send until the port is full; the number of states it took, the last one perhaps in part."""
    for seq in range(100_000):
        if not link.send(state(seq, n=31)):
            return seq
    raise AssertionError("a port nobody reads took everything")


def test_a_port_that_nobody_reads_never_blocks_and_drops_are_counted(port: Any, link: Link) -> None:
    taken = fill(link)
    assert (link.counters["sent"], link.counters["dropped"]) == (taken, 1)
    refused = 0
    while refused < 20:  # the kernel moves bytes on in its own time, which makes room again
        time.sleep(0.002)
        refused = 0 if link.send(state(0)) else refused + 1
    sent, dropped = link.counters["sent"], link.counters["dropped"]
    assert not any(link.send(state(taken + i)) for i in range(100))
    assert not link.send_info(INFO)
    assert link.counters["sent"] == sent
    assert link.counters["dropped"] == dropped + 101


def test_after_a_blockage_the_newest_state_comes_next_and_none_is_torn(
    port: Any, link: Link, clock: Any
) -> None:
    taken = fill(link)
    before = port.packets()
    clock.now_ns += serial_link.HELD_NS
    assert link.send(state(9999))
    after = port.packets()
    assert [p.seq for p in before + after] == [*range(taken), 9999]
    assert port.decoder.counters["crc"] == port.decoder.counters["cobs"] == 0


def test_the_rest_of_a_packet_that_waited_too_long_is_never_completed(
    port: Any, link: Link, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as m:
        m.setattr(serial_link.os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
        assert link.send(state(1))
    clock.now_ns += serial_link.HELD_NS + 1
    assert link.send(state(2))
    assert [p.seq for p in port.packets()] == [2]
    assert link.counters["cut"] == 1


@pytest.mark.parametrize("missing", [1, 2, 20])
def test_a_cut_packet_is_wrong_even_if_only_its_delimiter_was_missing(missing: int) -> None:
    whole = serial_link.encode_state(state(1), time.monotonic_ns())
    decoder = Decoder()
    good = serial_link.encode_state(state(2), time.monotonic_ns())
    got = decoder.feed(whole[:-missing] + serial_link.CUT + good)
    assert [p.seq for p in got] == [2]
    assert sum(decoder.counters.values()) == 1


def test_nothing_is_added_to_a_buffer_that_does_not_drain(
    port: Any, link: Link, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = 0
    monkeypatch.setattr(serial_link, "queued", lambda fd: waiting)
    assert link.send(state(0))
    waiting = 500
    clock.now_ns += serial_link.HELD_NS
    assert link.send(state(1))
    clock.now_ns += 1
    assert not link.send(state(2))
    waiting = 0
    assert link.send(state(3))
    assert [p.seq for p in port.packets()] == [0, 1, 3]


def test_a_slow_reader_gets_whole_packets_in_order(port: Any, link: Link) -> None:
    got: list[Packet] = []
    for seq in range(3000):
        link.send(state(seq, n=31))
        if seq % 3 == 0:
            got += port.decoder.feed(port.read(150, quiet_s=0))
    got += port.packets()
    seqs = [p.seq for p in got]
    assert seqs == sorted(set(seqs))
    assert link.counters["dropped"] > 0
    assert len(seqs) >= link.counters["sent"] - 1 - link.counters["cut"]


def test_a_port_that_vanishes_while_it_blocks_comes_back_with_a_fresh_state(
    port: Any, link: Link
) -> None:
    fill(link)
    port.unplug()
    port.plug()
    end = time.monotonic() + 10
    while not link.send(state(5555)):
        assert time.monotonic() < end, "it does not come back"
        time.sleep(0.002)
    assert [p.seq for p in port.packets()] == [5555]


def test_two_threads_may_send_at_once(port: Any, link: Link) -> None:
    def infos() -> None:
        for _ in range(200):
            link.send_info(INFO)

    other = threading.Thread(target=infos)
    other.start()
    got: list[Packet] = []
    for seq in range(200):
        link.send(state(seq))
        got += port.decoder.feed(port.read(quiet_s=0))
    while other.is_alive():
        got += port.packets()
    other.join()
    got += port.packets()
    assert [p.seq for p in got if p.kind == Kind.STATE] == list(range(200))
    assert [p.seq for p in got if p.kind == Kind.INFO] == list(range(200))
    assert not any(port.decoder.counters.values())
