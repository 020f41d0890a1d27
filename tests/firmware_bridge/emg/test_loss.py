import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.emg.loss import COUNTERS, Counter, LossWatch

RUNS = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 254)), min_size=1, max_size=8)


def feed(counter, numbers, sizes):
    """Lost samples before each number, whatever pieces the numbers come in."""
    watch, lost, at = LossWatch(counter), [], 0
    while at < len(numbers):
        size = sizes[len(lost) % len(sizes)]
        lost.append(watch.lost_before(numbers[at : at + size]))
        at += size
    return np.concatenate(lost)


@pytest.mark.parametrize(
    "counter", [Counter(256), Counter(512, step=2), Counter(2**32), Counter(0)]
)
@given(first=st.integers(0, 10_000), runs=RUNS, sizes=st.lists(st.integers(1, 400), min_size=1))
def test_every_lost_sample_is_counted_where_it_is_missing(counter, first, runs, sizes):
    expected = np.concatenate([[gap, *[0] * (length - 1)] for length, gap in runs])
    expected[0] = 0  # before the first number nothing can be missed
    numbers = (first + np.arange(len(expected)) + np.cumsum(expected)) * counter.step
    if counter.turn:
        numbers %= counter.turn
    lost = feed(counter, numbers.astype(float), sizes)
    np.testing.assert_array_equal(lost, expected)


def test_counter_wraps_without_looking_like_loss():
    numbers = (np.arange(1000) % 256).astype(float)
    assert feed(Counter(256), numbers, [7]).sum() == 0


def test_daisy_numbers_move_by_two():
    numbers = (np.arange(1, 601, 2) % 256).astype(float)
    assert feed(COUNTERS["cyton_daisy"], numbers, [5]).sum() == 0
    assert feed(COUNTERS["cyton_daisy"], np.delete(numbers, [10, 11]), [5]).sum() == 2


def test_numbers_that_tell_nothing_are_no_loss():
    assert feed(Counter(256), np.array([3.0, 3.0, 3.0]), [1]).sum() == 0
    assert feed(Counter(0), np.array([50.0, 3.0, 4.0]), [1]).sum() == 0
    assert feed(Counter(256), np.array([1.0, np.nan, 3.0, np.inf, 5.0, 6.0]), [4]).sum() == 0
