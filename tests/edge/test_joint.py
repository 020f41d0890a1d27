"""What is kept of a device's commands: the newest measurement, and only what cannot be misread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.joint import NOTHING, Inbox, Joint, Newest, Reading, joint_of
from firmware_bridge.links.commands import Encoder, Hello, Load, Mark, decode_command
from firmware_bridge.links.packet import Kind, Packet, Status
from firmware_bridge.types import UNKNOWN_NS

MS = 1_000_000
NOW = 50_000_000_000


def encoder(seq, angle, t_ns=NOW):
    return Encoder(seq, t_ns, angle, float("nan"))


@pytest.fixture
def inbox():
    return Inbox(angle=True, load=True)


def test_the_newest_measurement_is_kept_with_its_time(inbox):
    assert inbox.take(encoder(1, 10.0, NOW)) == Status.OK
    assert inbox.take(encoder(2, 11.0, NOW + 10 * MS)) == Status.OK
    assert inbox.angle.reading == Reading(11.0, NOW + 10 * MS)


def test_of_two_that_were_read_at_once_the_later_one_counts(inbox):
    inbox.take(encoder(1, 10.0))
    inbox.take(encoder(2, 11.0))
    assert inbox.angle.reading.value == 11.0


def test_an_older_measurement_does_not_replace_a_newer_one(inbox):
    inbox.take(encoder(1, 10.0))
    assert inbox.take(encoder(2, 99.0, NOW - 1)) == Status.OK
    assert inbox.angle.reading == Reading(10.0, NOW)
    assert inbox.angle.outdated == 1


def test_a_command_that_is_sent_again_is_not_taken_for_a_new_measurement(inbox):
    inbox.take(encoder(7, 10.0))
    inbox.take(encoder(8, 11.0, NOW + 10 * MS))
    for seq in (7, 8):  # 100 ms later, unchanged: it still says the age it had at first
        inbox.take(encoder(seq, 10.0, NOW + 100 * MS))
    assert inbox.angle.reading == Reading(11.0, NOW + 10 * MS)


def test_a_device_that_was_restarted_is_heard_again_after_a_second(inbox):
    inbox.take(encoder(5000, 10.0))
    inbox.take(encoder(1, 20.0, NOW + 900 * MS))
    assert inbox.angle.reading.value == 10.0
    inbox.take(encoder(2, 30.0, NOW + 1000 * MS))
    inbox.take(encoder(3, 40.0, NOW + 1010 * MS))
    assert inbox.angle.reading.value == 40.0


def test_the_numbers_may_wrap(inbox):
    inbox.take(encoder(2**32 - 1, 10.0))
    inbox.take(encoder(0, 11.0, NOW + MS))
    assert inbox.angle.reading.value == 11.0


@pytest.mark.parametrize(
    "command",
    [
        encoder(1, 10.0, UNKNOWN_NS),
        Load(1, UNKNOWN_NS, 2.0, "kg"),
        Load(1, NOW, 2.0, "N m"),
    ],
    ids=["angle of unknown age", "load of unknown age", "torque"],
)
def test_what_could_only_be_misread_is_refused_and_never_used(inbox, command):
    assert inbox.take(command) == Status.OUT_OF_RANGE
    assert inbox.angle.reading == inbox.load.reading == NOTHING


def test_what_nobody_wants_is_recorded_as_before(inbox):
    other = Inbox(angle=False, load=False)
    for command in (encoder(1, 10.0, UNKNOWN_NS), Load(2, NOW, 2.0, "N m"), Hello(3, NOW, "x")):
        assert other.take(command) == Status.OK
    assert other.angle.reading == other.load.reading == NOTHING
    assert inbox.take(Mark(4, NOW, 1, "")) == Status.OK


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 10**10))))
def test_the_time_of_what_is_kept_never_goes_back(commands):
    newest, before = Newest(), UNKNOWN_NS
    for k, (seq, t_ns) in enumerate(commands):
        newest.put(seq, float(k), t_ns)
        assert newest.reading.t_ns >= before
        before = newest.reading.t_ns


@given(st.sampled_from([Kind.ENCODER, Kind.LOAD]), st.integers(0, 9), st.binary(max_size=14))
def test_whatever_bytes_come_what_is_kept_is_a_plausible_number_with_a_time(kind, seq, payload):
    inbox = Inbox(angle=True, load=True)
    command = decode_command(Packet(kind, 0, seq, payload), NOW)
    if isinstance(command, Encoder | Load):
        inbox.take(command)
    for kept, most in ((inbox.angle.reading, 360.0), (inbox.load.reading, 1000.0)):
        assert kept == NOTHING or (abs(kept.value) <= most and 0 < kept.t_ns <= NOW)


readings = st.none() | st.builds(Reading, st.floats(allow_nan=False), st.integers(0, 2**62))


@given(st.integers(0, 2**62), readings, readings)
def test_a_tick_s_angle_and_load_come_back_from_their_row(tick, angle, load):
    joint = Joint(tick, angle, load)
    (row,) = joint.row()
    assert joint_of(row) == joint
    assert np.isnan(row["angle_deg"]) == (angle is None)
