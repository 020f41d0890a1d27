import os

import numpy as np
import pytest

from training.emg import BIN_HZ
from training.emg_recordings import SETS, recordings

needs_data = pytest.mark.skipif(
    not os.environ.get("SONOMYO_DATA"), reason="SONOMYO_DATA names no recordings"
)


@pytest.mark.parametrize(
    "name", [s if s.startswith("bed:") else pytest.param(s, marks=needs_data) for s in SETS]
)
def test_every_set_has_emg_with_something_to_decode_at_each_bin(name):
    for r in recordings(name)[:3]:
        seconds = len(r.emg_uv) / r.fs_hz
        assert r.emg_uv.shape[1] == len(r.channels)
        for target in r.targets.values():
            assert np.isfinite(target).all()
            assert len(target) / BIN_HZ == pytest.approx(seconds, abs=0.01)
            assert target.std() > 0
        assert r.simulated == name.startswith("bed:")


@needs_data
def test_velocity_is_the_angles_slope():
    r = recordings("knee")[0]
    slope = np.gradient(r.targets["angle"]) * BIN_HZ
    assert np.corrcoef(slope, r.targets["velocity"])[0, 1] > 0.99
    bend = np.gradient(r.targets["velocity"]) * BIN_HZ
    assert np.corrcoef(bend, r.targets["acceleration"])[0, 1] > 0.95


@needs_data
def test_a_stride_goes_once_round_the_circle():
    (r,) = recordings("gait")
    phase = np.unwrap(np.arctan2(r.targets["phase_sin"], r.targets["phase_cos"]))
    assert (np.diff(phase) > 0).all()
    assert 3 < (phase[-1] - phase[0]) / (2 * np.pi) < 8


def test_an_unknown_set_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="bed:lorenz"):
        recordings("legs")
