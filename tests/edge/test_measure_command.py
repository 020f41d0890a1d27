import argparse
import csv
import hashlib
import json
import math

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge.cli import main as sonomyo
from edge.measure_command import add_args, main
from edge.record import SessionWriter
from firmware_bridge.probes import calf
from firmware_bridge.probes.calf import bmode_geometry, make_calf, render
from firmware_bridge.types import Frame
from models.spec import Input, ModelSpec, Step

LINES, SAMPLES = 320, 256  # pixels of 0.199 mm, both ways
MM = calf.DEPTH_MM / SAMPLES
G = bmode_geometry(LINES, SAMPLES)
WEARER = make_calf(G, 3)
ANGLE_DEG, FORCE = 10.0, 0.4
TRUTH = calf.architecture(WEARER, ANGLE_DEG, FORCE)
STEPS = (
    Step(
        "physical_crop",
        {"depth0_mm": 0, "depth_mm": 50, "width_mm": 60, "lines": 128, "samples": 128},
    ),
    Step("normalise", {"mean": 50, "std": 50}),
)


def picture():
    """The simulated calf at one moment, ``(lines, samples)``."""
    return render(WEARER, ANGLE_DEG, FORCE)


def known_maps():
    """Where its sheets and its muscle are, as probabilities ``(3, 128, 128)``."""
    x = np.interp(np.arange(128) * LINES / 128, np.arange(LINES), np.arange(LINES)).astype(int)
    top = WEARER.superficial_mm[x]
    end = top + TRUTH.thickness_mm + WEARER.tilt[x]
    z = ((np.arange(128) + 0.5) * calf.DEPTH_MM / 128)[None, :]
    bands = ((z > top - 1.4) & (z < top)) | ((z > end) & (z < end + 1.2))
    inside = (z > top) & (z < end)
    return np.stack([bands, inside, np.zeros_like(inside)]).astype(np.float32)


def segmenter(folder, maps, names=("aponeurosis", "mg", "sol")):
    """A real bundle that finds ``maps`` in every picture but a black one."""
    spec = ModelSpec(
        "known",
        (Input("image", (1, 1, 128, 128), "us", STEPS, kind="bmode"),),
        (),
        period_ms=20.0,
        values="",
        maps="maps",
        map_names=names,
    )
    known = helper.make_tensor("known", TensorProto.FLOAT, (1, 3, 128, 128), maps.ravel())
    black = helper.make_tensor("black", TensorProto.FLOAT, (), [-0.999])  # normalised
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["brightest"], keepdims=0),
        helper.make_node("Greater", ["brightest", "black"], ["lit"]),
        helper.make_node("Cast", ["lit"], ["sees"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["known", "sees"], ["maps"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, 128, 128))],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, (1, 3, 128, 128))],
        [known, black],
    )
    folder.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    index = {"format": 1, "spec": json.loads(spec.to_json()), "files": {"model.onnx": digest}}
    (folder / "bundle.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def model(tmp_path):
    return segmenter(tmp_path / "known", known_maps())


@pytest.fixture
def still(tmp_path):
    path = tmp_path / "calf.png"
    cv2.imwrite(str(path), picture().T)
    return path


def measure(*words):
    """Exit code of ``sonomyo measure WORDS``."""
    parser = argparse.ArgumentParser()
    add_args(parser)
    return main(parser.parse_args([str(w) for w in words]))


def rows(path):
    with path.open(newline="") as f:
        return list(csv.DictReader(f))


def test_a_picture_becomes_a_row_of_millimetres_and_an_overlay(tmp_path, still, model, capsys):
    table, drawn = tmp_path / "out.csv", tmp_path / "drawn"
    words = (still, "--mm-per-pixel", MM, "--csv", table, "--overlay", drawn, "--model", model)
    assert measure(*words) == 0
    (row,) = rows(table)
    assert (row["file"], row["frame"], row["t_s"]) == (str(still), "0", "")
    assert float(row["thickness_mm"]) == pytest.approx(TRUTH.thickness_mm, abs=0.4)
    assert float(row["pennation_deg"]) == pytest.approx(TRUTH.pennation_deg, abs=2.5)
    assert float(row["fascicle_mm"]) == pytest.approx(TRUTH.fascicle_mm, rel=0.1)
    assert float(row["quality"]) > 0.3
    shown = capsys.readouterr().out
    assert "1 of 1 measured" in shown
    assert "pixels" not in shown
    overlay = cv2.imread(str(drawn / "calf_000000.png")).astype(int)
    assert (np.ptp(overlay, axis=2) > 100).sum() > 500  # coloured lines on a grey picture


def test_without_a_scale_lengths_are_pixels_and_it_says_so(tmp_path, still, model, capsys):
    table = tmp_path / "out.csv"
    assert measure(still, "--csv", table, "--model", model) == 0
    (row,) = rows(table)
    assert "thickness_mm" not in row
    assert float(row["thickness_px"]) * MM == pytest.approx(TRUTH.thickness_mm, abs=0.4)
    assert float(row["pennation_deg"]) == pytest.approx(TRUTH.pennation_deg, abs=2.5)
    assert "--mm-per-pixel" in capsys.readouterr().out.replace("\n", " ")


def test_a_screen_is_cut_and_turned_before_it_is_measured(tmp_path, still, model):
    screen = np.full((SAMPLES + 100, LINES + 50), 40, np.uint8)
    screen[60 : 60 + SAMPLES, 20 : 20 + LINES] = picture().T[:, ::-1]
    cv2.imwrite(str(tmp_path / "screen.png"), screen)
    both = []
    for name, path, words in (
        ("plain", still, ()),
        ("cut", tmp_path / "screen.png", ("--mirror", "--box", f"20,{20 + LINES},60,316")),
    ):
        table = tmp_path / f"{name}.csv"
        assert measure(path, "--mm-per-pixel", MM, "--csv", table, "--model", model, *words) == 0
        (row,) = rows(table)
        both.append({k: v for k, v in row.items() if k != "file"})
    assert both[0] == both[1]


def test_every_frame_of_a_recording_is_measured_at_its_own_scale(tmp_path, model, capsys):
    path, table = tmp_path / "a.mcap", tmp_path / "out.csv"
    writer = SessionWriter(path, {}, geometry=G, emg=None, min_free_bytes=0)
    for k in range(3):
        writer.frame(Frame(10**9 + k * 20_000_000, k, picture()))
    writer.close()
    assert measure(path, "--csv", table, "--model", model) == 0
    found = rows(table)
    assert [(r["frame"], float(r["t_s"])) for r in found] == [("0", 0.0), ("1", 0.02), ("2", 0.04)]
    assert float(found[2]["thickness_mm"]) == pytest.approx(TRUTH.thickness_mm, abs=0.4)
    assert measure(path, "--mm-per-pixel", "0.1", "--model", model) == 2
    assert "knows its scale" in capsys.readouterr().err


def test_every_frame_of_a_video_is_measured_in_time(tmp_path, model):
    path, table = tmp_path / "a.avi", tmp_path / "out.csv"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (LINES, SAMPLES))
    for _ in range(3):
        video.write(cv2.cvtColor(np.ascontiguousarray(picture().T), cv2.COLOR_GRAY2BGR))
    video.release()
    assert measure(path, "--mm-per-pixel", MM, "--csv", table, "--model", model) == 0
    assert [float(r["t_s"]) for r in rows(table)] == pytest.approx([0.0, 0.04, 0.08])
    assert float(rows(table)[1]["pennation_deg"]) == pytest.approx(TRUTH.pennation_deg, abs=2.5)


def test_a_black_picture_gives_an_empty_row_and_exit_code_1(tmp_path, model, capsys):
    path, table = tmp_path / "black.png", tmp_path / "out.csv"
    cv2.imwrite(str(path), np.zeros((SAMPLES, LINES), np.uint8))
    words = ("--mm-per-pixel", MM, "--csv", table, "--overlay", tmp_path, "--model", model)
    assert measure(path, *words) == 1
    (row,) = rows(table)
    assert {row[k] for k in ("thickness_mm", "pennation_deg", "fascicle_mm")} == {""}
    assert float(row["quality"]) == 0
    assert "0 of 1 measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing.png"], "no such file"),
        (["notes.txt"], "not one of"),
        (["torn.png"], "save it as PNG"),
        (["torn.mp4"], "H.264"),
        (["calf.png", "--box", "0,9999,0,100"], "x0,x1,y0,y1"),
        (["calf.png", "--box", "0,10,0,100"], "too few"),
        (["calf.png", "a.mcap"], "measure them apart"),
        (["calf.png", "calf.png", "--overlay", "drawn"], "one name"),
        (["calf.png", "--model", "no-such-bundle"], "no-such-bundle"),
        (["calf.png", "--model", "sim-state"], "calf-segmenter"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # OpenCV has its own way of saying that a file is torn
def test_what_cannot_be_tried_names_its_remedy(
    tmp_path, monkeypatch, still, model, capsys, words, says
):
    monkeypatch.chdir(tmp_path)
    for name in ("notes.txt", "torn.png", "torn.mp4"):
        (tmp_path / name).write_text("not a picture")
    given = [] if "--model" in words else ["--model", str(model)]
    assert measure(*words, *given) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--mm-per-pixel", "-1"], ["--box", "1,2,3"], ["--muscle", "x"]])
def test_arguments_that_mean_nothing_are_refused(words):
    with pytest.raises(SystemExit):
        measure("calf.png", *words)


def test_it_is_a_command_of_the_house(tmp_path, monkeypatch, still, model, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["measure", "calf.png", "--mm-per-pixel", f"{MM}", "--model", str(model)]
    assert sonomyo(words) == 0
    assert "calf.png" in capsys.readouterr().out
    assert math.isfinite(MM)
