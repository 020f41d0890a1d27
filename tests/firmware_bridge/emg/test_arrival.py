import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.emg.arrival import Arrivals

UNIX_NS = 1_790_000_000_000_000_000
MS = 1_000_000


def test_a_stamp_becomes_the_monotonic_time_of_the_same_moment():
    arrivals = Arrivals(1000 * MS, UNIX_NS)
    arrivals.poll(1010 * MS, UNIX_NS + 10 * MS)
    assert arrivals.at((UNIX_NS + 7 * MS) * 1e-9) == pytest.approx(1007 * MS, abs=1000)
    assert arrivals.steps == 0


@pytest.mark.parametrize("step_s", [-3600, -0.05, 0.05, 3600])
def test_a_step_of_the_wall_clock_is_counted_and_moves_no_sample_out_of_its_poll(step_s):
    arrivals = Arrivals(0, UNIX_NS)
    arrivals.poll(2 * MS, UNIX_NS + 2 * MS)
    stamped_before_s = (UNIX_NS + 3 * MS) * 1e-9
    stepped_ns = UNIX_NS + round(step_s * 1e9)
    arrivals.poll(4 * MS, stepped_ns + 4 * MS)
    assert 2 * MS <= arrivals.at(stamped_before_s) <= 4 * MS
    arrivals.poll(6 * MS, stepped_ns + 6 * MS)
    assert arrivals.at((stepped_ns + 5 * MS) * 1e-9) == pytest.approx(5 * MS, abs=1000)
    assert arrivals.steps == 1


def test_slewing_is_no_step():
    arrivals = Arrivals(0, UNIX_NS)
    for k in range(1, 10_000):
        arrivals.poll(k * MS, UNIX_NS + k * MS + k * 500)  # 500 ppm
    assert arrivals.steps == 0


def test_a_stamp_that_is_no_number_is_taken_for_as_old_as_possible():
    arrivals = Arrivals(0, UNIX_NS)
    arrivals.poll(5 * MS, UNIX_NS + 5 * MS)
    arrivals.poll(9 * MS, UNIX_NS + 9 * MS)
    assert {arrivals.at(x) for x in (math.nan, math.inf, -math.inf)} == {5 * MS}


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**9),  # since the last poll
            st.integers(-(10**18), 10**18),  # what the wall clock says besides
            st.floats(allow_nan=True, allow_infinity=True),
        ),
        max_size=30,
    )
)
def test_time_never_runs_backwards_nor_ahead_whatever_the_wall_clock_does(polls):
    arrivals = Arrivals(0, UNIX_NS)
    mono_ns = last_ns = 0
    for since_ns, wall_ns, stamp_s in polls:
        mono_ns += since_ns
        arrivals.poll(mono_ns, UNIX_NS + mono_ns + wall_ns)
        t_ns = arrivals.at(stamp_s)
        assert last_ns <= t_ns <= mono_ns
        last_ns = t_ns
