"""The builder on nine versions of TensorRT: each is asked for what it has, for nothing else."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edge.runtime import EngineError
from edge.runtime.gpu import open_gpu
from export.trt_build import BuildOptions, build_plan, known_version
from tests.fakes.bundles import network
from tests.fakes.tensorrt import VERSIONS

OLD = tuple(v for v in VERSIONS if v.startswith("8"))
NEW = tuple(v for v in VERSIONS if not v.startswith("8"))


def build(machine, model=None, options=BuildOptions(), known=b"", monitor=None):  # noqa: B008
    with open_gpu().active():
        onnx = (model or network()).SerializeToString()
        return build_plan(machine.trt, onnx, options, known, monitor)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_builds_with_the_settings_it_has(jetson, version):
    machine = jetson(version)
    plan = build(machine)
    assert plan.data
    assert plan.seconds >= 0
    (asked,) = machine.builds
    assert asked["sources"] == {"EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"}  # no cuDNN, cuBLAS
    assert asked["profiling_verbosity"] is machine.trt.ProfilingVerbosity.DETAILED
    assert asked["pools"]["WORKSPACE"] == 256 << 20
    assert "TF32" not in asked["flags"]  # fp32 means fp32
    major = machine.major
    assert asked["network"] == {8: {"EXPLICIT_BATCH"}, 10: {"STRONGLY_TYPED"}, 11: set()}[major]
    if version != "8.5.3.1":
        assert asked["pools"]["TACTIC_DRAM"] == 1 << 30
        assert asked["max_aux_streams"] == 0
        assert asked["builder_optimization_level"] == 3
    if major == 8:
        assert asked["previews"] == [("DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805", True)]


@pytest.mark.parametrize("version", NEW)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_from_10_on_precision_is_the_files_own(jetson, version, precision):
    machine = jetson(version)
    build(machine, network(precision))
    assert not machine.builds[0]["flags"] & {"FP16", "INT8", "BF16"}


@pytest.mark.parametrize("version", OLD)
@pytest.mark.parametrize(
    ("precision", "allowed"), [("fp32", set()), ("fp16", {"FP16"}), ("int8", {"INT8"})]
)
def test_before_that_what_the_file_contains_is_allowed_and_nothing_else(
    jetson, version, precision, allowed
):
    machine = jetson(version)
    build(machine, network(precision))
    assert machine.builds[0]["flags"] == allowed


def test_options_reach_the_builder(jetson):
    machine = jetson()
    build(machine, options=BuildOptions(workspace_mib=64, tactic_mib=512, level=5, tf32=True))
    (asked,) = machine.builds
    assert asked["pools"] == {"WORKSPACE": 64 << 20, "TACTIC_DRAM": 512 << 20}
    assert asked["builder_optimization_level"] == 5
    assert "TF32" in asked["flags"]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_timed_once_is_known_the_next_time(jetson, version):
    machine = jetson(version)
    first = build(machine)
    assert first.timing_cache
    second = build(machine, known=first.timing_cache)
    assert [b["known_timings"] for b in machine.builds] == [b"", first.timing_cache]
    assert second.timing_cache == first.timing_cache


def test_timings_of_another_version_are_left_aside(jetson):
    known = build(jetson("10.3.0")).timing_cache
    machine = jetson("10.7.0")
    assert build(machine, known=known).timing_cache not in (b"", known)
    assert machine.builds[0]["known_timings"] == b""


def test_every_error_of_the_parser_is_in_the_message(jetson):
    machine = jetson(unknown_ops={"Conv", "ReduceMean"})
    with pytest.raises(EngineError) as e:
        build(machine)
    assert (
        "does not take the network: node 0: no importer registered for op: Conv; node 1: "
        in str(e.value)
    )


def test_a_build_that_gives_nothing_raises_what_the_log_says(jetson):
    with pytest.raises(EngineError, match="cannot build the engine: Could not find any implement"):
        build(jetson(fails="Could not find any implementation for node conv"))


@pytest.mark.parametrize("version", OLD)
def test_an_opset_that_8_would_compute_wrongly_is_refused_before_it_is_parsed(jetson, version):
    machine = jetson(version)
    with pytest.raises(EngineError, match=r"of opset 18; .* reduce over the wrong axes"):
        build(machine, network(opset=18))
    assert not machine.builds


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ((8, 5, 3, 1), "8.5"), ((8, 6, 1), "8.6"), ((10, 0, 1), "10.3"), ((10, 7, 0), "10.3"),
        ((10, 16, 1, 11), "10.16"), ((11, 0, 0, 114), "11.4"), ((11, 4, 1), "11.4"),
        ((12, 0), "11.4"),
    ],
)  # fmt: skip
def test_the_rules_of_the_nearest_version_hold(version, known):
    assert known_version(version) == known


def test_what_the_rules_refuse_is_not_built(jetson):
    model = network()
    shared = helper.make_node("LayerNormalization", ["moved", "scale"], ["normal"], "norm")
    model.graph.node.insert(4, shared)
    model.graph.node[5].input[0] = "normal"
    scale = numpy_helper.from_array(np.ones(2, np.float32), "scale")
    model.graph.initializer.append(scale)
    build(jetson("8.6.1"), model)
    machine = jetson("8.5.3.1")
    with pytest.raises(EngineError, match=r"(?s)8\.5\.3\.1 cannot have this:.*norm"):
        build(machine, model)
    assert not machine.builds


def test_a_file_that_is_no_network_is_refused(jetson):
    machine = jetson()
    with open_gpu().active(), pytest.raises(EngineError, match="cannot be read"):
        build_plan(machine.trt, b"\x08\x08", BuildOptions())


@pytest.mark.parametrize("version", VERSIONS)
def test_progress_is_heard_where_tensorrt_tells_it(jetson, version):
    from export.trt_progress import Progress

    said = []
    progress = Progress("calf", every_s=60, say=said.append)
    heard = []

    def watched(trt):
        monitor = progress.monitor(trt)
        heard.append(monitor)
        return monitor

    with progress:
        build(jetson(version), monitor=watched)
    assert said[0] == "calf: this may take minutes"
    assert said[-1].startswith("calf: done after")
    assert bool(heard) == (version in NEW)
    if heard:
        assert heard[0].steps == {"Building Engine": 2}


def test_progress_says_how_far_it_is_while_it_waits(jetson):
    import threading

    from export.trt_progress import Progress

    said, told = [], threading.Event()

    def say(text):
        said.append(text)
        if "1/2" in text:
            told.set()

    progress = Progress("calf", every_s=0.01, say=say)
    with progress:
        monitor = progress.monitor(jetson().trt)
        monitor.phase_start("Building Engine", None, 2)
        assert monitor.step_complete("Building Engine", 0)
        assert told.wait(10)
        monitor.phase_finish("Building Engine")
    assert any("s: Building Engine 1/2" in text for text in said)


def test_progress_that_failed_does_not_say_done():
    from export.trt_progress import Progress

    said = []
    with pytest.raises(EngineError), Progress("calf", say=said.append):
        raise EngineError("no")
    assert said == ["calf: this may take minutes"]


def test_the_fake_computes_what_was_built(jetson):
    """Or the tests above could pass on any bytes at all."""
    machine = jetson()
    plan = build(machine)
    with open_gpu().active():
        from edge.runtime.tensorrt_module import logger

        engine = machine.trt.Runtime(logger(machine.trt)).deserialize_cuda_engine(plan.data)
        assert engine.num_io_tensors == 5
        assert tuple(engine.get_tensor_shape("image")) == (1, 1, 8, 8)
        del engine
    assert np.isfinite(plan.seconds)
