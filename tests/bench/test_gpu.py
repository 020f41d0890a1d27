"""``bench.gpu`` from beginning to end, on a GPU that is not there: its times mean nothing here."""

import json

import onnxruntime as ort
import pytest

from bench import gpu
from tests.fakes.bundles import FP16, INT8, calf


@pytest.fixture
def small(monkeypatch, tmp_path):
    bundle = calf(tmp_path / "calf", (FP16, INT8))
    monkeypatch.setattr(gpu, "list_bundles", lambda: [str(bundle.path)])
    monkeypatch.setattr(gpu, "FOLDER", tmp_path / "out")
    monkeypatch.setattr(gpu, "ROUNDS", 5)
    monkeypatch.setattr(gpu, "WARM", 2)
    monkeypatch.setattr(gpu, "RATIO", 1e9)  # no timed asserts
    monkeypatch.setattr(gpu, "HOST_US", 1e9)


def test_every_network_of_every_bundle_is_built_and_timed(jetson, small, capsys):
    jetson("8.6.1")
    assert gpu.main() == 0
    out = capsys.readouterr().out
    said = json.loads(out.splitlines()[-1])
    assert said["machine"].startswith("Orin (compute capability 8.7), TensorRT 8.6.1")
    assert set(said["models"]["calf"]) == {"fp32", "fp16", "int8"}
    one = said["models"]["calf"]["int8"]
    assert one["layers"] == {"INT8": 1}
    assert one["graph"]
    assert one["mapped"]
    times = ("call", "bare", "no_graph", "other_memory", "ort_cpu")
    assert all(one[f"{t}_p50_us"] > 0 for t in times)
    assert one["gpu_us"] > 0
    assert one["off"] < 1e-4
    assert "calf fp16" in out


def test_a_network_that_cannot_be_built_is_named_and_the_rest_measured(jetson, small, capsys):
    jetson("8.6.1", unknown_ops={"QuantizeLinear"})
    assert gpu.main() == 1
    said = capsys.readouterr()
    assert "calf int8: TensorRT 8.6.1 does not take the network" in said.err
    assert set(json.loads(said.out.splitlines()[-1])["models"]["calf"]) == {"fp32", "fp16"}


def test_a_target_that_is_missed_is_said(jetson, small, capsys, monkeypatch):
    machine = jetson()
    machine.cuda.capturable = False
    monkeypatch.setattr(gpu, "bare", lambda engine: {"bare_p50_us": 1e-3, "gpu_us": 0.0})
    assert gpu.main() == 1
    said = capsys.readouterr().err
    assert "calf fp32: it could not be captured as a CUDA graph" in said
    monkeypatch.setattr(gpu, "RATIO", 1.3)
    gpu.main()
    assert "times the bare graph; 1.3 is the target" in capsys.readouterr().err


def test_without_a_gpu_it_says_so_and_ends_with_2(small, capsys):
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    assert gpu.main() == 2
    said = capsys.readouterr()
    assert "bench.gpu: TensorRT's Python module is not here" in said.err
    assert not said.out
