"""Engines on disk: never half of one, never another's, never older than it says."""

import json
from dataclasses import replace

import pytest

from edge.runtime.engine_file import (
    EngineFile,
    EngineFileError,
    Machine,
    engines_of,
    install,
    read_engine,
)

ORIN = Machine("Orin", "8.7", "10.3.0", "12.6")
ONNX = "ab" * 32


def engine(plan=b"plan", machine=ORIN, **changes):
    import hashlib

    digest = hashlib.sha256(plan).hexdigest()
    one = EngineFile("calf", "calf@1", "fp16", ONNX, machine, "", digest, "2026", 3.5)
    one = replace(one, **changes)
    return replace(one, engine=f"{one.stem}-{digest[:8]}.engine")


def test_its_name_says_what_it_is_for():
    assert engine().stem == "calf-fp16-abababababab-orin-cc8.7-trt10.3.0-cuda12.6"
    thor = Machine("NVIDIA Thor (nvgpu)/integrated", "11.0", "10.13.3.9", "13.0")
    assert "/" not in thor.slug
    assert thor.slug.startswith("nvidia-thor-nvgpu-integrated-cc11.0-")


def test_no_name_leads_out_of_the_folder(tmp_path):
    one = engine(model="../../etc/x", machine=replace(ORIN, tensorrt="/1", driver="../2"))
    assert install(tmp_path / "a" / "b", one, b"plan").parent == tmp_path / "a" / "b"
    assert {p.name for p in tmp_path.iterdir()} == {"a"}
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"b"}
    assert read_engine(tmp_path / "a" / "b", one) == b"plan"


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    from edge.runtime import engine_file

    install(tmp_path, engine(b"first"), b"first")
    before = sorted(tmp_path.iterdir())

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine_file.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        install(tmp_path, engine(b"second"), b"second")
    assert sorted(tmp_path.iterdir()) == before


def test_what_was_installed_is_read_back(tmp_path):
    one = engine(options={"level": 3}, compared={"relative": {"values": 1e-4}},
                 layers=[{"name": "conv", "precision": "FP16"}])  # fmt: skip
    sidecar = install(tmp_path / "new", one, b"plan")
    assert sidecar.name == one.stem + ".json"
    assert engines_of(tmp_path / "new", ONNX) == [one]
    assert read_engine(tmp_path / "new", one) == b"plan"


def test_a_folder_that_is_not_there_has_none(tmp_path):
    assert engines_of(tmp_path / "no", ONNX) == []


def test_another_networks_engine_is_not_its_own(tmp_path):
    install(tmp_path, engine(), b"plan")
    assert engines_of(tmp_path, "cd" * 32) == []
    assert engines_of(tmp_path, ONNX[:12] + "0" * 52) == []  # not by the name alone


def test_a_new_engine_replaces_the_old_one_of_the_same_machine(tmp_path):
    first, second = engine(b"first"), engine(b"second")
    install(tmp_path, first, b"first")
    sidecar = install(tmp_path, second, b"second")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([sidecar.name, second.engine])
    assert read_engine(tmp_path, engines_of(tmp_path, ONNX)[0]) == b"second"


def test_after_an_update_of_tensorrt_the_old_versions_engine_goes(tmp_path):
    install(tmp_path, engine(machine=replace(ORIN, tensorrt="8.6.2")), b"plan")
    (tmp_path / (engine(machine=replace(ORIN, tensorrt="8.6.2")).stem + ".log")).touch()
    install(tmp_path, engine(), b"plan")
    assert [e.machine.tensorrt for e in engines_of(tmp_path, ONNX)] == ["10.3.0"]
    assert len(list(tmp_path.iterdir())) == 2


def test_engines_of_other_gpus_in_a_shared_folder_stay(tmp_path):
    install(tmp_path, engine(machine=replace(ORIN, gpu="H200")), b"plan")
    install(tmp_path, engine(), b"plan")
    assert {e.machine.gpu for e in engines_of(tmp_path, ONNX)} == {"H200", "Orin"}


def test_a_crash_between_engine_and_sidecar_leaves_the_old_one(tmp_path, monkeypatch):
    from edge.runtime import engine_file

    install(tmp_path, engine(b"first"), b"first")
    written = engine_file.write_whole

    def crash(path, data):
        if path.suffix == ".json":
            raise KeyboardInterrupt
        written(path, data)

    monkeypatch.setattr(engine_file, "write_whole", crash)
    with pytest.raises(KeyboardInterrupt):
        install(tmp_path, engine(b"second"), b"second")
    (one,) = engines_of(tmp_path, ONNX)
    assert read_engine(tmp_path, one) == b"first"


def test_a_changed_engine_is_refused(tmp_path):
    one = engine()
    install(tmp_path, one, b"plan")
    (tmp_path / one.engine).write_bytes(b"plot")
    with pytest.raises(EngineFileError, match="not the file that was built"):
        read_engine(tmp_path, one)
    (tmp_path / one.engine).unlink()
    with pytest.raises(EngineFileError, match="No such file"):
        read_engine(tmp_path, one)


def test_a_sidecar_that_names_a_file_elsewhere_is_refused(tmp_path):
    with pytest.raises(EngineFileError, match="outside its folder"):
        read_engine(tmp_path, replace(engine(), engine="../other.engine"))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "machine": {}}']
)
def test_a_broken_sidecar_is_named_and_passed_over(tmp_path, caplog, text):
    (tmp_path / f"calf-fp32-{ONNX[:12]}-orin.json").write_text(text)
    assert engines_of(tmp_path, ONNX) == []
    assert "not an engine's sidecar" in caplog.text


def test_a_sidecar_of_unknown_fields_is_passed_over(tmp_path):
    sidecar = install(tmp_path, engine(), b"plan")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"more": 1}))
    assert engines_of(tmp_path, ONNX) == []
