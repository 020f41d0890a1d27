"""ONNX Runtime's GPU providers, where there are none: they never quietly become the CPU."""

import numpy as np
import onnxruntime as ort
import pytest

from edge.runtime import EngineError, open_engine
from edge.runtime.ort_gpu import PROVIDERS, OrtGpuEngine
from edge.runtime.settings import Runtime
from tests.fakes.bundles import FP16, INT8, calf


@pytest.mark.parametrize("engine", PROVIDERS)
def test_a_provider_that_is_not_installed_is_named(tmp_path, engine):
    if PROVIDERS[engine] in ort.get_available_providers():
        pytest.skip("it is installed")
    with pytest.raises(EngineError, match=f"no {PROVIDERS[engine]}: install onnxruntime-gpu"):
        open_engine(calf(tmp_path / "calf"), Runtime(engine))


@pytest.fixture
def session(monkeypatch):
    """An ONNX Runtime that has the providers; ``starts``: it also gets them to work."""

    def install(starts):
        real, asked = ort.InferenceSession, []

        class Session:
            def __init__(self, network, options, providers):
                asked.append(providers)
                self._real = real(network, options, providers=["CPUExecutionProvider"])

            def get_providers(self):
                (first, _), *rest = asked[-1]
                return [first, *rest] if starts else rest

            def __getattr__(self, name):
                return getattr(self._real, name)

        everything = [*PROVIDERS.values(), "CPUExecutionProvider"]
        monkeypatch.setattr(ort, "get_available_providers", lambda: everything)
        monkeypatch.setattr(ort, "InferenceSession", Session)
        return asked

    return install


def test_a_provider_that_does_not_start_is_an_error_not_the_cpu(tmp_path, session):
    session(starts=False)
    with pytest.raises(EngineError, match="does not start its CUDAExecutionProvider"):
        OrtGpuEngine(calf(tmp_path / "calf"), Runtime("ort-cuda"))


def test_it_sees_new_inputs_at_every_run(tmp_path, session):
    asked = session(starts=True)
    e = open_engine(calf(tmp_path / "calf"), Runtime("ort-cuda"))
    assert e.name == f"ONNX Runtime {ort.__version__} CUDA, fp32"
    assert asked[0][0] == ("CUDAExecutionProvider", {"use_tf32": "0"})
    out = e.outputs["values"]
    for load in (1, 2):
        e.inputs["load"][...] = load
        e.run()
        assert np.all(out == load)
    assert e.warm_up() > 0
    e.close()


@pytest.mark.parametrize(
    ("precision", "int8", "fp16"),
    [("int8", True, False), ("fp16", False, True), ("fp32", False, False)],
)
def test_its_tensorrt_is_allowed_what_the_file_has(tmp_path, session, precision, int8, fp16):
    asked = session(starts=True)
    bundle = calf(tmp_path / "calf", (FP16, INT8))
    open_engine(bundle, Runtime("ort-tensorrt", precision=precision, engines=str(tmp_path / "e")))
    options = asked[0][0][1]
    assert (options["trt_int8_enable"], options["trt_fp16_enable"]) == (int8, fp16)
    assert options["trt_engine_cache_path"] == str(tmp_path / "e" / "onnxruntime")
