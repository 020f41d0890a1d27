"""Simulated EMG is what it says it is."""

import numpy as np
import pytest
import scipy.signal

from training.emg import EmgChain
from training.emg_testbed import BIN_HZ, FS_HZ, KINDS, Electrodes, bed


@pytest.mark.parametrize("kind", KINDS)
def test_activation_is_known_bounded_and_repeatable(kind):
    one, same = (bed(kind, 8.0, 5, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.emg_uv, same.emg_uv)
    assert one.activation.shape == (8 * BIN_HZ, 5)
    assert one.emg_uv.shape == (8 * FS_HZ, 5)
    assert one.activation.min() > 0
    assert one.activation.max() == 1
    assert not np.array_equal(one.emg_uv, bed(kind, 8.0, 5, seed=2).emg_uv)


@pytest.mark.parametrize("kind", KINDS)
def test_the_envelope_of_quiet_electrodes_is_the_activation(kind):
    quiet = Electrodes(background=(0.0, 0.0), crosstalk=0.0)
    one = bed(kind, 20.0, 4, 1, quiet)
    envelope = EmgChain(FS_HZ).bins(one.emg_uv)
    slow = scipy.signal.butter(4, 5, fs=BIN_HZ, output="sos")
    seen, true = (scipy.signal.sosfiltfilt(slow, v, axis=0) for v in (envelope, one.activation))
    n = min(len(seen), len(true))
    assert min(np.corrcoef(seen[:n, k], true[:n, k])[0, 1] for k in range(4)) > 0.95


def test_crosstalk_brings_the_neighbours_in():
    alone, mixed = (
        bed("gait", 20.0, 4, 1, Electrodes(background=(0.0, 0.0), crosstalk=c)).emg_uv
        for c in (0.0, 0.15)
    )
    assert abs(np.corrcoef(alone[:, 0], alone[:, 1])[0, 1]) < 0.05
    assert np.corrcoef(mixed[:, 0], mixed[:, 1])[0, 1] > 0.1
