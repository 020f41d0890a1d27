"""The one clock: device clocks mapped within a bound, deadlines that never drift."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import clock
from edge.clock import ClockMap, Pacer

MS = 1_000_000


def arrivals(n, rate_hz, skew, jitter_ms, seed=0, offset_ns=123_456_789_012):
    """Device stamps, true host times, and delayed arrivals of n data."""
    rng = np.random.default_rng(seed)
    device = (np.arange(n) * 1e9 / rate_hz).astype(np.int64)
    true = offset_ns + (device * (1 + skew)).astype(np.int64)
    delay = rng.exponential(jitter_ms * MS, n).astype(np.int64)
    return device, true, true + delay


@pytest.mark.parametrize("skew", [-4e-3, -5e-5, 0.0, 5e-5, 4e-3])
@pytest.mark.parametrize("rate_hz", [61, 1000])
def test_mapped_time_stays_within_the_least_delay_of_the_truth(skew, rate_hz):
    device, true, arrived = arrivals(40 * rate_hz, rate_hz, skew, jitter_ms=2.0)
    m = ClockMap()
    mapped = np.array([m.map(int(d), int(a)) for d, a in zip(device, arrived, strict=True)])
    settled = slice(5 * rate_hz, None)
    error_ms = (mapped - true)[settled] / MS
    assert np.abs(error_ms).max() < 0.5  # while single arrivals are up to 20 ms late
    assert (arrived - true)[settled].max() > 10 * MS
    assert m.steps == 0


def test_a_datum_is_never_mapped_after_its_arrival():
    device, _, arrived = arrivals(5000, 500, 1e-4, jitter_ms=5.0, seed=3)
    m = ClockMap()
    assert all(m.map(int(d), int(a)) <= a for d, a in zip(device, arrived, strict=True))


def test_skew_is_measured():
    device, _, arrived = arrivals(60 * 200, 200, 8e-5, jitter_ms=0.3)
    m = ClockMap()
    for d, a in zip(device, arrived, strict=True):
        m.map(int(d), int(a))
    assert m.skew == pytest.approx(8e-5, abs=2e-5)


def delayed(extra_ms, start_s=40, seconds=60, rate_hz=61):
    """Ages the map gives to data whose true delay grows by ``extra_ms(t_s)`` from a moment on."""
    device, true, arrived = arrivals(seconds * rate_hz, rate_hz, 2e-5, jitter_ms=1.0)
    t_s = device * 1e-9
    arrived = arrived + (np.where(t_s > start_s, extra_ms(t_s - start_s), 0) * MS).astype(np.int64)
    m, ages, behind = ClockMap(), [], []
    for d, a in zip(device, arrived, strict=True):
        ages.append(a - m.map(int(d), int(a)))
        behind.append(m.behind)
    return np.array(ages), arrived - true, np.array(behind), m


def test_a_delay_that_begins_later_is_age_not_a_new_clock():
    ages, true, behind, m = delayed(lambda t: 300.0)
    assert m.steps == 0
    late = slice(42 * 61, None)
    assert (ages[late] > true[late] - 5 * MS).all()
    assert behind[late].all()


def test_a_growing_backlog_is_age_not_skew():
    ages, true, behind, m = delayed(lambda t: 5.0 * t)
    assert m.steps == 0
    assert (ages > true - 10 * MS).all()
    assert behind[-1]


def test_after_a_delay_is_over_nothing_is_behind():
    _, _, behind, _ = delayed(lambda t: np.where(t < 5, 200.0, 0.0))
    assert behind.any()
    assert not behind[-1]


@pytest.mark.parametrize("step_ms", [-700, 700])
def test_a_step_of_the_device_clock_is_noticed_and_followed(step_ms):
    device, true, arrived = arrivals(30 * 100, 100, 2e-5, jitter_ms=1.0)
    device[1500:] += step_ms * MS
    m = ClockMap()
    mapped = np.array([m.map(int(d), int(a)) for d, a in zip(device, arrived, strict=True)])
    assert m.steps >= 1
    late = slice(2200, None)
    assert np.abs((mapped - true)[late]).max() < 2 * MS
    # Whatever happened in between, nothing was thought fresher than its arrival.
    assert (mapped <= arrived).all()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 5 * 10**9), min_size=1, max_size=60),
    st.lists(st.integers(-(10**12), 10**12), min_size=60, max_size=60),
)
def test_no_sequence_of_stamps_gives_a_time_in_the_future(gaps, stamps):
    m, now = ClockMap(), 10**12
    for gap, device in zip(gaps, stamps, strict=False):
        now += gap
        assert m.map(device, now) <= now


class FakeTime:
    """A clock that moves when somebody looks at it, or sleeps and perhaps oversleeps."""

    def __init__(self, oversleep_ns=0):
        self.ns, self.oversleep_ns = 10**9, oversleep_ns

    def now(self):
        self.ns += 1000
        return self.ns

    def sleep(self, seconds):
        self.ns += round(seconds * 1e9) + self.oversleep_ns


@pytest.fixture
def fake(monkeypatch):
    t = FakeTime()
    monkeypatch.setattr(clock, "now_ns", t.now)
    monkeypatch.setattr(clock.time, "sleep", t.sleep)
    return t


def test_late_wake_ups_do_not_add_up(fake):
    fake.oversleep_ns = 3 * MS
    p = Pacer(10 * MS, fake.ns)
    for k in range(100):
        assert p.wait() == k
        assert 0 <= fake.ns - p.deadline(k) <= 3 * MS
    assert p.missed == 0


def test_after_a_stall_the_pacer_is_on_time_again_and_counts_what_it_skipped(fake):
    p = Pacer(10 * MS, fake.ns)
    assert [p.wait(), p.wait()] == [0, 1]
    fake.ns += 57 * MS  # ticks 2..5 pass by entirely, 6 is due now
    assert p.wait() == 6
    assert p.missed == 4
    assert p.wait() == 7
    assert 0 <= fake.ns - p.deadline(7) <= 2000
