"""From a bundle to an engine in its place: none gets there that answers otherwise than the CPU."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edge.reference import write_reference
from edge.runtime import EngineError, open_engine
from edge.runtime.settings import Runtime
from export.engine import ComparisonError, build_engine, is_built
from export.engine_compare import STEPS
from export.trt_build import BuildOptions
from tests.fakes.bundles import FP16, INT8, calf
from tests.fakes.cuda import FakeCuda
from tests.fakes.tensorrt import VERSIONS

TRT = Runtime("trt")


def make(bundle, runtime=TRT, **more):
    return build_engine(bundle, runtime, say=lambda _: None, **more)


@pytest.fixture
def bundle(tmp_path):
    return calf(tmp_path / "calf", (FP16, INT8))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("version", VERSIONS)
def test_built_compared_kept_and_run(jetson, bundle, version, precision):
    jetson(version)
    runtime = Runtime("trt", precision=precision)
    assert not is_built(bundle, runtime)
    made = make(bundle, runtime)
    assert is_built(bundle, runtime)
    assert made.difference.steps == STEPS
    assert 0 < made.difference.relative["values"] < 1e-5  # the same file, in another order
    assert made.layers.count(computes=True) == {precision.upper(): 1}
    assert made.layers.tensors == ("image", "load", "h", "values", "h_next")
    assert not made.warnings
    e = open_engine(bundle, runtime)
    e.inputs["image"][...] = 1
    e.run()
    assert np.isfinite(e.outputs["values"]).all()
    e.close()


def test_the_sidecar_says_everything(jetson, bundle):
    jetson("10.3.0")
    made = make(bundle, options=BuildOptions(workspace_mib=64))
    said = json.loads(made.sidecar.read_text())
    assert said["machine"] == {
        "gpu": "Orin", "compute_capability": "8.7", "tensorrt": "10.3.0", "driver": "12.6",
    }  # fmt: skip
    assert said["bundle"] == bundle.id
    assert said["precision"] == "int8"  # the bundle's own choice for TensorRT
    assert said["options"]["workspace_mib"] == 64
    assert said["compared"]["steps"] == STEPS
    assert said["compared"]["tolerance"] == 0.05
    assert said["compared"]["inputs"] == "seeded noise"
    conv = next(x for x in said["layers"] if x["name"] == "conv")
    assert conv == {"name": "conv", "kind": "Convolution", "precision": "INT8", "computes": True}
    assert made.sidecar.with_suffix(".log").exists()


def test_kernels_that_are_wrong_do_not_replace_those_that_were_right(jetson, bundle):
    machine = jetson()
    before = make(bundle)
    machine.off = 100.0
    with pytest.raises(ComparisonError, match=r"differs .* in 'values'.*what was there before is"):
        make(bundle)
    assert before.sidecar.parent.joinpath(before.file.engine).exists()
    machine.off = 0.0
    assert open_engine(bundle, TRT).name == "TensorRT 10.3.0, Orin"


def test_nothing_wrong_is_put_in_place_the_first_time_either(jetson, bundle):
    jetson(off=100.0)
    with pytest.raises(ComparisonError):
        make(bundle)
    assert not is_built(bundle, TRT)
    assert not list(TRT.folder.glob("*.engine"))


def test_how_far_it_may_be_is_a_matter_of_precision_or_of_the_caller(jetson, tmp_path):
    bundle = calf(tmp_path / "calf", (FP16,))
    machine = jetson()
    machine.off = 0.02  # of values up to about 6
    with pytest.raises(ComparisonError, match=r"0\.001 is allowed"):
        make(bundle)
    make(bundle, tolerance=0.1)
    make(bundle, Runtime("trt", precision="fp16"))
    with pytest.raises(ComparisonError):
        make(bundle, Runtime("trt", precision="fp16"), tolerance=1e-4)


def test_numbers_that_are_none_differ(jetson, bundle):
    jetson(off=float("nan"))
    with pytest.raises(ComparisonError, match="inf in 'values'"):
        make(bundle, tolerance=1e9)


def test_it_is_compared_on_the_bundles_own_inputs_where_it_has_some(jetson, tmp_path):
    image = np.random.default_rng(0).normal(size=(30, 1, 1, 8, 8)).astype(np.float32)
    arrays = {"image": image, "load": np.ones(30, np.float32), "values": np.ones((30, 2))}
    jetson()
    made = make(calf(tmp_path / "calf", reference=write_reference(arrays)))
    assert (made.difference.steps, made.difference.inputs) == (30, "reference.npz")


@pytest.mark.parametrize("missing", ["image", "load"])
def test_a_reference_that_lacks_an_input_is_not_used(jetson, tmp_path, missing):
    arrays = {"image": np.ones((3, 1, 1, 8, 8), np.float32), "load": np.ones(3, np.float32)}
    del arrays[missing]
    jetson()
    made = make(calf(tmp_path / "calf", reference=write_reference(arrays)))
    assert made.difference.inputs == "seeded noise"


def test_the_next_build_knows_what_was_timed(jetson, bundle):
    machine = jetson()
    make(bundle)
    make(bundle, Runtime("trt", precision="fp16"))
    assert [b["known_timings"] for b in machine.builds] == [b"", b"timed:Orin (8, 7) 10.3.0"]


def test_int8_that_no_layer_got_is_said(jetson, bundle):
    jetson(lowered="FP32")
    (warning,) = make(bundle).warnings
    assert (
        "model.int8-trt.onnx asks for INT8, and no layer that computes got it (1 FP32)" in warning
    )


def test_after_an_update_of_tensorrt_there_is_one_engine_again(jetson, bundle):
    jetson("8.6.1")
    make(bundle)
    jetson("10.3.0")
    assert not is_built(bundle, TRT)
    make(bundle)
    assert len(list(TRT.folder.glob("*.engine"))) == 1
    assert is_built(bundle, TRT)


def test_one_folder_serves_two_machines(jetson, bundle):
    jetson(cuda=FakeCuda("Thor", (11, 0)))
    make(bundle)
    jetson()
    make(bundle)
    assert is_built(bundle, TRT)
    jetson(cuda=FakeCuda("Thor", (11, 0)))
    assert is_built(bundle, TRT)


def test_a_damaged_engine_is_not_built(jetson, bundle):
    jetson()
    made = make(bundle)
    (TRT.folder / made.file.engine).write_bytes(b"")
    assert not is_built(bundle, TRT)


def test_a_folder_that_cannot_be_written_is_named(jetson, bundle, tmp_path):
    jetson()
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"file.*choose a folder you may write with --engines"):
        make(bundle, replace(TRT, engines=str(tmp_path / "file")))


def test_what_a_build_leaves_open_is_nothing(jetson, bundle):
    machine = jetson()
    make(bundle)
    assert not machine.cuda.graphs
    assert not any(machine.cuda.stacks.values())
    assert not [c for c in machine.cuda.calls if "without a context" in c]
