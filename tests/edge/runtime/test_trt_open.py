"""Which engine runs a bundle, and what is said when the one that was built does not fit."""

import sys
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import BundleError
from edge.runtime import EngineError, open_engine
from edge.runtime.cuda_driver import Driver
from edge.runtime.settings import Runtime
from export.engine import build_engine
from tests.fakes.bundles import FP16, INT8, calf

PROCESS = Path("tests/fakes/process").resolve()
AUTO, TRT = Runtime(), Runtime("trt")


@pytest.fixture
def bundle(tmp_path):
    return calf(tmp_path / "calf")


def build(bundle, runtime=TRT):
    build_engine(bundle, runtime, say=lambda _: None)


def test_without_an_engine_the_cpu_runs_it_and_nobody_looks_for_a_gpu(bundle):
    assert open_engine(bundle, AUTO).name.startswith("ONNX Runtime")
    assert "tensorrt" not in sys.modules


def test_whoever_built_an_engine_gets_it(jetson, bundle):
    jetson()
    build(bundle)
    e = open_engine(bundle, AUTO)
    assert e.name == "TensorRT 10.3.0, Orin"
    e.inputs["load"][...] = 2
    e.run()
    assert np.allclose(e.outputs["values"], 2)
    assert open_engine(bundle).name.startswith("ONNX Runtime")  # as tests and training see it


def test_an_engine_of_another_precision_is_not_this_ones(jetson, tmp_path):
    bundle = calf(tmp_path / "calf", (FP16, INT8))
    jetson()
    build(bundle, Runtime("trt", precision="fp16"))
    assert open_engine(bundle, AUTO).name.startswith("ONNX Runtime")  # whose default is int8
    assert open_engine(bundle, Runtime(precision="fp16")).name.startswith("TensorRT")


def test_a_precision_that_there_is_not_is_an_error(bundle):
    with pytest.raises(BundleError, match="no int8 network"):
        open_engine(bundle, Runtime(precision="int8"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": "10.7.0"}, "TensorRT 10.3.0, here 10.7.0"),
        ({"driver": 13020}, "driver for CUDA 12.6, here 13.2"),
        ({"name": "Thor", "capability": (11, 0)},
         "GPU Orin, here Thor, compute capability 8.7, here 11.0"),
    ],
)  # fmt: skip
def test_an_engine_for_another_machine_is_refused_with_the_command(jetson, bundle, change, says):
    from tests.fakes.cuda import FakeCuda

    jetson()
    build(bundle)
    jetson(change.pop("version", "10.3.0"), cuda=FakeCuda(**change))
    with pytest.raises(EngineError) as e:
        open_engine(bundle, AUTO)
    assert f"built for another machine: {says}.  Build it here" in str(e.value)
    assert f"sonomyo build-engine {bundle.path} --engines {AUTO.folder}" in str(e.value)


def test_a_damaged_engine_is_refused_with_the_command(jetson, bundle):
    jetson()
    build(bundle)
    (plan,) = AUTO.folder.glob("*.engine")
    plan.write_bytes(plan.read_bytes() + b" ")
    with pytest.raises(EngineError, match="not the file that was built.*sonomyo build-engine"):
        open_engine(bundle, AUTO)


def test_a_new_network_needs_an_engine_of_its_own(jetson, bundle):
    jetson()
    with pytest.raises(EngineError, match="no TensorRT engine was built.*sonomyo build-engine"):
        open_engine(bundle, TRT)


def test_the_command_names_a_shipped_bundle_by_its_name_and_the_precision(tmp_path):
    from edge.bundle import load_bundle
    from edge.runtime.trt_open import build_command

    runtime = Runtime("trt", precision="fp16", engines="/var/cache/sonomyo/engines")
    assert build_command(load_bundle("mg-state"), runtime) == [
        "sonomyo", "build-engine", "mg-state", "--precision", "fp16",
        "--engines", "/var/cache/sonomyo/engines",
    ]  # fmt: skip


def test_with_build_a_process_builds_what_is_missing_first(jetson, bundle, monkeypatch, caplog):
    jetson("8.6.1")
    monkeypatch.setenv("PYTHONPATH", f"{PROCESS}:{Path.cwd()}")
    monkeypatch.setenv("FAKE_TENSORRT", "8.6.1")
    e = open_engine(bundle, Runtime(build=True))
    assert e.name == "TensorRT 8.6.1, Orin"
    assert "Building it now, which takes minutes" in caplog.text
    caplog.clear()
    assert open_engine(bundle, Runtime(build=True)).name == "TensorRT 8.6.1, Orin"
    assert not caplog.text


def test_with_build_what_cannot_be_built_is_an_error(jetson, bundle, monkeypatch):
    jetson("8.6.1")
    monkeypatch.setenv("PYTHONPATH", f"{PROCESS}:{Path.cwd()}")
    monkeypatch.setenv("FAKE_TENSORRT", "8.6.1")
    monkeypatch.setenv("FAKE_OFF", "1")
    with pytest.raises(EngineError, match=r"building the engine failed \(exit code 1"):
        open_engine(bundle, Runtime(build=True))


def test_without_tensorrt_it_says_how_to_get_it(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"python3-libnvinfer .*--system-site-packages"):
        open_engine(bundle, TRT)


def test_a_library_that_tensorrt_lacks_is_named(bundle, monkeypatch, tmp_path):
    (tmp_path / "tensorrt.py").write_text(
        "raise ImportError('libnvdla_compiler.so: cannot open shared object file')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(EngineError, match=r"does not load \(libnvdla_compiler\.so.*--runtime"):
        open_engine(bundle, TRT)


def test_without_pycuda_it_says_how_to_get_it(jetson, bundle, monkeypatch):
    jetson()
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(EngineError, match=r"PyCUDA is not here.*pip install 'sonomyo\[jetson\]'"):
        open_engine(bundle, TRT)


def test_without_a_driver_it_says_so(jetson, bundle, monkeypatch):
    from edge.runtime import cuda_driver

    jetson()
    monkeypatch.undo()
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libcuda-of-nobody.so.1")
    with pytest.raises(EngineError, match=r"no GPU driver .*libcuda-of-nobody.*engine = \"ort\""):
        Driver()


def test_a_driver_that_is_too_old_is_named(jetson, monkeypatch):
    from edge.runtime import cuda_driver

    library = jetson().cuda.library()
    del library.cuGraphInstantiateWithFlags
    monkeypatch.setattr(cuda_driver, "_load", lambda: library)
    with pytest.raises(EngineError, match=r"no cuGraphInstantiateWithFlags: .*older than CUDA 11"):
        Driver()


def test_without_a_gpu_it_says_whom_to_ask(jetson, bundle):
    jetson().cuda.present = False
    with pytest.raises(EngineError, match=r"no CUDA-capable device.*tegrastats"):
        open_engine(bundle, TRT)
