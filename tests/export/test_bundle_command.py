"""``sonomyo bundle`` as its user sees it, and the one file that it makes."""

import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge import cli
from edge.bundle import CARD, INDEX, MODEL, SIGNATURE, BundleError, list_bundles, load_bundle
from edge.bundle_index import Error, Network
from edge.reference import write_reference
from export.bundle import pack, write_bundle
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec

SPEC = ModelSpec(
    "calf", (Input("q", (1, 1), "angle", min=0.0, max=9.0),), (Output("y", "deg"),), 10.0
)
SAYS = "# calf\nNot for clinical use.\n## Data\nnone\n## Licence\nApache-2.0\n"
Q = np.arange(4, dtype=np.float32).reshape(4, 1, 1)
REFERENCE = write_reference({"q": Q, "values": 2 * Q[:, 0]})
INT8 = Network("model.int8-cpu.onnx", "int8", ("cpu",), ("cpu",), {"y": Error(0.1, 0.5)})
FP16 = Network("model.fp16.onnx", "fp16", ("trt",), ("trt",))


def write_network(path, factor):
    """An ONNX file that multiplies by a factor."""
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 1)) for n in ("q", "values")]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 1], [factor])
    node = helper.make_node("Mul", ["q", "w"], ["values"])
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:], [weight])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


def make(folder, int8_factor=2.1, card=SAYS, reference=REFERENCE):
    """A bundle of three networks."""
    folder.mkdir()
    for name, factor in ((MODEL, 2.0), (INT8.file, int8_factor), (FP16.file, 2.0)):
        write_network(folder / name, factor)
    extra = {"reference.npz": reference, "calibration.json": "{}"}
    return write_bundle(folder, SPEC, card, extra, [INT8, FP16])


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make(tmp_path / "calf")


@pytest.fixture
def keys(tmp_path, capsys):
    """Private and public key files, and the public one as text."""
    assert cli.main(["bundle", "keygen", str(tmp_path / "clinic")]) == 0
    text = capsys.readouterr().out.split('"')[1]
    return str(tmp_path / "clinic.pem"), str(tmp_path / "clinic.pub.pem"), text


def command(*words):
    return cli.main(["bundle", *map(str, words)])


def test_what_is_written_is_read_back(bundle):
    assert bundle.networks[1:] == (INT8, FP16)
    assert bundle.network("cpu") == INT8
    assert bundle.network("trt") == FP16
    assert bundle.text("calibration.json") == "{}"


def test_sealing_again_takes_the_signature_off(bundle, keys):
    assert command("sign", bundle.path, "--key", keys[0]) == 0
    assert (bundle.path / SIGNATURE).is_file()
    assert write_bundle(bundle.path, SPEC, SAYS, {}).signature == "unsigned"


@pytest.mark.parametrize("name", list_bundles())
def test_every_shipped_bundle_goes_into_one_file_and_comes_out_the_same(name, tmp_path):
    before, one, folder = load_bundle(name), tmp_path / f"{name}.sonomyo", tmp_path / name
    assert command("pack", name, "--out", one) == 0
    packed = load_bundle(str(one))
    assert (packed.id, packed.spec, packed.files) == (before.id, before.spec, before.files)
    assert command("unpack", one, "--out", folder) == 0
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before.files
    assert load_bundle(str(folder)).id == before.id


def test_the_same_bundle_is_the_same_file_with_whatever_tool_it_is_read(bundle, tmp_path):
    for k in (1, 2):
        pack(load_bundle(str(bundle.path)), tmp_path / f"{k}.sonomyo")
    assert (tmp_path / "1.sonomyo").read_bytes() == (tmp_path / "2.sonomyo").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.sonomyo") as z:
        assert z.testzip() is None
        assert z.namelist()[0] == INDEX


def test_an_archive_that_other_tools_made_is_read(bundle, tmp_path):
    with zipfile.ZipFile(tmp_path / "b.sonomyo", "w", zipfile.ZIP_DEFLATED) as z:
        for path in bundle.path.iterdir():
            z.write(path, path.name)
    assert load_bundle(str(tmp_path / "b.sonomyo")).files == bundle.files


def test_nothing_is_overwritten_and_defaults_are_here(bundle, capsys):
    assert command("pack", "./calf") == 0
    assert command("pack", "./calf") == 2
    assert "exists: choose another --out" in capsys.readouterr().err
    assert command("unpack", "calf.sonomyo") == 2
    assert "it exists" in capsys.readouterr().err
    assert command("unpack", "calf.sonomyo", "--out", "a/b") == 0
    assert sorted(os.listdir("a")) == ["b"]  # and nothing temporary


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as z:
        for name, content in files.items():
            z.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f | {"more.txt": b""}, r"\['more.txt'\], which bundle.json does not list"),
        (lambda f: f | {"../outside": b""}, "only plain file names"),
        (lambda f: f | {MODEL: f[MODEL] + b" "}, "model.onnx is not the file that was exported"),
        (lambda f: f | {CARD: b""}, "CARD.md is not the file that was exported"),
        (lambda f: {n: c for n, c in f.items() if n != CARD}, "CARD.md: No such file"),
        (lambda f: {n: c for n, c in f.items() if n != INDEX}, "bundle.json: No such file"),
        (lambda f: f | {INDEX: b"[" * 99999}, "nested too deeply"),
        (lambda f: f | {INDEX: b" " * (1 << 21)}, "bundle.json has 2097152 bytes"),
        (lambda f: f | {SIGNATURE: b"x" * 2000}, "bundle.sig has 2000 bytes"),
    ],
)  # fmt: skip
def test_one_file_that_is_not_what_was_packed_is_refused(bundle, tmp_path, capsys, change, says):
    path = zipped(tmp_path / "b.sonomyo", change(bundle.files))
    with pytest.raises(BundleError, match=says):
        load_bundle(str(path))
    assert command("unpack", path, "--out", tmp_path / "x" / "y") == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "outside").exists()


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A bundle of one file, and where a changed one is put."""
    folder = tmp_path_factory.mktemp("fuzz")
    pack(make(folder / "calf"), folder / "calf.sonomyo")
    return (folder / "calf.sonomyo").read_bytes(), folder / "changed.sonomyo"


@given(st.data())
@settings(max_examples=300)
def test_no_changed_byte_is_taken_for_the_bundle(packed, data):
    whole, path = packed
    before = sorted(path.parent.iterdir())
    at = data.draw(st.integers(0, len(whole) - 1))
    piece = data.draw(st.binary(min_size=1, max_size=4))
    path.write_bytes(whole[:at] + piece + whole[at + len(piece) :])
    try:
        found = load_bundle(str(path))
    except BundleError:
        found = None
    finally:
        path.unlink()
        assert sorted(path.parent.iterdir()) == before
    # What no hash covers is how the archive is written: times, permissions.
    assert found is None or load_bundle(str(path.parent / "calf.sonomyo")).files == found.files


def test_verify_runs_what_can_run_here_on_the_reference(bundle, capsys):
    assert command("verify", bundle.path) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "every hash fits" in shown
    assert "signature: unsigned" in shown
    assert "not run here" in shown


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"int8_factor": 2.3}, "model.int8-cpu.onnx: y is off by 0.9"),
        ({"card": "# calf"}, "CARD.md does not say '## Data'"),
        ({"reference": write_reference({"q": Q, "values": Q[:, 0]})}, "model.onnx: y is off by 3"),
    ],
)
def test_verify_says_what_is_not_as_it_was_made(tmp_path, capsys, changes, says):
    make(tmp_path / "calf", **changes)
    assert command("verify", tmp_path / "calf") == 1
    assert says in " ".join(capsys.readouterr().out.split())


def test_verify_refuses_a_reference_that_is_none(tmp_path, capsys):
    make(tmp_path / "calf", reference=b"no archive")
    assert command("verify", tmp_path / "calf") == 2
    assert "not a whole zip archive" in capsys.readouterr().err


@pytest.mark.parametrize("one_file", [False, True])
def test_sign_and_verify_a_folder_and_a_file(bundle, tmp_path, keys, capsys, one_file):
    private, public, text = keys
    path = bundle.path
    if one_file:
        path = tmp_path / "calf.sonomyo"
        pack(bundle, path)
    assert command("verify", path, "--trust", public) == 2
    assert "not signed" in capsys.readouterr().err
    assert command("sign", path, "--key", private) == 0
    assert load_bundle(str(path)).id == bundle.id
    assert load_bundle(str(path)).signature == "signed, but not checked: no trust.keys"
    assert load_bundle(str(path), [text]).signature == f"signed by {text}"
    for key in (public, text):
        assert command("verify", path, "--trust", key) == 0
        assert f"signed by {text}" in capsys.readouterr().out.replace("\n", "")
    assert command("verify", path) == 0
    assert f"by {text}; whether" in capsys.readouterr().out.replace("\n", "")
    assert command("keygen", tmp_path / "other") == 0
    assert command("verify", path, "--trust", tmp_path / "other.pub.pem") == 2
    assert "not in trust.keys" in capsys.readouterr().err
    assert command("sign", path, "--key", tmp_path / "other.pem") == 0  # in place of the first
    assert command("verify", path, "--trust", public) == 2


def test_a_signature_of_another_bundle_is_seen_without_any_trusted_key(bundle, keys, capsys):
    assert command("sign", bundle.path, "--key", keys[0]) == 0
    index = json.loads((bundle.path / INDEX).read_text())
    index["spec"]["outputs"][0]["max"] = 1e9
    (bundle.path / INDEX).write_text(json.dumps(index))
    load_bundle(str(bundle.path))
    assert command("verify", bundle.path) == 2
    assert "not of this bundle.json" in capsys.readouterr().err


def test_a_private_key_is_for_its_owner_alone_and_is_never_overwritten(keys, tmp_path, capsys):
    private, public, _ = keys
    assert stat.S_IMODE(os.stat(private).st_mode) == 0o600
    assert "PRIVATE" in Path(private).read_text()
    assert "PRIVATE" not in Path(public).read_text()
    assert command("keygen", tmp_path / "clinic") == 2
    os.unlink(private)
    assert command("keygen", tmp_path / "clinic") == 2
    assert capsys.readouterr().err.count("File exists") == 2
    assert not os.path.exists(private)


def test_a_key_that_others_may_read_or_that_is_none_is_refused(bundle, keys, tmp_path, capsys):
    private, public, _ = keys
    os.chmod(private, 0o640)
    for key, says in (
        (private, "chmod 600"),
        (public, "is no private key in PEM"),
        (tmp_path / "nothing", "No such file"),
    ):
        assert command("sign", bundle.path, "--key", key) == 2
        assert says in capsys.readouterr().err
    assert not (bundle.path / SIGNATURE).exists()


@pytest.mark.parametrize(("typed", "code"), [("secret", 0), ("wrong", 2)])
def test_an_encrypted_key_asks_for_its_passphrase(bundle, tmp_path, monkeypatch, typed, code):
    encryption = serialization.BestAvailableEncryption(b"secret")
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    (tmp_path / "key.pem").write_bytes(pem)
    os.chmod(tmp_path / "key.pem", 0o600)
    monkeypatch.setattr("getpass.getpass", lambda prompt: typed)
    assert command("sign", bundle.path, "--key", tmp_path / "key.pem") == code


def test_a_bundle_is_verified_without_torch_and_onnx(bundle):
    code = f"""
import sys
sys.modules["torch"] = sys.modules["onnx"] = None
from edge import cli
sys.exit(cli.main(["bundle", "verify", {str(bundle.path)!r}]))
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
