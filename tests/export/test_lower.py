"""From a bundle to a bundle with fewer bits: by the commands, as a user would."""

import json
import re

import numpy as np
import onnx
import pytest

from edge.bundle import load_bundle
from edge.cli import main
from edge.runtime import open_engine
from edge.runtime.settings import Runtime
from export.bundle import write_bundle
from export.compare import compare
from export.streams import OrtNetwork
from tests.fakes.nets import pictures, step


def bundle_of(make, folder):
    model, spec, _ = make()
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    return write_bundle(folder, spec, "# card\n", {})


def inputs_of(make, path, seed):
    np.savez(path, **make(seed=seed)[2].inputs)
    return str(path)


@pytest.fixture(params=[pictures, step])
def make(request):
    return request.param


@pytest.fixture
def bundle(make, tmp_path):
    return bundle_of(make, tmp_path / "plain")


@pytest.fixture
def exported(make, bundle, tmp_path, capsys):
    """What ``sonomyo export`` made of it, and what it said."""
    files = [inputs_of(make, tmp_path / f"{k}.npz", k) for k in (1, 2)]
    code = main(["export", str(bundle.path), "--precision", "int8", "--calibrate", files[0],
                 "--judge", files[1], "--out", str(tmp_path / "small"), "--ranges", "minmax",
                 "--budget", ",".join(f"{o.name}=2" for o in bundle.spec.outputs)])  # fmt: skip
    assert code == 0
    return load_bundle(str(tmp_path / "small")), capsys.readouterr().out


def test_the_bundle_has_a_network_for_each_target_and_the_old_one_unchanged(bundle, exported):
    small, said = exported
    assert small.files["model.onnx"] == bundle.files["model.onnx"]
    assert small.spec == bundle.spec
    assert [(n.precision, n.targets) for n in small.networks] == [
        ("fp32", ()), ("int8", ("cpu",)), ("int8", ("trt",)),
    ]  # fmt: skip
    assert small.network("cpu").file == "model.int8-cpu.onnx"
    assert small.network("trt").file == "model.int8-trt.onnx"
    assert small.network("cpu", "fp32").file == "model.onnx"
    assert small.id != bundle.id
    for o in bundle.spec.outputs:
        assert o.name in said


def test_the_bundle_keeps_how_its_precisions_were_chosen(exported):
    small, _ = exported
    kept = json.loads(small.text("calibration.json"))
    assert kept["calibrated_on"] == ["1"]
    assert kept["judged_on"] == ["2"]
    for tried in kept["tried"]:
        assert tried["taken"]
        assert tried["share_of_budget"] <= 1
    network = small.network("cpu")
    for name, error in network.errors.items():
        assert 0 <= error.rms <= error.worst
        assert error.rms <= kept["budget_rms"][name]


def test_the_daemons_engine_runs_the_integers_and_is_within_the_budget(make, exported):
    small, _ = exported
    stream = make(seed=5)[2]
    engine = open_engine(small, Runtime(engine="ort"))
    full = OrtNetwork(small.files["model.onnx"])
    name = small.spec.inputs[0].name
    state = {s.input: np.zeros(s.shape, np.float32) for s in small.spec.states}
    off = []
    for x in stream.inputs[name]:
        engine.inputs[name][...] = x
        engine.run()
        want = full({name: x, **state})
        off.append(np.abs(engine.outputs["values"] - want["values"]).max())
        for s in small.spec.states:
            engine.inputs[s.input][...] = engine.outputs[s.output]
            state[s.input] = want[s.output]
    engine.close()
    assert 0 < np.sqrt(np.mean(np.square(off))) < 2


def test_exporting_again_replaces_what_was_there(make, exported, tmp_path, capsys):
    small, _ = exported
    files = inputs_of(make, tmp_path / "3.npz", 3)
    code = main(["export", str(small.path), "--precision", "fp32", "--calibrate", files,
                 "--out", str(small.path)])  # fmt: skip
    assert code == 0
    again = load_bundle(str(small.path))
    assert [n.precision for n in again.networks] == ["fp32"]


def test_a_budget_that_cannot_be_kept_is_exit_code_1_and_nothing_is_written(
    make, bundle, tmp_path, capsys
):
    files = inputs_of(make, tmp_path / "1.npz", 1)
    tight = ",".join(f"{o.name}=1e-9" for o in bundle.spec.outputs)
    args = ["--calibrate", files, "--budget", tight, "--out", str(tmp_path / "none")]
    code = main(["export", str(bundle.path), "--precision", "int8", "--target", "cpu", *args])
    assert code == 1
    assert "give a larger --budget" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("args", "remedy"),
    [
        ([], "give --calibrate"),
        (["--calibrate", "nowhere.npz"], "nowhere.npz"),
        (["--calibrate", "nowhere.mcap"], "nowhere.mcap"),
        (["--calibrate", "SHAPE"], "wanted is"),
        (["--calibrate", "NAN"], "not finite"),
        (["--calibrate", "GOOD", "--budget", "speed=3"], "write OUTPUT=NUMBER"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(make, bundle, tmp_path, capsys, args, remedy):
    rows = dict(make(seed=1)[2].inputs)
    name = next(iter(rows))
    np.savez(tmp_path / "GOOD.npz", **rows)
    np.savez(tmp_path / "SHAPE.npz", **{name: rows[name][:, :, :-1]})
    spoilt = rows[name].copy()
    spoilt[3] = np.nan
    np.savez(tmp_path / "NAN.npz", **{name: spoilt})
    args = [str(tmp_path / f"{a}.npz") if a.isupper() else a for a in args]
    assert main(["export", str(bundle.path), "--out", str(tmp_path / "o"), *args]) == 2
    assert re.search(remedy, capsys.readouterr().err)
    assert not (tmp_path / "o").exists()


def test_compare_is_a_gate(make, exported, tmp_path, capsys):
    small, _ = exported
    files = inputs_of(make, tmp_path / "9.npz", 9)
    report, figure = tmp_path / "r.json", tmp_path / "f.png"
    args = ["compare", str(small.path), "--recording", files, "--json", str(report),
            "--figure", str(figure)]  # fmt: skip
    wide = ["--budget", ",".join(f"{o.name}=5" for o in small.spec.outputs)]
    tight = ["--budget", ",".join(f"{o.name}=1e-6" for o in small.spec.outputs)]
    assert main([*args, *wide]) == 0
    found = json.loads(report.read_text())
    assert {n["name"] for n in found["networks"]} == {"fp32", "int8-cpu", "int8-trt"}
    assert figure.stat().st_size > 10_000
    assert all("TensorRT" in text for text in found["missing"])
    assert main([*args, *tight]) == 1
    assert "of the budget" in capsys.readouterr().err


def test_only_states_can_drift(make, exported):
    small, _ = exported
    stream = make(seed=2)[2]
    budget = {o.name: 5.0 for o in small.spec.outputs}
    rows = {r.name: r for r in compare(small, [stream], budget).rows}
    drift = rows["int8-cpu"].drift
    assert (drift is not None) == bool(small.spec.states)
    if drift:
        assert drift.last < 1.5 * drift.first + 0.01


def test_anybodys_file_becomes_a_bundle_with_its_spec_and_then_with_fewer_bits(
    make, tmp_path, capsys
):
    model, spec, _ = make()
    onnx.save(model, tmp_path / "theirs.onnx")
    (tmp_path / "spec.json").write_text(spec.to_json())
    args = ["export", str(tmp_path / "theirs.onnx"), "--out", str(tmp_path / "mine")]
    assert main(args) == 2
    assert "carries no spec" in capsys.readouterr().err
    args += ["--spec", str(tmp_path / "spec.json")]
    assert main(args) == 0
    mine = load_bundle(str(tmp_path / "mine"))
    assert mine.spec == spec
    assert [n.precision for n in mine.networks] == ["fp32"]
    assert "Not known" in mine.text("CARD.md")
    (tmp_path / "card.md").write_text("# Theirs, 2026\n")
    args += ["--card", str(tmp_path / "card.md"), "--precision", "int8", "--calibrate",
             inputs_of(make, tmp_path / "1.npz", 1), "--budget",
             ",".join(f"{o.name}=2" for o in spec.outputs)]  # fmt: skip
    assert main(args) == 0
    mine = load_bundle(str(tmp_path / "mine"))
    assert [n.precision for n in mine.networks] == ["fp32", "int8", "int8"]
    assert mine.text("CARD.md") == "# Theirs, 2026\n"


def test_a_folder_that_is_no_bundle_is_never_replaced(make, bundle, tmp_path, capsys):
    mine = tmp_path / "precious"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    assert main(["export", str(bundle.path), "--precision", "fp32", "--out", str(mine)]) == 2
    assert "is no bundle" in capsys.readouterr().err
    assert (mine / "thesis.txt").read_text() == "years"


def test_compare_takes_the_budget_of_the_export(make, exported, tmp_path, capsys):
    small, _ = exported
    files = inputs_of(make, tmp_path / "9.npz", 9)
    report = tmp_path / "r.json"
    args = ["compare", str(small.path), "--recording", files, "--json", str(report),
            "--figure", str(tmp_path / "f.png")]  # fmt: skip
    assert main(args) == 0
    assert json.loads(report.read_text())["budget_rms"] == {o.name: 2.0 for o in small.spec.outputs}


def test_what_has_no_effect_is_refused(bundle, tmp_path, capsys):
    out = ["--out", str(tmp_path / "o")]
    assert main(["export", str(bundle.path), "--spec", "nonsense.toml", *out]) == 2
    assert "for FILE.onnx" in capsys.readouterr().err


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04torn", b"\x93NUMPY\x01\x00", b"{}"])
def test_a_torn_file_of_inputs_is_an_error_with_its_name(bundle, tmp_path, capsys, data):
    (tmp_path / "torn.npz").write_bytes(data)
    args = ["--calibrate", str(tmp_path / "torn.npz"), "--out", str(tmp_path / "o")]
    assert main(["export", str(bundle.path), *args]) == 2
    assert "torn.npz" in capsys.readouterr().err
