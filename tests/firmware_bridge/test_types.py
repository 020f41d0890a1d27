"""The core types."""

import numpy as np
import pytest

from firmware_bridge.types import Flag, Geometry, flag_names


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0, "-"),
        (Flag.LATE, "LATE"),
        (Flag.REPLAY | Flag.STALE_EMG, "STALE_EMG|REPLAY"),
        (0x8001, "STALE_US|0x8000"),
    ],
)
def test_flags_have_names_and_unknown_bits_are_not_hidden(flags, text):
    assert flag_names(flags) == text


def test_flags_are_single_bits_of_a_u16():
    assert sorted(Flag) == [1 << k for k in range(len(Flag))]
    assert max(Flag) < 1 << 16


def test_the_pixel_type_follows_the_kind():
    assert Geometry("bmode", 1, 1, 1, 1).dtype == np.uint8
    assert Geometry("rf", 1, 1, 1, 1).dtype == np.dtype("<i2")
