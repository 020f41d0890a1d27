"""The recorded API beside TensorRT's own Python modules, and our code on them.  ``-m bindings``.

The modules of four versions are downloaded and imported over stand-ins for NVIDIA's libraries that
have just the functions they are linked to: names, arguments and enum members are then there, but
nothing can be built.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.fakes.bindings import recorded

ROOT = Path(__file__).parents[3]
VERSIONS = ("8.6.1", "10.3.0", "10.16.1.11", "11.4.0.106")
PACKAGES = ("tensorrt-cu13-bindings", "tensorrt-cu12-bindings", "tensorrt-bindings")
# What the modules want of libnvinfer and its like; the rest is the C++ library's.
ENTRY = re.compile(r"(create|get|init)[A-Z]\w*$|_ZN11nvuffparser|_ZN14nvcaffeparser")
TOOLS = ("cc", "readelf", "nm")

pytestmark = [
    pytest.mark.bindings,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}"),
]


@pytest.fixture(scope="module", params=VERSIONS)
def real(request, tmp_path_factory):
    """What ``facts.py`` found in the module of a version."""
    work = tmp_path_factory.mktemp(request.param)
    site = unpack(download(request.param, work), work)
    (module,) = site.rglob("tensorrt.so")
    build_stand_ins(module, work / "lib")
    out = work / "facts.json"
    env = os.environ | {"LD_LIBRARY_PATH": str(work / "lib"), "PYTHONPATH": f"{site}:{ROOT}",
                        "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    facts = Path(__file__).with_name("facts.py")
    subprocess.run([sys.executable, "-W", "ignore", facts, out], env=env, cwd=work, check=True)
    return json.loads(out.read_text())


def download(version, work):
    """The wheel; skips where there is none for this Python, or no network."""
    for package in PACKAGES:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check",
             "--no-deps", "--only-binary=:all:", "--retries", "1", "-d", work,
             f"{package}=={version}"],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode == 0:
            return next(work.glob("*.whl"))
    why = (done.stderr.strip().splitlines() or ["pip says nothing"])[-1]
    pytest.skip(
        f"no TensorRT {version} for Python {sys.version_info[0]}.{sys.version_info[1]}: {why}"
    )


def unpack(wheel, work):
    """Only the Python module and what imports it."""
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            if re.match(r"tensorrt(_bindings)?/.*\.py$", name) or name.endswith("/tensorrt.so"):
                z.extract(name, work / "site")
    return work / "site"


def build_stand_ins(module, folder):
    """Libraries of the names that the module is linked to; the first one has the functions."""

    def told(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    folder.mkdir()
    libraries = re.findall(r"\[(libnv[^\]]+)\]", told("readelf", "-d", module))
    undefined = (line.split()[-1] for line in told("nm", "-D", "-u", module).splitlines())
    entries = [u for u in undefined if "@" not in u and ENTRY.match(u)]
    assert entries
    for k, library in enumerate(libraries):
        source = folder / "stand_in.c"
        source.write_text("".join(f"void *{e}(void) {{ return 0; }}\n" for e in entries)
                          if k == 0 else f"int stand_in_{k};\n")  # fmt: skip
        soname = f"-Wl,-soname,{library}"
        told("cc", "-shared", "-fPIC", soname, "-o", folder / library, source)


def test_members_of_enums_are_those_recorded(real):
    for name, wanted in recorded()[real["version"]].items():
        if "enum" in wanted:
            members = {m: about["value"] for m, about in wanted["enum"].items()}
            assert real["classes"][name]["enum"] == members, name


def test_calls_take_what_is_recorded(real):
    for name, wanted in recorded()[real["version"]].items():
        if "enum" not in wanted:
            found = real["classes"][name]
            methods = {m: about["signatures"] for m, about in wanted["methods"].items()
                       if not m.startswith("__") or m == "__init__"}  # fmt: skip
            assert {m: s for m, s in found["methods"].items() if m in methods} == methods, name
            assert set(found["methods"]) - set(methods) <= {"__init__"}, name
            properties = {p: about["writable"] for p, about in wanted["properties"].items()
                          if not about.get("constant")}  # fmt: skip
            assert found["properties"] == properties, name


def test_our_own_code_runs_on_them_as_far_as_it_goes(real):
    found, major = real["ours"], int(real["version"].split(".")[0])
    assert found["lines"] == [["ERROR", "said"]]
    assert found["strongly_typed"] == (major > 8)
    assert found["flags"] == {8: 1, 10: 2, 11: 0}[major]
    assert found.get("goes_on") == (True if major > 8 else None)
