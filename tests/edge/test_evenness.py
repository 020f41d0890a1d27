"""Which encoders come evenly: every one that is well, whatever its clock; none that stalls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.evenness import LIMIT, SPAN, Evenness

MS = 1_000_000
PERIOD_MS = 10.0
BEGIN = 7_000  # ticks


def newest(sent_ms, arrived_ms, ticks):
    """Times of the newest angle at each tick."""
    at = np.searchsorted(arrived_ms, ticks * PERIOD_MS, side="right") - 1
    return (sent_ms[at] * MS).astype(np.int64)


def even(times_ns, ticks):
    evenness = Evenness(PERIOD_MS)
    return [evenness.take(k, t) for k, t in zip(ticks.tolist(), times_ns.tolist(), strict=True)]


def encoder(period_ms, jitter_ms, seed, seconds=30):
    """An encoder of its own clock on a line that delays: at each tick, is it even?"""
    rng = np.random.default_rng(seed)
    ticks = BEGIN + np.arange(seconds * 100)
    made_ms = np.arange(ticks[0] * PERIOD_MS - 100, ticks[-1] * PERIOD_MS, period_ms)
    arrived_ms = np.maximum.accumulate(made_ms + rng.uniform(0, jitter_ms, len(made_ms)))
    return even(newest(arrived_ms, arrived_ms, ticks), ticks)  # dated by arrival


@given(st.floats(1.0, 18.0), st.floats(0.0, 1.0), st.integers(0, 99))
def test_an_encoder_is_even_whose_period_and_jitter_stay_below_the_limit(period_ms, share, seed):
    jitter_ms = share * 0.99 * (LIMIT * PERIOD_MS - period_ms)
    assert all(encoder(period_ms, jitter_ms, seed, seconds=3))


@pytest.mark.parametrize("period_ms", [2.0, 5.0, 9.98, 10.0, 10.02, 12.5, 1000 / 61])
def test_clocks_that_differ_make_nothing_uneven(period_ms):
    assert all(encoder(period_ms, 2.0, seed=0))


@pytest.mark.parametrize("period_ms", [25.0, 100 / 3])
def test_an_encoder_that_is_too_slow_is_uneven(period_ms):
    said = encoder(period_ms, 0.2, seed=0)
    assert not any(said[SPAN:])


@pytest.mark.parametrize(("held", "uneven"), [(1, 0), (2, SPAN), (3, SPAN + 1), (5, SPAN + 3)])
def test_one_angle_may_be_read_twice_and_not_three_times(held, uneven):
    ticks = BEGIN + np.arange(60)
    times_ns = ticks * 10 * MS - 4 * MS
    times_ns[30 : 30 + held] = times_ns[29]
    assert np.flatnonzero(~np.array(even(times_ns, ticks))).tolist() == list(range(31, 31 + uneven))


@pytest.mark.parametrize("jitter_us", [0, 500])
def test_an_old_angle_that_is_sent_again_with_its_age_is_no_new_one(jitter_us):
    ticks = BEGIN + np.arange(60)
    times_ns = ticks * 10 * MS - 4 * MS
    times_ns[30:32] = times_ns[29] + jitter_us * 1000
    assert not even(times_ns, ticks)[31]


def test_a_backlog_that_slowly_grows_and_one_that_ends_are_uneven():
    ticks = BEGIN + np.arange(100)
    times_ns = ticks * 10 * MS
    times_ns[50:90] -= 5 * MS * np.arange(40)  # half as fast as it was, each angle another
    said = even(times_ns, ticks)
    assert all(said[:54])
    assert not any(said[54:])
    late_ns = np.where(np.arange(100) < 50, 40 * MS, 0)
    said = even(ticks * 10 * MS - late_ns, ticks)
    assert all(said[:50])
    assert not any(said[50 : 50 + SPAN - 1])


def test_what_was_before_a_beginning_does_not_count():
    evenness = Evenness(PERIOD_MS)
    assert evenness.take(1, 10 * MS)
    assert not evenness.take(2, 60 * MS)
    evenness.forget()
    assert evenness.take(3, 30 * MS)
