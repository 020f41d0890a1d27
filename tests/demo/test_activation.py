"""The envelope beside an activation: of the right channel, at the right sample, in its scale."""

from dataclasses import replace

import numpy as np
import pytest

from demo.activation import BESIDE, beside, envelopes
from demo.report import MEASURED, Track
from edge.record import SessionWriter
from firmware_bridge.recording import open_recording
from firmware_bridge.types import Chunk, Output
from models.spec import Input, ModelSpec

FS_HZ, FIRST = 1000.0, 500  # samples a second; the recording begins late
SPEC = ModelSpec(
    "act",
    (Input("emg", (1, 1), "emg", rate_hz=FS_HZ, hop=2, channels=("GM",)),),
    (Output("GM_activation", "1"), Output("torque", "N m")),
    2.0,
)


@pytest.fixture
def burst(tmp_path):
    """Noise of GM between samples 2000 and 3000; TA is silent."""
    rng = np.random.default_rng(1)
    emg = np.zeros((4000, 2), np.float32)
    emg[2000:3000, 1] = 100 * rng.standard_normal(1000)
    w = SessionWriter(tmp_path / "s.mcap", {}, emg=(FS_HZ, ("TA", "GM")), min_free_bytes=0)
    for k in range(FIRST, 4000, 100):
        w.chunk(Chunk(k, k, FS_HZ, emg[k : k + 100]))
    w.close()
    return open_recording(tmp_path / "s.mcap")


def test_an_envelope_rises_where_its_own_channel_does(burst):
    found = envelopes(burst, [("act.GM_activation", SPEC, 0), ("act.torque", SPEC, 1)])
    ((name, (clock, envelope)),) = found.items()
    assert (name, clock) == ("act.GM_activation", "emg_seq")
    assert len(envelope) == 4000
    assert envelope[2200:2800].min() > 10 * np.abs(envelope[FIRST:1800]).max()
    waits = replace(SPEC, delay_ms=20.0)
    ((_, late),) = envelopes(burst, [("act.GM_activation", waits, 0)]).values()
    np.testing.assert_array_equal(late[20:], envelope[:-20])


def test_it_is_shown_in_the_models_scale_and_not_as_a_measurement():
    t, nan = np.arange(4.0), np.nan
    track = Track("act.GM_activation", "1", t, np.array([0.1, nan, 0.3, 0.4]), 50 * (t + 1))
    shown = beside(track)
    assert shown.label == BESIDE
    np.testing.assert_allclose(shown.measured, 0.1 * (t + 1), rtol=1e-6)
    torque = Track("act.torque", "N m", t, t, t)
    assert beside(torque) is torque
    assert torque.label == MEASURED
