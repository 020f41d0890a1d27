"""TensorRT behind the engine's three methods, on a GPU that is not there."""

import gc
import logging
import threading
from dataclasses import replace

import numpy as np
import pytest

from edge.runtime import EngineError
from edge.runtime.gpu import open_gpu
from edge.runtime.ort import OrtEngine
from edge.runtime.settings import Runtime
from edge.runtime.trt import SMALL_BYTES, TrtEngine, make_tensor
from export.trt_build import BuildOptions, build_plan
from tests.fakes.bundles import calf
from tests.fakes.tensorrt import VERSIONS

TRT = Runtime("trt")


@pytest.fixture
def bundle(tmp_path):
    return calf(tmp_path / "calf")


def plan_of(machine, bundle):
    with open_gpu().active():
        return build_plan(machine.trt, bundle.files["model.onnx"], BuildOptions()).data


def fill(engine, seed):
    rng = np.random.default_rng(seed)
    for name, array in engine.inputs.items():
        array[...] = rng.normal(size=array.shape)
        assert engine.inputs[name] is array


@pytest.mark.parametrize("io", ["mapped", "copy"])
@pytest.mark.parametrize("version", VERSIONS)
def test_it_answers_as_onnx_runtime_does(jetson, bundle, version, io):
    machine = jetson(version)
    e = TrtEngine(bundle, plan_of(machine, bundle), Runtime("trt", io=io))
    reference = OrtEngine(bundle, bundle.network())
    assert e.graphed
    assert e.name == f"TensorRT {version}, Orin"
    out = e.outputs["values"]
    for seed in range(3):  # not the first answer for ever
        fill(e, seed)
        fill(reference, seed)
        e.run()
        reference.run()
        assert e.outputs["values"] is out
        for name, wanted in reference.outputs.items():
            np.testing.assert_allclose(e.outputs[name], wanted, rtol=1e-5, atol=1e-6)


def test_it_warms_up_without_a_trace_and_starts_from_zeros(jetson, bundle):
    e = TrtEngine(bundle, plan_of(jetson(), bundle), TRT)
    buffers = (*e.inputs.values(), *e.outputs.values())
    assert not any(a.any() for a in buffers)
    fill(e, 0)
    assert e.warm_up() > 0
    assert not any(a.any() for a in buffers)


def test_it_runs_once_and_then_captures_and_from_then_on_only_replays(jetson, bundle):
    machine = jetson()
    plan = plan_of(machine, bundle)
    machine.cuda.calls.clear()
    e = TrtEngine(bundle, plan, Runtime("trt", io="copy"))
    work = ["memcpy_htod_async"] * 3 + ["execute_async_v3"] + ["memcpy_dtoh_async"] * 2
    calls = machine.cuda.calls
    begin = calls.index("cuStreamBeginCapture_v2")
    assert calls[begin - 7 : begin] == [*work, "synchronize"]
    assert calls[begin + 1 : begin + 11] == [
        *work, "cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphDestroy",
        "cuGraphLaunch",
    ]  # fmt: skip
    calls.clear()
    e.run()
    e.run()
    assert calls == ["cuCtxSetCurrent", "cuGraphLaunch", "synchronize",
                     "cuGraphLaunch", "synchronize"]  # fmt: skip


def test_mapped_memory_is_not_copied(jetson, bundle):
    machine = jetson()
    TrtEngine(bundle, plan_of(machine, bundle), Runtime("trt", io="mapped"))
    assert not [c for c in machine.cuda.calls if "memcpy" in c or c == "mem_alloc"]


@pytest.mark.parametrize(
    ("integrated", "floats", "copied"),
    [(True, SMALL_BYTES // 4, False), (True, SMALL_BYTES // 4 + 1, True), (False, 1, True)],
)
def test_by_itself_it_maps_what_is_small_where_memory_is_shared(jetson, integrated, floats, copied):
    jetson().cuda.integrated = integrated
    gpu = open_gpu()
    with gpu.active():
        t = make_tensor(gpu, "auto", "x", (1, floats))
        assert (t.device is not None) == copied
        if copied:
            t.device.free()


@pytest.mark.parametrize(("wait", "flag"), [("spin", 1), ("block", 4)])
def test_how_it_waits_is_settled_before_there_is_a_context(jetson, wait, flag):
    machine = jetson()
    open_gpu(wait)
    calls = machine.cuda.calls
    assert machine.cuda.flags == flag
    assert calls.index("cuDevicePrimaryCtxSetFlags_v2") < calls.index("retain")


def test_where_the_context_is_anothers_already_waiting_is_as_that_one_wants(jetson, caplog):
    machine = jetson()
    machine.cuda.in_use = True
    assert open_gpu("block").name == "Orin"
    assert "runtime.wait = 'block' is not obeyed" in caplog.text
    assert "primary context active" in caplog.text


def test_one_thread_makes_it_another_runs_it_a_third_closes_it(jetson, bundle):
    machine = jetson()
    e = TrtEngine(bundle, plan_of(machine, bundle), TRT)
    found = []

    def tick():
        e.inputs["load"][...] = 3
        e.run()
        found.append(e.outputs["values"].copy())

    for work in (tick, e.close):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert np.allclose(found[0], 3)
    # PyCUDA aborts the process when a thread ends with a context on its stack.
    assert not any(machine.cuda.stacks.values())


def test_a_thread_that_gets_the_number_of_one_that_ended_has_no_context_yet(jetson, bundle):
    machine = jetson()
    e = TrtEngine(bundle, plan_of(machine, bundle), TRT)

    def tick():
        e.run()
        e.run()

    machine.cuda.calls.clear()
    for _ in range(5):
        thread = threading.Thread(target=tick)
        thread.start()
        thread.join()
    assert machine.cuda.calls.count("cuCtxSetCurrent") == 5
    assert machine.cuda.calls.count("cuGraphLaunch") == 10


def test_it_is_taken_apart_in_the_opposite_order_and_leaves_nothing_on_the_gpu(jetson, bundle):
    machine = jetson()
    e = TrtEngine(bundle, plan_of(machine, bundle), Runtime("trt", io="copy"))
    machine.cuda.calls.clear()
    e.close()
    frees = ["mem_free"] * 5
    order = ["push", "cuGraphExecDestroy", "free IExecutionContext", "free ICudaEngine",
             "free Runtime", *frees, "pop"]  # fmt: skip
    assert machine.cuda.calls == order
    assert not machine.cuda.graphs
    assert not machine.cuda.memory
    e.close()
    assert machine.cuda.calls == order


def test_who_holds_a_buffer_may_read_it_after_closing(jetson, bundle):
    e = TrtEngine(bundle, plan_of(jetson(), bundle), Runtime("trt", io="mapped"))
    values = e.outputs["values"]
    e.inputs["load"][...] = 2
    e.run()
    e.close()
    del e
    gc.collect()
    assert np.allclose(values, 2)


def test_running_a_closed_engine_is_an_error(jetson, bundle):
    e = TrtEngine(bundle, plan_of(jetson(), bundle), TRT)
    e.close()
    with pytest.raises(EngineError, match="closed"):
        e.run()


def test_what_cannot_be_captured_runs_kernel_by_kernel_and_says_so(jetson, bundle, caplog):
    machine = jetson()
    plan = plan_of(machine, bundle)
    machine.cuda.capturable = False
    with caplog.at_level(logging.WARNING):
        e = TrtEngine(bundle, plan, TRT)
    assert "cannot be captured (cuStreamEndCapture failed: operation failed due" in caplog.text
    assert not e.graphed
    e.inputs["load"][...] = 4
    e.run()
    assert np.allclose(e.outputs["values"], 4)
    machine.cuda.calls.clear()
    e.close()
    assert "cuGraphExecDestroy" not in machine.cuda.calls


def test_a_graph_that_gives_old_answers_is_not_used(jetson, bundle, caplog):
    machine = jetson()
    plan = plan_of(machine, bundle)
    machine.cuda.stale_graphs = True
    e = TrtEngine(bundle, plan, TRT)
    assert "does not give again what it gave" in caplog.text
    e.inputs["load"][...] = 4
    e.run()
    assert np.allclose(e.outputs["values"], 4)


def test_two_engines_share_the_context_and_nothing_else(jetson, bundle):
    machine = jetson()
    plan = plan_of(machine, bundle)
    a, b = TrtEngine(bundle, plan, TRT), TrtEngine(bundle, plan, TRT)
    assert machine.cuda.calls.count("retain") == 1
    a.inputs["load"][...] = 1
    assert not b.inputs["load"].any()
    a.close()
    b.run()  # the other's context is still there
    b.close()


def test_an_engine_for_another_machine_is_refused_in_tensorrts_words(jetson, bundle):
    plan = plan_of(jetson("10.3.0"), bundle)
    jetson("10.7.0")
    with pytest.raises(EngineError, match=r"TensorRT 10\.7\.0 cannot load .*please rebuild"):
        TrtEngine(bundle, plan, TRT)


def test_what_was_made_before_it_failed_is_released(jetson, bundle):
    machine = jetson()
    plan = plan_of(machine, bundle)
    machine.cuda.calls.clear()
    other = replace(bundle, spec=replace(bundle.spec, states=()))
    with pytest.raises(EngineError, match="do not belong together"):
        TrtEngine(other, plan, TRT)
    assert machine.cuda.calls[-3:] == ["free ICudaEngine", "free Runtime", "pop"]
    assert not any(machine.cuda.stacks.values())


def test_a_gpu_that_fails_in_the_tick_raises_instead_of_answering(jetson, bundle):
    machine = jetson()
    e = TrtEngine(bundle, plan_of(machine, bundle), TRT)
    e.run()
    machine.cuda._current.context = None  # as after a fault of the driver
    with pytest.raises(EngineError, match=r"cuGraphLaunch failed: invalid device context"):
        e.run()
