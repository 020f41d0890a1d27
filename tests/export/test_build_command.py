"""``sonomyo build-engine`` as a process of its own, on a Jetson that is not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.bundles import FP16, calf

PROCESS = Path("tests/fakes/process").resolve()


def sonomyo(*args, version="10.3.0", off="0"):
    env = os.environ | {"PYTHONPATH": f"{PROCESS}:{Path.cwd()}", "FAKE_TENSORRT": version,
                        "FAKE_OFF": off}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", "build-engine", *map(str, args)],
        env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.fixture
def bundle(tmp_path):
    return calf(tmp_path / "calf", (FP16,))


def test_it_builds_says_what_it_got_and_does_not_build_again(bundle, tmp_path):
    arguments = (bundle.path, "--engines", tmp_path / "e", "--precision", "fp16")
    done = sonomyo(*arguments)
    assert done.returncode == 0, done.stderr
    assert "this may take minutes" in done.stderr
    assert "FP16" in done.stdout
    assert "beside ONNX Runtime, 200 steps of seeded noise" in done.stdout
    assert "angle" in done.stdout
    assert list((tmp_path / "e").glob("calf-fp16-*.engine"))
    assert "an engine that fits is in" in sonomyo(*arguments).stdout
    assert "built in" in sonomyo(*arguments, "--force").stdout


def test_a_configuration_names_models_and_folder(bundle, tmp_path):
    rig = tmp_path / "rig.toml"
    rig.write_text(f'models = ["{bundle.path}"]\n[runtime]\nengines = "{tmp_path}/e"\n')
    assert sonomyo("--config", rig, version="8.6.1").returncode == 0
    assert list((tmp_path / "e").glob("calf-fp32-*-trt8.6.1-*.engine"))


def test_each_bundle_is_tried_and_the_worst_exit_code_counts(bundle, tmp_path):
    differs = sonomyo(bundle.path, off="100")
    assert differs.returncode == 1
    assert "differs from ONNX Runtime" in differs.stderr
    both = sonomyo("no-such-bundle", bundle.path, off="100")
    assert both.returncode == 2
    assert "no bundle 'no-such-bundle'" in both.stderr
    assert "differs from ONNX Runtime" in both.stderr


def test_without_a_bundle_it_says_what_to_name():
    done = sonomyo()
    assert done.returncode == 2
    assert "name a bundle, or a --config" in done.stderr


def test_without_tensorrt_one_line_says_how_to_get_it(bundle):
    env = os.environ | {"PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "build-engine", str(bundle.path)],
        env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if done.returncode == 0:
        pytest.skip("this machine has TensorRT")
    assert done.returncode == 2
    assert done.stderr.startswith("sonomyo build-engine: ")
    assert len(done.stderr.splitlines()) == 1
