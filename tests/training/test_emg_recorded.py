"""A session on disk as EMG to learn from: whole pieces, and only at the rate it says."""

import numpy as np
import pytest

from edge.record import SessionWriter
from firmware_bridge.recording import RecordingError
from firmware_bridge.types import Chunk
from training.emg_checks import EmgUnfit
from training.emg_recorded import recorded
from training.emg_recordings import recordings

FS_HZ, HOP, NAMES = 1000.0, 50, ("TA", "GM")


@pytest.fixture
def session(tmp_path):
    """Write chunks of numbered samples, all but those of ``lost``."""

    def write(chunks=200, lost=(), clock=1.0, emg=(FS_HZ, NAMES), meta=None):
        path = tmp_path / "walk.mcap"
        path.unlink(missing_ok=True)
        w = SessionWriter(path, meta or {}, emg=emg, min_free_bytes=0)
        for k in range(chunks):
            if emg and k not in lost:
                data = np.repeat(np.arange(k * HOP, (k + 1) * HOP)[:, None], 2, 1)
                t_ns = int(1e9 + k * HOP / FS_HZ * clock * 1e9)
                w.chunk(Chunk(t_ns, k * HOP, FS_HZ, data.astype(np.float32)))
        w.close()
        return path

    return write


def test_a_session_without_holes_is_one_recording(session):
    (one,) = recordings(str(session(meta={"wearer": "p7"})))
    assert (one.name, one.person, one.channels) == ("walk", "p7", NAMES)
    assert one.targets == {}
    np.testing.assert_array_equal(one.emg_uv[:, 1], np.arange(10_000))


def test_holes_part_it_and_scraps_are_left_out(session):
    path = session(lost=(100, 110))
    first, second = recorded(path)
    assert (first.name, first.person) == ("walk_0", "walk")
    assert first.emg_uv[-1, 0] == 100 * HOP - 1
    assert (second.emg_uv[0, 0], second.emg_uv[-1, 0]) == (111 * HOP, 10_000 - 1)


def test_what_cannot_be_learned_from_says_why(session, tmp_path):
    with pytest.raises(EmgUnfit, match="909.1"):
        recorded(session(clock=1.1))
    with pytest.raises(ValueError, match="no EMG"):
        recorded(session(emg=None))
    with pytest.raises(ValueError, match="without a hole"):
        recorded(session(chunks=3))
    with pytest.raises(RecordingError, match="cannot read"):
        recordings(str(tmp_path / "none.mcap"))
