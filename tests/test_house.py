"""The rules of the house: who may import whom, and what the wheel may be called."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGES = ("firmware_bridge", "models", "training", "calibration", "export", "edge", "demo")
OURS = {*PACKAGES, "bench"}

# Who may import which of our packages (besides itself).
MAY = {
    "firmware_bridge": set(),
    "models": {"firmware_bridge"},
    "training": {"models", "firmware_bridge", "edge", "export", "calibration"},
    "calibration": {"models", "firmware_bridge", "edge"},
    "export": {"models", "firmware_bridge", "edge", "calibration"},
    "edge": {"firmware_bridge", "models"},
    "demo": OURS,
}
# Loaded only inside the function that needs them: optional, or slow to load.
LAZY = {
    "brainflow", "bumble", "cryptography", "cv2", "h5py", "matplotlib", "onnx", "opensim", "pooch",
    "pycuda", "pyedflib", "pylsl", "ray", "tensorrt", "torch", "usb",
}  # fmt: skip
# ... except where a library is what the whole file is about.
ABOUT = {
    **{f"models/{name}.py": {"torch"} for name in (
        "calf", "causal_features", "closest_point", "committee", "coordinate_function", "elbow",
        "emg_gru", "gru", "hill_joint", "kinematics", "lfads", "lfads_decoder", "lfads_encoder",
        "millard", "muscle", "muscle_set", "nmm", "nmm_doubt", "nmm_step", "path_wrapping", "paths",
        "physics_head", "physiology", "plain_cnn", "pooled_cnn", "roll", "segmenter",
        "state_cnn", "streaming", "tendon", "thelen", "ultrasound_net", "wrap", "wrap_ellipsoid",
    )},
    "calibration/hill_problem.py": {"torch"},
    "calibration/physiology.py": {"torch"},
    "firmware_bridge/probes/simulated_backend.py": {"usb"},
}  # fmt: skip
FILES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))


def imports(node):
    """Top-level names of what a tree imports."""
    for n in ast.walk(node):
        if isinstance(n, ast.Import):
            yield from (a.name.partition(".")[0] for a in n.names)
        elif isinstance(n, ast.ImportFrom):
            assert n.level == 0, f"relative import in line {n.lineno}: import path = folder path"
            yield (n.module or "").partition(".")[0]


def module_level(tree):
    """The same for what runs at import: not the bodies of functions, not ``TYPE_CHECKING``."""
    for n in tree.body:
        if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test):
            continue
        if not isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from imports(n)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way_and_heavy_libraries_wait(path):
    name = str(path.relative_to(ROOT))
    package = path.relative_to(ROOT).parts[0]
    tree = ast.parse(path.read_text())
    assert set(imports(tree)) & OURS <= MAY[package] | {package}
    if package in ("firmware_bridge", "edge"):
        assert "torch" not in set(imports(tree))
    if package in ("training", "export"):  # these are about torch
        return
    assert set(module_level(tree)) & LAZY <= ABOUT.get(name, set())


def test_the_contract_of_a_model_needs_only_numpy():
    tree = ast.parse((ROOT / "models" / "spec.py").read_text())
    outside = set(imports(tree)) - set(sys.stdlib_module_names)
    assert outside == {"firmware_bridge"}


def test_the_wheel_holds_exactly_our_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    there = {
        ".".join(p.parent.relative_to(ROOT).parts)
        for name in PACKAGES
        for p in (ROOT / name).rglob("__init__.py")
    }
    assert listed == there
    assert {p.partition(".")[0] for p in listed} == set(PACKAGES)
    # The name belongs to the real systemd package.
    assert not (ROOT / "systemd" / "__init__.py").exists()


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("bench", sorted(p.stem for p in (ROOT / "bench").glob("*.py")
                                         if "def main() -> int" in p.read_text()))  # fmt: skip
def test_every_bench_has_its_make_target(bench):
    done = subprocess.run(
        ["make", "-n", f"bench-{bench}"], cwd=ROOT, capture_output=True, text=True
    )
    assert f"-m bench.{bench}" in done.stdout
    assert f"bench-{bench}" in (ROOT / "Makefile").read_text()


def test_no_file_outgrows_one_idea():
    lines = {str(p.relative_to(ROOT)): p.read_text().count("\n") for p in FILES}
    assert {name: n for name, n in lines.items() if n > 400} == {}
