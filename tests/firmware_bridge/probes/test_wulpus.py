import contextlib
import json
import os
import struct
import threading
import time
import tty

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.probes import open_probe, wulpus
from firmware_bridge.probes.wulpus import FRAME_BYTES, PREAMBLE, Wulpus
from firmware_bridge.probes.wulpus_config import RESTART, Pair, WulpusConfig, encode
from firmware_bridge.types import DeviceError

ONE = WulpusConfig(pairs=(Pair((0,), (0,)),))
THREE = WulpusConfig(pairs=tuple(Pair((c,), (c,)) for c in range(3)))


def wire(counter, pair=0):
    """An acquisition whose samples tell which one it is."""
    samples = (np.arange(400) + 400 * counter) % 4096 - 2048
    return PREAMBLE + struct.pack("<BH", pair, counter & 0xFFFF) + samples.astype("<i2").tobytes()


class FakePort:
    """Plays the dongle: gives what it is fed in pieces, keeps what it is sent."""

    def __init__(self, data=b"", chunk=4096):
        self.data, self.chunk = data, chunk
        self.sent, self.gone, self.closed = [], False, 0

    def recv(self, timeout_s):
        if self.gone:
            raise OSError(5, "Input/output error")
        piece, self.data = self.data[: self.chunk], self.data[self.chunk :]
        return piece

    def send(self, data):
        if self.gone:
            raise OSError(5, "Input/output error")
        self.sent.append(data)

    def close(self):
        self.closed += 1


def probe_fed(data, chunk=4096, config=ONE):
    port = FakePort(chunk=chunk)
    probe = Wulpus("wulpus:test", port, config, sleep=lambda _: None)
    port.data = data
    return probe


def frames(probe):
    got = []
    while frame := probe.read(10.0):
        got.append(frame)
    return got


def samples(counter):
    return np.frombuffer(wire(counter)[13:], "<i2")[:397]


@pytest.mark.parametrize("chunk", [1, 7, 64, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 4096])
def test_frames_survive_any_chunking_and_a_torn_start(chunk):
    probe = probe_fed(wire(6)[300:] + wire(7) + wire(8), chunk)
    a, b = frames(probe)
    assert (a.seq, b.seq) == (0, 1)
    np.testing.assert_array_equal(a.data, [samples(7)])
    np.testing.assert_array_equal(b.data, [samples(8)])
    assert probe.counters["garbage_bytes"] == FRAME_BYTES - 300
    assert not a.data.flags.writeable


def test_the_samples_that_the_firmware_overwrites_are_not_in_the_frame():
    data = bytearray(wire(1))
    data[-5:] = b"\xaa" * 5  # high byte of sample 397, samples 398 and 399
    probe = probe_fed(bytes(data))
    assert probe.geometry.samples == 397
    np.testing.assert_array_equal(frames(probe)[0].data, [samples(1)])


def test_geometry_tells_depth_and_pitch():
    g = Wulpus("wulpus:test", FakePort(), THREE, dx_mm=4.0, sleep=lambda _: None).geometry
    assert (g.kind, g.lines, g.samples, g.dx_mm, g.tx_hz) == ("rf", 3, 397, 4.0, 2_250_000)
    assert g.dz_mm == pytest.approx(0.09625)
    assert g.depth0_mm == pytest.approx(9 * 0.77)


def test_counter_wraps_without_looking_like_loss():
    probe = probe_fed(b"".join(map(wire, range(65530, 65545))))
    assert [f.seq for f in frames(probe)] == list(range(15))
    assert not any(probe.counters.values())


def test_the_device_clock_counts_periods_of_the_probe():
    a, b = frames(probe_fed(wire(7) + wire(10)))
    assert b.device_ns - a.device_ns == 3 * round(655 / 32768 * 1e9)


def test_missing_acquisitions_are_a_gap_and_counted():
    probe = probe_fed(wire(10) + wire(14))
    assert [f.seq for f in frames(probe)] == [0, 4]
    assert probe.counters["skipped"] == 3


def test_an_acquisition_sent_twice_is_used_once():
    probe = probe_fed(wire(10) + wire(10) + wire(11))
    assert [f.seq for f in frames(probe)] == [0, 1]
    assert probe.counters["repeated"] == 1


def test_a_counter_that_begins_again_goes_on_counting_with_a_gap():
    probe = probe_fed(wire(5000) + wire(0) + wire(1))
    assert [f.seq for f in frames(probe)] == [0, 2, 3]
    assert (probe.counters["restarts"], probe.counters["skipped"]) == (1, 0)


def test_a_lost_radio_packet_costs_one_acquisition():
    cut = wire(2)
    probe = probe_fed(wire(1) + cut[:300] + cut[501:] + wire(3) + wire(4))
    assert [f.seq for f in frames(probe)] == [0, 2, 3]
    assert (probe.counters["torn"], probe.counters["skipped"]) == (1, 1)


def test_a_pair_that_is_not_configured_is_not_believed():
    probe = probe_fed(wire(1) + wire(2, pair=9) + wire(3))
    assert len(frames(probe)) == 2
    assert probe.counters["bad_pair"] == 1


def test_several_pairs_make_a_frame_of_a_whole_sweep():
    probe = probe_fed(b"".join(wire(c, c % 3) for c in range(6)), config=THREE)
    a, b = frames(probe)
    assert (a.seq, b.seq, a.data.shape) == (0, 1, (3, 397))
    np.testing.assert_array_equal(b.data, [samples(3), samples(4), samples(5)])


def test_a_sweep_with_a_hole_is_dropped_and_leaves_a_gap():
    stream = [wire(c, c % 3) for c in range(12) if c != 4]
    probe = probe_fed(b"".join(stream), config=THREE)
    assert [f.seq for f in frames(probe)] == [0, 2, 3]
    assert (probe.counters["unused"], probe.counters["skipped"]) == (2, 1)


def test_lines_of_two_sweeps_are_never_mixed():
    # Exactly one sweep's worth is lost: the next expected pair arrives, of the wrong sweep.
    stream = [wire(c, c % 3) for c in (0, 1, 2, 3, 4, 8, 9, 10, 11)]
    probe = probe_fed(b"".join(stream), config=THREE)
    _, last = frames(probe)
    assert last.seq == 3
    np.testing.assert_array_equal(last.data, [samples(9), samples(10), samples(11)])


def test_sweeps_stay_apart_when_the_counter_wraps_out_of_step_with_the_pairs():
    stream = [wire(c, c % 3) for c in range(65529, 65553)]
    probe = probe_fed(b"".join(stream), config=THREE)
    assert [f.seq for f in frames(probe)] == list(range(8))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.tuples(st.integers(0, 0xFFFF), st.integers(0, 9)).map(lambda a: wire(*a)),
            st.tuples(st.integers(0, 20), st.integers(1, FRAME_BYTES)).map(
                lambda a: wire(a[0])[: a[1]]
            ),
        ),
        max_size=8,
    ),
    st.integers(1, 3000),
)
def test_whatever_arrives_frames_are_in_order_and_in_one_piece(parts, chunk):
    probe = probe_fed(b"".join(parts), chunk)
    got = frames(probe)
    assert [f.seq for f in got] == sorted({f.seq for f in got})
    assert all(f.data.tobytes() in b"".join(parts) for f in got)


def test_a_flood_of_garbage_does_not_hold_the_reader_beyond_its_time():
    class Flood(FakePort):
        def recv(self, timeout_s):
            return self.data and bytes(5000)

    port = Flood()
    probe = Wulpus("wulpus:test", port, ONE, sleep=lambda _: None)
    port.data = b"on"
    assert probe.read(0.02) is None
    assert probe.counters["garbage_bytes"] > 0


def test_opening_restarts_waits_drains_and_configures():
    port = FakePort(b"left over from before")
    waits = []
    Wulpus("wulpus:test", port, ONE, sleep=waits.append)
    assert port.sent == [RESTART, encode(ONE)]
    assert (waits, port.data) == ([2.5], b"")


def test_closing_stops_the_pulses_once():
    port = FakePort()
    probe = Wulpus("wulpus:test", port, ONE, sleep=lambda _: None)
    probe.close()
    probe.close()
    assert (port.sent[2:], port.closed) == ([RESTART], 1)
    with pytest.raises(DeviceError, match="open it again"):
        probe.read(0.0)


def test_unplugging_is_reported_and_closing_afterwards_is_quiet():
    port = FakePort()
    probe = Wulpus("wulpus:test", port, ONE, sleep=lambda _: None)
    port.gone = True
    with pytest.raises(DeviceError, match="plug it in"):
        probe.read(0.0)
    probe.close()
    assert port.closed == 1


def test_a_port_that_takes_no_bytes_is_released_and_reported():
    port = FakePort()
    port.gone = True
    with pytest.raises(DeviceError, match="replug it"):
        Wulpus("wulpus:test", port, ONE, sleep=lambda _: None)
    assert port.closed == 1


def test_a_silent_probe_is_opened_again_to_be_configured_again(monkeypatch):
    probe = probe_fed(wire(1))
    assert len(frames(probe)) == 1
    now = time.monotonic_ns()
    monkeypatch.setattr(wulpus.time, "monotonic_ns", lambda: now + 4_000_000_000)
    with pytest.raises(DeviceError, match="switch the probe on"):
        probe.read(0.0)


def test_without_a_dongle_the_message_names_the_port_syntax(monkeypatch):
    import serial.tools.list_ports

    monkeypatch.setattr(serial.tools.list_ports, "comports", list)
    with pytest.raises(DeviceError, match=r"found 0 .* wulpus:/dev/ttyACM0"):
        open_probe("wulpus:")


def test_a_port_that_is_not_there_names_the_remedy(tmp_path):
    with pytest.raises(DeviceError, match="plug the dongle in"):
        open_probe(f"wulpus:{tmp_path}/ttyACM0")


@pytest.mark.parametrize("query", ["dx_mm=-1", "gain=3"])
def test_a_wrong_parameter_is_refused_before_the_port_is_touched(query):
    with pytest.raises(DeviceError, match=query.partition("=")[0]):
        open_probe(f"wulpus:/dev/null?{query}")


def play_dongle(fd, give_up, log):
    """The firmware: after a configuration, acquisitions until it is told to restart."""
    heard, counter = b"", 0
    os.set_blocking(fd, False)
    while not give_up.wait(0.001):
        with contextlib.suppress(OSError):  # nothing yet, or nobody has the other end open
            heard += os.read(fd, 4096)
        while len(heard) >= 68:
            log.append(heard[:68])
            heard = heard[68:]
        kinds = [message[0] for message in log]
        if 0xFA in kinds and kinds[-1] == 0xFB:
            return
        if 0xFA in kinds:
            with contextlib.suppress(BlockingIOError):  # the reader is behind
                os.write(fd, wire(counter, counter % 3))
                counter += 1


def test_through_a_terminal_the_probe_is_started_read_and_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(wulpus, "RESTART_S", 0.02)
    config = tmp_path / "c.json"
    pairs = [{"tx_channels": [c], "rx_channels": [c]} for c in range(3)]
    config.write_text(json.dumps({"us_config": {}, "tx_rx_config": pairs}))
    far, near = os.openpty()
    tty.setraw(near)
    give_up, log = threading.Event(), []
    dongle = threading.Thread(target=play_dongle, args=(far, give_up, log))
    dongle.start()
    try:
        address = f"wulpus:{os.ttyname(near)}?config={config}"
        probe = open_probe(address)
        assert probe.address == address
        got = [f for _ in range(5) if (f := probe.read(5.0))]
        probe.close()
        dongle.join(timeout=10.0)
    finally:
        give_up.set()
        dongle.join()
        os.close(near)
        os.close(far)
    assert [f.data.shape for f in got] == [(3, 397)] * 5
    assert all(b.seq > a.seq for a, b in zip(got, got[1:], strict=False))
    assert [m[0] for m in log] == [0xFB, 0xFA, 0xFB]
