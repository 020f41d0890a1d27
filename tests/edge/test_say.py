"""What ``sonomyo listen`` says as the device: movements from a file, a load, HELLO."""

import os
import time
import tty

import numpy as np
import pytest

from edge.say import Angles, Speaker, read_angles
from firmware_bridge.links.commands import Encoder, Hello, Load, decode_command
from firmware_bridge.links.packet import Decoder
from firmware_bridge.types import DeviceError


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"rate_hz": 100.0}, "write FILE"),
        ({"knee": [1.0]}, "rate_hz"),
        ({"knee": [], "rate_hz": 100.0}, "one angle after the other"),
        ({"knee": [[1.0]], "rate_hz": 100.0}, "one angle after the other"),
        ({"knee": [1.0], "rate_hz": 0.1}, "1 to 1000 Hz"),
        ({"knee": [400.0], "rate_hz": 100.0}, "within 360"),
        ({"names": ["hip"], "values": [[1.0]], "rate_hz": 100.0}, "write FILE"),
    ],
)
def test_a_movement_that_cannot_be_played_is_refused(tmp_path, arrays, says):
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(DeviceError, match=says):
        read_angles(f"{tmp_path / 'm.npz'}:knee")


def test_a_movement_may_be_a_column_of_measurements(tmp_path):
    path = tmp_path / "m.npz"
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.savez(path, t0_ns=10**9, rate_hz=50.0, names=["torque", "knee"], values=values)
    deg, rate_hz = read_angles(f"{path}:knee")
    assert deg.tolist() == [2.0, 4.0]
    assert rate_hz == 50.0


def test_where_a_movement_is_not_a_number_the_encoder_is_silent(tmp_path):
    here, there = os.openpty()
    tty.setraw(there)
    os.set_blocking(here, False)
    speaker = Speaker(here, Angles(np.array([1.0, np.nan]), 200.0), 2.5)
    decoder, heard = Decoder(), []
    while sum(isinstance(c, Encoder) for c in heard) < 5:
        packets = decoder.feed(os.read(there, 4096))
        heard += [decode_command(p, time.monotonic_ns()) for p in packets]
    speaker.close()
    os.close(here)
    os.close(there)
    assert {c.angle_deg for c in heard if isinstance(c, Encoder)} == {1.0}
    assert [c.value for c in heard if isinstance(c, Load)] == [2.5]
    assert sum(isinstance(c, Hello) for c in heard) == 1
    seqs = [c.seq for c in heard]
    assert seqs == list(range(1, len(seqs) + 1))
