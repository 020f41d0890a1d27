"""Inputs of a network from a recording are those that the daemon gave it."""

import numpy as np
import pytest

from calibration.recorded import estimates_of
from edge.bundle import load_bundle
from edge.record import SessionWriter
from export.recorded import InputsError, stream_of
from export.streams import OrtNetwork, play
from firmware_bridge.probes.calf import bmode_geometry, make_calf, render
from firmware_bridge.recording import open_recording
from firmware_bridge.types import Frame


def record(path, frames=25):
    """A simulated calf, a picture every 16 ms."""
    geometry = bmode_geometry(180, 287)
    calf = make_calf(geometry, 1)
    writer = SessionWriter(
        path, {"probe": "usb:[7]", "emg": ""}, geometry=geometry, min_free_bytes=0
    )
    for k in range(frames):
        picture = render(calf, angle_deg=-20.0 + k, force=0.2)
        writer.frame(Frame(10**9 + k * 16_000_000, k, picture))
    writer.close()
    return writer.path


def test_played_again_they_give_what_the_daemon_estimated(tmp_path):
    path = record(tmp_path / "r.mcap")
    bundle = load_bundle("sim-state")
    stream = stream_of(path, bundle)
    said = estimates_of(open_recording(path), bundle)
    assert len(stream) == len(said.values) == 25
    again = play(OrtNetwork(bundle.files["model.onnx"]), bundle.spec, stream)
    np.testing.assert_array_equal(again.values, said.values)


def test_a_file_of_arrays_is_taken_as_it_is(tmp_path):
    bundle = load_bundle("sim-state")
    images = np.random.default_rng(0).normal(size=(7, 1, 1, 128, 128)).astype(np.float32)
    np.savez(tmp_path / "x.npz", image=images)
    np.testing.assert_array_equal(stream_of(tmp_path / "x.npz", bundle).inputs["image"], images)


@pytest.mark.parametrize(
    "arrays", [{}, {"picture": np.zeros(3)}, {"image": np.zeros((0, 1, 1, 128, 128))}]
)
def test_arrays_that_are_not_its_inputs_are_refused(tmp_path, arrays):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InputsError, match="image"):
        stream_of(tmp_path / "x.npz", load_bundle("sim-state"))


def test_pickles_are_not_opened(tmp_path):
    np.savez(tmp_path / "x.npz", image=np.array([{"a": 1}], object))
    with pytest.raises(InputsError):
        stream_of(tmp_path / "x.npz", load_bundle("sim-state"))
