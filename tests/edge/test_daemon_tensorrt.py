"""The whole rig on TensorRT, on a GPU that is not there: made in one thread, run in the tick."""

import time

import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.replay import engines_now, estimators_of, replay
from edge.runtime import EngineError
from edge.runtime.settings import Runtime
from export.engine import build_engine
from firmware_bridge.recording import open_recording


@pytest.fixture
def orin(jetson, brightness, adder):
    """A Jetson with an engine for each model of the rig."""
    machine = jetson("10.3.0")
    for model in (brightness, adder):
        build_engine(load_bundle(str(model)), Runtime("trt"), say=lambda _: None)
    machine.cuda.calls.clear()
    return machine


def recorded(run, port):
    daemon = run(record=True)
    end = time.monotonic() + 8
    while len(port.states) < 100 and time.monotonic() < end:
        time.sleep(0.01)
    daemon.end()
    assert daemon.tick.errors == 0
    return open_recording(daemon.recorder.path)


def test_what_was_built_runs_in_the_tick_and_is_recorded_and_replayed(orin, run, port):
    recording = recorded(run, port)
    assert orin.cuda.calls.count("cuGraphLaunch") > 50
    assert sum(np.isfinite(s.values).all() for s in port.states) > 30
    assert set(recording.meta["engines"].values()) == {"TensorRT 10.3.0, Orin"}
    again = estimators_of(recording, [])
    assert engines_now(recording, again) == ""
    report = replay(recording, again)
    assert report.states > 80
    assert (report.different, report.gaps) == (0, 0)


def test_closing_leaves_nothing_on_the_gpu(orin, run, port):
    recorded(run, port)
    assert not orin.cuda.graphs
    assert not any(orin.cuda.stacks.values())
    assert not [c for c in orin.cuda.calls if "without a context" in c]


def test_elsewhere_it_replays_on_the_cpu_and_says_so(orin, run, port):
    recording = recorded(run, port)
    on_cpu = estimators_of(recording, [], "ort")
    said = engines_now(recording, on_cpu)
    assert "ran on TensorRT 10.3.0, Orin, now on ONNX Runtime" in said
    report = replay(recording, on_cpu)
    assert report.different > 0  # the last digits
    assert report.max_difference < 1  # of a sum of thousands


def test_after_an_update_the_rig_does_not_start_before_its_engines_are_built(orin, jetson, run):
    jetson("10.7.0")
    with pytest.raises(EngineError, match=r"TensorRT 10\.3\.0, here 10\.7\.0.*build-engine"):
        run()
