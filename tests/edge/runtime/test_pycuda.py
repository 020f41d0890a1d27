"""Our calls beside PyCUDA itself, where it is installed, over a driver that is not there."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "tests" / "fakes" / "driver.c"


@pytest.fixture
def driver(tmp_path):
    """A folder with a stand-in for libcuda.so.1 that has all that PyCUDA is linked to."""
    found = importlib.util.find_spec("pycuda")
    if found is None:
        pytest.skip(
            "PyCUDA is not installed: pip install 'sonomyo[jetson]', which needs CUDA's nvcc"
        )
    if not shutil.which("cc") or not shutil.which("nm"):
        pytest.skip("needs cc and nm")
    (module,) = Path(found.submodule_search_locations[0]).glob("_driver*.so")
    nm = subprocess.run(["nm", "-D", "-u", module], capture_output=True, text=True, check=True)
    wanted = {line.split()[-1] for line in nm.stdout.splitlines() if line.split()[-1][:2] == "cu"}
    text = SOURCE.read_text()
    fails = [f"int {name}(void) {{ return 801; }}" for name in wanted if f"int {name}(" not in text]
    (tmp_path / "driver.c").write_text("\n".join([text, *sorted(fails)]))
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "-o",
         tmp_path / "libcuda.so.1", tmp_path / "driver.c"], check=True,
    )  # fmt: skip
    return tmp_path


def test_pycuda_takes_what_we_ask_of_it_and_ends_without_complaint(driver):
    env = os.environ | {"LD_LIBRARY_PATH": str(driver)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.real_pycuda", str(driver)],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "good"
    assert "PyCUDA" not in done.stderr
