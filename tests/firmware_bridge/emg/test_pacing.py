import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.emg.pacing import SampleClock


@given(rate_hz=st.floats(1, 50_000), count=st.integers(0, 10**9))
def test_deadlines_are_absolute_so_lateness_never_adds_up(rate_hz, count):
    clock = SampleClock(rate_hz, t0_ns=12345)
    assert clock.due_ns(count) - 12345 == pytest.approx(count / rate_hz * 1e9, rel=1e-12, abs=1)


def test_no_sample_is_due_early_and_none_is_forgotten():
    t0_ns = time.monotonic_ns()
    clock = SampleClock(1777.7, t0_ns)
    due = 0
    while due < 80:
        due = clock.wait(due + clock.step, 0.1)
        now_ns = time.monotonic_ns()
        assert clock.due_ns(due) <= now_ns
        assert due >= 0
    assert clock.wait(0, 0.0) >= due


def test_a_timeout_ends_the_wait():
    clock = SampleClock(1.0, time.monotonic_ns())
    assert clock.wait(1, 0.002) == 0


def test_before_its_start_nothing_is_due():
    assert SampleClock(1000.0, time.monotonic_ns() + 10**12).wait(1, 0.0) == 0


@pytest.mark.parametrize(("rate_hz", "step"), [(250, 1), (1000, 1), (2000, 2), (50_000, 50)])
def test_samples_come_about_each_millisecond_and_never_in_parts(rate_hz, step):
    assert SampleClock(rate_hz, 0).step == step
