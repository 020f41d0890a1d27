import json
from pathlib import Path

import pytest

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / MODEL).write_bytes(b"network")
    (tmp_path / CARD).write_text("card")
    write_index(tmp_path)
    return tmp_path


def write_index(folder: Path, **changes: object) -> None:
    files = {name: file_hash(folder / name) for name in (MODEL, CARD)}
    index = {"format": 1, "spec": json.loads(SPEC.to_json()), "files": files}
    (folder / INDEX).write_text(json.dumps(index | changes))


def test_gives_the_spec_back_and_names_itself_by_its_content(folder):
    bundle = load_bundle(str(folder))
    assert bundle.spec == SPEC
    assert bundle.model_path == folder / MODEL
    name, _, digest = bundle.id.partition("@")
    assert (name, digest) == ("calf", file_hash(folder / INDEX)[:12])


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
        ("[]", "format 1 expected"),
        ('{"format": 2}', "format 1 expected"),
        ('{"format": 1}', "spec version 1 expected"),
    ],
)
def test_refuses_an_index_it_cannot_read(folder, text, message):
    (folder / INDEX).write_text(text)
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


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/hostname"])
def test_never_reads_outside_the_folder(folder, name):
    write_index(folder, files={MODEL: file_hash(folder / MODEL), name: "00"})
    with pytest.raises(BundleError, match="outside the bundle"):
        load_bundle(str(folder))


@pytest.mark.parametrize("name", ["", "no-such-model", "no/such/folder"])
def test_lists_what_ships_when_there_is_no_such_bundle(name):
    with pytest.raises(BundleError, match="name a folder with a bundle.json, or one of"):
        load_bundle(name)


def test_a_folder_that_is_no_bundle_says_so(tmp_path):
    with pytest.raises(BundleError, match="is this a bundle folder"):
        load_bundle(str(tmp_path))


@pytest.mark.parametrize("name", list_bundles())
def test_shipped_bundles_verify_under_their_bare_names(name):
    assert load_bundle(name).spec.name == name


def test_shipped_bundles_stay_small():
    assert sum(f.stat().st_size for f in SHIPPED.rglob("*") if f.is_file()) <= 10_000_000
