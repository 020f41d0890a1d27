"""A movement to be played to the daemon."""

import numpy as np
import pytest

from edge.say import read_angles
from models.elbow import RANGE_RAD
from training.trial_file import write_trial
from training.virtual_people import RATE_HZ


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "out" / "elbow.npz"
    said = write_trial(path)
    assert f"--encoder {path}:angle --load 2" in said
    return path


def test_listen_reads_it(path):
    angles = read_angles(f"{path}:angle")
    assert angles.rate_hz == RATE_HZ
    assert len(angles.deg) > 15 * RATE_HZ
    assert angles.deg.min() > np.rad2deg(RANGE_RAD[0])
    assert angles.deg.max() < np.rad2deg(RANGE_RAD[1])


def test_it_can_be_repeated_without_a_jump(path):
    twice = np.tile(read_angles(f"{path}:angle").deg, 2)
    most_deg_s = 200
    noise_deg = 0.1 * 6
    assert np.abs(np.diff(twice)).max() < most_deg_s / RATE_HZ + noise_deg


def test_the_moment_beside_it_is_as_long(path):
    with np.load(path) as f:
        assert f["moment"].shape == f["angle"].shape
        assert 1 < np.abs(f["moment"]).max() < 20
