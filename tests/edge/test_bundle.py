"""A bundle in a folder: what it is made of, and each thing for which it is refused."""

import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge import bundle as bundle_module
from edge.bundle import (
    CARD,
    INDEX,
    MODEL,
    SHIPPED,
    BundleError,
    file_hash,
    list_bundles,
    load_bundle,
)
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec

SPEC = ModelSpec("calf", (Input("image", (1, 1, 4, 4), "us"),), (Output("angle", "deg"),), 10.0)


INT8, FP16 = "model.int8-cpu.onnx", "model.fp16.onnx"
NETWORKS = {
    INT8: {"precision": "int8", "targets": ["cpu"], "default_for": ["cpu"],
           "errors": {"angle": {"rms": 0.1, "worst": 0.4}}},
    FP16: {"precision": "fp16", "targets": ["trt", "cuda"], "default_for": ["trt"], "errors": {}},
}  # fmt: skip


def network(weight=1.0):
    """A small ONNX file."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, 4, 4))
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1], [weight])
    node = helper.make_node("Mul", ["image", "w"], ["values"])
    graph = helper.make_graph([node], "g", [image], [], [weights])
    return helper.make_model(graph).SerializeToString()


def make(folder, more=(), **changes):
    """A bundle in that folder, with ``more`` networks."""
    for k, name in enumerate((MODEL, *more)):
        (folder / name).write_bytes(network(k + 1.0))
    (folder / CARD).write_text("card")
    write_index(folder, more, **changes)
    return folder


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path)


@pytest.fixture
def quantised(tmp_path):
    """A bundle of three networks."""
    return make(tmp_path, (INT8, FP16), format=2, networks=NETWORKS)


def write_index(folder: Path, more=(), **changes: object) -> None:
    files = {name: file_hash(folder / name) for name in (MODEL, CARD, *more)}
    index = {"format": 1, "spec": json.loads(SPEC.to_json()), "files": files}
    (folder / INDEX).write_text(json.dumps(index | changes))


def test_gives_the_spec_back_and_names_itself_by_its_content(folder):
    bundle = load_bundle(str(folder))
    assert bundle.spec == SPEC
    assert bundle.files[MODEL] == network()
    assert bundle.text(CARD) == "card"
    assert bundle.signature == "unsigned"
    name, _, digest = bundle.id.partition("@")
    assert (name, digest) == ("calf", file_hash(folder / INDEX)[:12])


def test_each_target_has_its_default_network_and_any_other_by_its_precision(quantised):
    bundle = load_bundle(str(quantised))
    assert [n.file for n in bundle.networks] == [MODEL, INT8, FP16]
    assert [bundle.network(t).file for t in ("cpu", "trt", "cuda", "npu")] == [
        INT8, FP16, MODEL, MODEL,
    ]  # fmt: skip
    assert bundle.network("cpu", "fp32").file == MODEL
    assert bundle.network("cuda", "fp16").file == FP16
    assert bundle.network("cpu").errors["angle"].worst == 0.4
    with pytest.raises(BundleError, match="no int8 network for trt: it has fp32, fp16"):
        bundle.network("trt", "int8")


def test_a_bundle_without_a_table_has_one_network_for_everything(folder):
    assert load_bundle(str(folder)).network("trt").file == MODEL
    with pytest.raises(BundleError, match="no int8 network"):
        load_bundle(str(folder)).network("cpu", "int8")


def test_another_card_is_another_bundle(folder):
    before = load_bundle(str(folder)).id
    (folder / CARD).write_text("card, corrected")
    write_index(folder)
    assert load_bundle(str(folder)).id != before


@pytest.mark.parametrize("name", [MODEL, CARD])
def test_refuses_a_file_that_was_changed_after_export(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(BundleError, match=f"{name} is not the file that was exported.*again"):
        load_bundle(str(folder))


@pytest.mark.parametrize("name", [MODEL, CARD])
def test_says_which_file_is_missing(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: No such file.*copy the whole bundle"):
        load_bundle(str(folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "format 1 or 2 expected"),
        ('{"format": 3}', "format 1 or 2 expected, is 3"),
        ('{"format": true}', "format 1 or 2 expected"),
        ('{"format": 1, "files": {}, "spec": {}}', "spec version 1 expected"),
        ('{"format": 1}', "wanted are"),
        ('{"format": 2, "spec": {}, "files": {}, "networks": {}, "more": 1}', "wanted are"),
        ('{"format": 1, "format": 1}', "a key is there twice"),
        ('{"format": NaN}', "NaN is no number"),
        ('{"format": 1e999}', "1e999 is no number"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 10_000, "not JSON"),
        (" " * ((1 << 20) + 1), "more than 1048576 bytes"),
        ('"\udcff"', "not JSON"),
    ],
    ids=lambda text: text[:30],
)
def test_refuses_an_index_it_cannot_read(folder, text, message):
    (folder / INDEX).write_text(text, errors="surrogateescape")
    with pytest.raises(BundleError, match=message):
        load_bundle(str(folder))


def test_passes_on_what_is_wrong_with_a_spec(folder):
    spec = json.loads(SPEC.to_json()) | {"period_ms": 0}
    write_index(folder, spec=spec)
    with pytest.raises(BundleError, match="period_ms must be positive"):
        load_bundle(str(folder))


@pytest.mark.parametrize("files", [None, {}, {CARD: "00"}])
def test_refuses_an_index_without_a_network(folder, files):
    write_index(folder, files=files)
    with pytest.raises(BundleError, match="lists no model.onnx"):
        load_bundle(str(folder))


@pytest.mark.parametrize(
    "name",
    [
        "../model.onnx", "/etc/hostname", "a/b", "a\\b", "C:x", "..", ".", "", ".hidden", "a\0b",
        "a" * 65, "bundle.json", "BUNDLE.JSON", "bundle.sig", "dot.", "\N{GREEK SMALL LETTER MU}",
    ],
)  # fmt: skip
def test_never_reads_outside_the_folder(folder, name):
    write_index(folder, files={MODEL: file_hash(folder / MODEL), name: "0" * 64})
    with pytest.raises(BundleError, match="outside the bundle"):
        load_bundle(str(folder))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({MODEL: "00"}, "hash of model.onnx is not a SHA-256"),
        ({MODEL: 7}, "hash of model.onnx is not a SHA-256"),
        ({MODEL: "F" * 64}, "hash of model.onnx is not a SHA-256"),
        ({MODEL: "0" * 64, "Model.onnx": "0" * 64}, "one name but for capitals"),
        ({MODEL: "0" * 64} | {f"f{k}": "0" * 64 for k in range(62)}, "too many files"),
    ],
)
def test_refuses_a_table_of_files_that_is_not_one(folder, files, says):
    write_index(folder, files=files)
    with pytest.raises(BundleError, match=says):
        load_bundle(str(folder))


@pytest.mark.parametrize(
    ("networks", "says"),
    [
        ([], "networks is no table"),
        ({"other.onnx": NETWORKS[INT8]}, "not among the files"),
        ({MODEL: NETWORKS[INT8]}, "'model.onnx' is model.onnx"),
        ({INT8: 1}, "malformed"),
        ({INT8: NETWORKS[INT8] | {"colour": "red"}}, "unknown or malformed"),
        ({INT8: NETWORKS[INT8] | {"targets": []}}, "no target"),
        ({INT8: NETWORKS[INT8] | {"targets": ["trt"]}}, "unknown or malformed"),
        ({INT8: NETWORKS[INT8] | {"precision": "\x1b[2J"}}, "unknown or malformed"),
        ({INT8: NETWORKS[INT8] | {"errors": {"angle": {"rms": 1.0}}}}, "malformed field"),
        ({INT8: NETWORKS[INT8] | {"errors": {"angle": {"rms": 1, "worst": -1}}}}, "malformed"),
        ({INT8: NETWORKS[INT8] | {"errors": {"x": {"rms": 1, "worst": 1}}}}, "malformed"),
        ({INT8: NETWORKS[INT8], FP16: NETWORKS[INT8]}, "two are for the same"),
        ({INT8: NETWORKS[INT8], FP16: NETWORKS[INT8] | {"precision": "fp16"}}, "two are for the"),
    ],
)
def test_refuses_a_table_of_networks_that_is_not_one(quantised, networks, says):
    write_index(quantised, (INT8, FP16), format=2, networks=networks)
    with pytest.raises(BundleError, match=says):
        load_bundle(str(quantised))


@pytest.mark.parametrize("name", [MODEL, INT8])
def test_every_network_is_looked_into_not_only_the_one_that_runs(quantised, name):
    (quantised / name).write_bytes(network(float("nan")))
    write_index(quantised, (INT8, FP16), format=2, networks=NETWORKS)
    with pytest.raises(BundleError, match=rf"{name}: weights 'w': NaN.*export"):
        load_bundle(str(quantised))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": NaN}', "no number"),
        (" " * 1048577, "more than"),
    ],
    ids=["deep", "NaN", "large"],
)
def test_json_of_any_kind_is_plain_json(folder, text, says):
    (folder / "personal.json").write_text(text)
    write_index(folder, ("personal.json",))
    with pytest.raises(BundleError, match=f"personal.json.*{says}"):
        load_bundle(str(folder))


@pytest.mark.parametrize("name", [INDEX, MODEL, CARD])
def test_a_link_out_of_the_folder_is_refused_whatever_it_leads_to(folder, tmp_path, name):
    kept = tmp_path / "kept"
    os.replace(folder / name, kept)
    (folder / name).symlink_to(kept)
    with pytest.raises(BundleError, match=f"{name} is a link"):
        load_bundle(str(folder))


def test_a_pipe_in_place_of_a_file_does_not_hold_up_the_start(folder):
    (folder / CARD).unlink()
    os.mkfifo(folder / CARD)
    with pytest.raises(BundleError, match=r"CARD.md is not a plain file"):
        load_bundle(str(folder))


def test_a_folder_in_place_of_a_file_is_refused(folder):
    (folder / CARD).unlink()
    (folder / CARD).mkdir()
    with pytest.raises(BundleError, match="Is a directory"):
        load_bundle(str(folder))


def test_a_bundle_larger_than_the_limit_is_refused(folder, monkeypatch):
    monkeypatch.setattr(bundle_module, "MAX_BYTES", len(network()) + 3)
    with pytest.raises(BundleError, match=r"CARD.md has more than 3 bytes"):
        load_bundle(str(folder))


def test_what_is_not_listed_is_not_part_of_it(folder):
    before = load_bundle(str(folder))
    (folder / "personal.json").write_text("{}")
    after = load_bundle(str(folder))
    assert after == before
    assert "personal.json" not in after.files


def test_what_was_read_is_what_is_used(folder):
    bundle = load_bundle(str(folder))
    (folder / MODEL).write_bytes(b"another network, a moment later")
    assert bundle.files[MODEL] == network()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    return make(tmp_path_factory.mktemp("b"), (INT8, FP16), format=2, networks=NETWORKS)


@given(st.data())
@settings(max_examples=300)
def test_an_index_with_bytes_changed_is_a_bundle_or_a_bundle_error(fuzzed, data):
    whole = (fuzzed / INDEX).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    piece = data.draw(st.binary(max_size=3) | st.sampled_from([b"null", b"[]", b"-1", b'""']))
    try:
        (fuzzed / INDEX).write_bytes(whole[:at] + piece + whole[at + len(piece) :])
        with contextlib.suppress(BundleError):
            load_bundle(str(fuzzed))
    finally:
        (fuzzed / INDEX).write_bytes(whole)


@pytest.mark.parametrize("name", ["", "no-such-model", "no/such/folder", "a\0b", "a" * 5000])
def test_lists_what_ships_when_there_is_no_such_bundle(name):
    with pytest.raises(BundleError, match="name a folder with a bundle.json, a .sonomyo"):
        load_bundle(name)


def test_a_folder_that_is_no_bundle_says_so(tmp_path):
    with pytest.raises(BundleError, match="is this a bundle folder"):
        load_bundle(str(tmp_path))


@pytest.mark.parametrize("name", list_bundles())
def test_shipped_bundles_verify_under_their_bare_names(name):
    assert load_bundle(name).spec.name == name


def test_shipped_bundles_stay_small():
    assert sum(f.stat().st_size for f in SHIPPED.rglob("*") if f.is_file()) <= 10_000_000
