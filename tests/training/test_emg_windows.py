import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.emg_windows import Windows


@given(
    bins=st.integers(4, 60),
    overlap=st.integers(0, 30),
    length=st.integers(0, 400),
)
def test_what_is_cut_and_merged_is_the_recording_again(bins, overlap, length):
    w = Windows(bins=bins, overlap=min(overlap, bins // 2))
    x = np.random.default_rng(length).standard_normal((length, 2)).astype(np.float32)
    windows = w.cut(x)
    assert windows.shape == (w.count(length), bins, 2)
    back = w.merge(windows, length)
    covered = w.count(length) * w.stride + w.overlap if len(windows) else 0
    np.testing.assert_allclose(back[:covered], x[:covered], atol=1e-6)
    assert np.isnan(back[covered:]).all()
    assert length - covered < w.stride + w.overlap


def test_the_later_window_takes_over_along_a_parabola():
    w = Windows(bins=100, overlap=25)
    two = np.stack([np.zeros((100, 1)), np.ones((100, 1))])
    later = w.merge(two, 175)[75:100, 0]
    x = np.linspace(1 / 25, 1 - 1 / 25, 25)
    np.testing.assert_allclose(later, x**2)
    assert 1 - later[0] == pytest.approx(0.9984)
    assert 1 - later[-1] == pytest.approx(0.0784)


def test_every_fifth_window_validates():
    assert np.flatnonzero(Windows().validation(16)).tolist() == [4, 9, 14]


def test_blocks_keep_neighbours_on_one_side():
    assert np.flatnonzero(Windows(block=2).validation(22)).tolist() == [8, 9, 18, 19]


@given(length=st.integers(100, 3000), dense=st.integers(1, 75))
def test_training_windows_are_denser_and_leave_the_validation_alone(length, dense):
    w = Windows(dense=dense)
    train, validate = w.lessons(np.arange(length, dtype=np.float32)[:, None])
    usual = w.cut(np.arange(length)[:, None])
    held = w.validation(len(usual))
    np.testing.assert_array_equal(validate, usual[held])
    assert len(train) >= (~held).sum()
    apart = np.abs(train[:, :1, 0] - validate[:, 0, 0])  # of first bins
    assert (w.bins - apart <= w.overlap).all()


@pytest.mark.parametrize(
    "wrong", [{"overlap": 126}, {"overlap": -1}, {"every": 1}, {"block": 0}, {"dense": 0}]
)
def test_windows_that_cannot_be_merged_are_refused(wrong):
    with pytest.raises(ValueError, match="windows"):
        Windows(**wrong)
