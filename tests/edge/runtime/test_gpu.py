"""The same engine on a real GPU: ``pytest -m gpu`` there; elsewhere skipped, saying why."""

import threading

import numpy as np
import pytest

from edge.bundle import list_bundles, load_bundle
from edge.runtime import EngineError, open_engine
from edge.runtime.engine_file import engines_of, network_hash, read_engine
from edge.runtime.settings import Runtime
from edge.runtime.trt import TrtEngine
from edge.runtime.trt_open import this_machine
from export.engine import build_engine, is_built

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """A folder of engines that the tests of this file share."""
    try:
        this_machine()
    except EngineError as e:
        pytest.skip(str(e))
    return tmp_path_factory.mktemp("engines")


def built(name, engines, **runtime):
    bundle = load_bundle(name)
    settings = Runtime("trt", engines=str(engines), **runtime)
    if not is_built(bundle, settings):
        build_engine(bundle, settings)
    return bundle, settings


@pytest.mark.parametrize("name", list_bundles())
def test_every_shipped_network_builds_answers_as_the_cpu_and_is_a_graph(engines, name):
    bundle, settings = built(name, engines)
    (one,) = engines_of(engines, network_hash(bundle, bundle.network("trt")))
    assert one.compared["relative"]
    assert any(layer["precision"] != "?" for layer in one.layers if layer["computes"])
    e = open_engine(bundle, settings)
    assert e.graphed
    assert 0 < e.warm_up() < 1000
    e.close()


@pytest.mark.parametrize("wait", ["spin", "block"])
@pytest.mark.parametrize("io", ["mapped", "copy"])
def test_memory_of_either_kind_gives_the_same_answers(engines, io, wait):
    bundle, _ = built("sim-state", engines)
    (one,) = engines_of(engines, network_hash(bundle, bundle.network("trt")))
    e = TrtEngine(bundle, read_engine(engines, one), Runtime("trt", io=io, wait=wait))
    reference = open_engine(bundle)
    rng = np.random.default_rng(0)
    for _ in range(20):
        for name, array in e.inputs.items():
            array[...] = reference.inputs[name][...] = rng.normal(size=array.shape)
        e.run()
        reference.run()
        for name, wanted in reference.outputs.items():
            np.testing.assert_allclose(e.outputs[name], wanted, rtol=2e-2, atol=2e-2)
    e.close()


def test_made_here_run_there_closed_elsewhere_and_opened_again(engines):
    bundle, settings = built("sim-state", engines)
    for _ in range(3):
        e = open_engine(bundle, settings)
        found = []
        for work in (lambda e=e, found=found: found.append(e.warm_up()), e.close):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert found[0] > 0


def test_ten_thousand_calls_leave_no_memory_behind(engines):
    from edge.runtime.gpu import open_gpu

    bundle, settings = built("sim-state", engines)
    e = open_engine(bundle, settings)
    e.warm_up()
    with open_gpu().active():
        free, _ = open_gpu().cuda.mem_get_info()
    for _ in range(10_000):
        e.run()
    with open_gpu().active():
        after, _ = open_gpu().cuda.mem_get_info()
    assert free - after < 1 << 20
    e.close()
