"""From a recorded routine to a bundle for that wearer, through the command."""

import argparse
import json
import math
import shutil

import numpy as np
import onnx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from calibration.phases import CalibrationError, read_phases
from calibration.prior import Prior
from calibration.recorded import estimates_of, routine_of
from calibration.subject import SubjectMap
from edge.bundle import BundleError, load_bundle
from edge.bundle_index import Error, Network
from edge.record import SessionWriter
from export.bundle import pack, write_bundle
from export.onnx_spec import spec_of
from export.personalise_command import add_args, main, personalise, prior_of
from export.personalised import personal_spec
from firmware_bridge.recording import open_recording
from firmware_bridge.types import Chunk, Frame, Geometry, Output
from models.spec import Input, ModelSpec, Step

GEOMETRY = Geometry("bmode", lines=1, samples=4, dz_mm=0.2, dx_mm=0.3)
FS_HZ = 10.0
OUTPUTS = (
    Output("ankle_angle", "deg", -50, 50, max_sd=9.0),
    Output("emg", "1", -0.5, 2),
    Output("ankle_moment", "N m", -50, 250),
)
# A picture has four pixels: three say what the state is, the last how sure the network may be.
WEIGHT = np.array([[0.4, 0, 0], [0, 0.01, 0], [0, 0, 1], [0, 0, 0]], np.float32)
BIAS = np.array([-50, 0, 0], np.float32)
SD_WEIGHT = np.array([[0] * 3] * 3 + [[0.1, 0.002, 0.3]], np.float32)
GAIN, OFFSET = np.array([1.25, 1.4, 0.8]), np.array([6.0, -0.1, -10.0])  # of this wearer
PHASES = """start_s,end_s,phase,angle_deg,moment_nm
0,30,rest,0,
32,38,mvc,0,120
40,46,mvc,0,120
50,65,passive,-20,
70,85,passive,15,
"""
T0_NS = 10**12


def tensor(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write_model(folder, spec, extra):
    folder.mkdir(parents=True)
    nodes = [
        helper.make_node("Reshape", ["image", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["values"]),
        helper.make_node("MatMul", ["row", "sd_weight"], ["sd"]),
    ]
    constants = [
        helper.make_tensor("flat", TensorProto.INT64, [2], [1, 4]),
        *(onnx.numpy_helper.from_array(a, n) for a, n in
          ((WEIGHT, "weight"), (BIAS, "bias"), (SD_WEIGHT, "sd_weight"))),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [tensor("image", (1, 1, 1, 4))],
        [tensor("values", (1, 3)), tensor("sd", (1, 3))], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return write_bundle(folder, spec, "# Calf\n", extra)


SPEC = ModelSpec(
    "calf", (Input("image", (1, 1, 1, 4), "us", kind="bmode"),), OUTPUTS, 100.0, sd="sd"
)
PRIOR = Prior(
    tuple(o.name for o in OUTPUTS), (0, 0.4, 45), (12, 0.3, 40), (0.5,) * 3, (0.5,) * 3,
    (1.0,) * 3, people=31,
)  # fmt: skip


@pytest.fixture
def bundle(tmp_path):
    """A state model with a prior."""
    return write_model(tmp_path / "calf", SPEC, {"personal.json": PRIOR.to_json()})


def truth_at(t_s):
    """Angle, activity and moment of the routine."""
    push = ((t_s > 32) & (t_s < 38)) | ((t_s > 40) & (t_s < 46))
    angle = np.where((t_s > 50) & (t_s < 65), -20.0, np.where(t_s > 70, 15.0, 0.0))
    return np.stack([angle, push * 1.0, push * 120.0], axis=1)


def record(path, marks=(), encoder=0, wearer="", doubtful=(), seconds=86):
    """A recorded routine of a wearer for whom the network is wrong by GAIN and OFFSET."""
    meta = {"probe": "usb:[7]", "emg": "", "wearer": wearer}
    w = SessionWriter(path, meta, geometry=GEOMETRY, min_free_bytes=0)
    t_s = np.arange(0, seconds, 1 / FS_HZ)
    truth = truth_at(t_s)
    pixels = np.zeros((len(t_s), 4))
    pixels[:, :3] = ((truth - OFFSET) / GAIN - BIAS) / WEIGHT[range(3), range(3)]
    pixels[:, 3] = 30
    for a, b in doubtful:
        pixels[(t_s >= a) & (t_s <= b), 3] = 100
    for k, row in enumerate(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)):
        w.frame(Frame(T0_NS + int(t_s[k] * 1e9), k, row.reshape(1, 4)))
        if encoder and k % encoder == 0:
            w.event("encoder", seq=k, t_ns=T0_NS + int(t_s[k] * 1e9), angle_deg=truth[k, 0],
                    velocity_deg_s=math.nan)  # fmt: skip
    for k, (at_s, text) in enumerate(marks):
        w.event("mark", seq=k, t_ns=T0_NS + int(at_s * 1e9), code=0, text=text)
    w.close()
    return w.path


@pytest.fixture
def phases(tmp_path):
    (tmp_path / "phases.csv").write_text(PHASES)
    return tmp_path / "phases.csv"


def command(*words):
    """Exit code of ``sonomyo personalise WORDS``."""
    parser = argparse.ArgumentParser()
    add_args(parser)
    return main(parser.parse_args([str(w) for w in words]))


def test_a_routine_becomes_a_bundle_for_its_wearer(bundle, phases, tmp_path, capsys):
    recording, out = record(tmp_path / "r.mcap"), tmp_path / "for-W07"
    assert command(bundle.path, recording, "--wearer", "W07", "--phases", phases,
                   "--out", out) == 0  # fmt: skip
    assert str(out) in capsys.readouterr().out
    made = load_bundle(str(out))  # every hash fits
    assert made.spec.wearer == "W07"
    assert made.id != bundle.id
    m = SubjectMap.load(out / "subject.json")
    assert (m.wearer, m.model) == ("W07", bundle.id)
    np.testing.assert_allclose(m.gain, GAIN, rtol=0.03)
    found = estimates_of(open_recording(recording), made)
    truth = truth_at((found.t_ns - T0_NS) * 1e-9)
    assert (np.abs(found.values - truth).mean(axis=0) < [1.0, 0.03, 3.0]).all()
    assert not found.faults.any()
    card = (out / "CARD.md").read_text()
    for words in (
        "Personalised to `W07`",
        bundle.id,
        "r.mcap",
        "usb:[7]",
        "31 people",
        "not on new",
    ):
        assert words in card
    index = json.loads((out / "bundle.json").read_text())
    assert index["files"].keys() == {"model.onnx", "CARD.md", "subject.json"}
    assert spec_of(onnx.load(out / "model.onnx")) == made.spec


def test_marks_and_an_encoder_serve_as_well_as_a_table(bundle, tmp_path):
    marks = [(0, "rest"), (30, "wait"), (32, "mvc"), (38, "wait"), (40, "MVC"), (46, "wait"),
             (50, "passive"), (85, "end")]  # fmt: skip
    recording = record(tmp_path / "r.mcap", marks, encoder=1)
    m, made = personalise(str(bundle.path), recording, "W07", None, tmp_path / "out")
    assert made.spec.wearer == "W07"
    np.testing.assert_allclose(m.gain[:2], GAIN[:2], rtol=0.05)
    assert m.quality[2].fitted == "offset"  # nobody measured the moment of the pushes


def test_between_readings_far_apart_the_angle_is_unknown(bundle, tmp_path):
    recording = open_recording(record(tmp_path / "r.mcap", encoder=10))  # once a second
    replayed = estimates_of(recording, bundle)
    with pytest.raises(CalibrationError, match="no marks called"):
        routine_of(recording, replayed, OUTPUTS, None, (0.0, 1.0))
    r = routine_of(recording, replayed, OUTPUTS, (), (0.0, 1.0))
    assert np.isnan(r.references[5:10]).all()


def test_pictures_that_the_network_doubts_are_not_used(bundle, phases, tmp_path):
    recording = open_recording(record(tmp_path / "r.mcap", doubtful=[(10, 14)]))
    replayed = estimates_of(recording, bundle)
    r = routine_of(recording, replayed, OUTPUTS, read_phases(phases), (0.0, 1.0))
    assert r.flagged.sum() == 41
    assert r.t_s[r.flagged].min() == pytest.approx(10)
    doubted = record(tmp_path / "d.mcap", doubtful=[(0, 25)])
    with pytest.raises(CalibrationError, match="84% of the rest phase is flagged"):
        personalise(str(bundle.path), doubted, "W07", phases, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_prior_the_default_is_used_and_the_card_says_so(phases, tmp_path):
    plain = write_model(tmp_path / "plain", SPEC, {})
    recording = record(tmp_path / "r.mcap")
    m, made = personalise(str(plain.path), recording, "W07", phases, tmp_path / "out")
    assert "DEFAULT" in (made.path / "CARD.md").read_text()
    assert 1 < m.gain[0] < GAIN[0]


@pytest.mark.parametrize(
    ("wearer", "kwargs", "says"),
    [
        ("Jane Doe", {}, "a code is letters"),
        ("../W07", {}, "a code is letters"),
        ("W07", {"wearer": "W08"}, "recorded from W08, not W07"),
        ("W07", {"seconds": 45}, "no passive phase"),
    ],
)
def test_refuses_and_says_why(bundle, phases, tmp_path, capsys, wearer, kwargs, says):
    recording = record(tmp_path / "r.mcap", **kwargs)
    assert command(bundle.path, recording, "--wearer", wearer, "--phases", phases) == 2
    assert says in capsys.readouterr().err


def test_refuses_to_overwrite_and_to_personalise_twice(bundle, phases, tmp_path):
    recording = record(tmp_path / "r.mcap")
    _, made = personalise(str(bundle.path), recording, "W07", phases, tmp_path / "out")
    with pytest.raises(BundleError, match="exists: choose another folder"):
        personalise(str(bundle.path), recording, "W07", phases, tmp_path / "out")
    with pytest.raises(BundleError, match="W07's already: personalise the bundle it came from"):
        personalise(str(made.path), recording, "W09", phases, tmp_path / "again")


def test_a_prior_that_is_not_sealed_in_the_bundle_is_not_looked_at(tmp_path):
    plain = write_model(tmp_path / "plain", SPEC, {})
    (plain.path / "personal.json").write_text(PRIOR.to_json())
    assert prior_of(load_bundle(str(plain.path))).people == 0


def test_networks_of_fewer_bits_are_personalised_too_and_what_they_cost_with_them(
    bundle, phases, tmp_path
):
    cost = {"ankle_angle": Error(0.2, 1.0), "ankle_moment": Error(1.0, 5.0)}
    int8 = Network("model.int8-cpu.onnx", "int8", ("cpu",), ("cpu",), cost)
    shutil.copy(bundle.path / "model.onnx", bundle.path / int8.file)
    extra = {"personal.json": PRIOR.to_json(), "calibration.json": "{}"}
    whole = write_bundle(bundle.path, SPEC, "# Calf\n", extra, [int8])
    pack(whole, tmp_path / "calf.sonomyo")
    m, made = personalise(
        str(tmp_path / "calf.sonomyo"), record(tmp_path / "r.mcap"), "W07", phases, tmp_path / "out"
    )
    network = made.network("cpu")
    assert network.file == int8.file
    assert network.errors["ankle_angle"].worst == pytest.approx(m.gain[0])
    assert network.errors["ankle_moment"].rms == pytest.approx(m.gain[2])
    assert made.files[int8.file] == made.files["model.onnx"]  # the same map behind each
    assert made.text("calibration.json") == "{}"
    assert made.signature == "unsigned"


def test_a_prior_of_other_outputs_is_refused(tmp_path):
    other = Prior(("a",), (0,), (1,), (1,), (1,), (1,))
    wrong = write_model(tmp_path / "wrong", SPEC, {"personal.json": other.to_json()})
    with pytest.raises(CalibrationError, match="export it again"):
        prior_of(wrong)


def subject(gain, offset, sd_gain):
    return SubjectMap("W", "m@1", "d", ("a",), (gain,), (offset,), (sd_gain,), ())


@given(
    st.floats(0.3, 3), st.floats(-50, 50), st.floats(0.1, 5), st.floats(-100, 100),
    st.floats(0, 30),
)  # fmt: skip
def test_what_was_a_fault_before_is_one_after(gain, offset, sd_gain, value, sd):
    old = Output("a", "deg", -40, 60, max_sd=9.0)
    spec = ModelSpec("m", (Input("x", (1,), "us"),), (old,), 10.0, sd="sd")
    assume(max(-40, -40 * gain + offset) < min(60, 60 * gain + offset))
    assume(min(abs(value + 40), abs(value - 60), abs(sd - 9)) > 1e-6)  # but for rounding
    (new,) = personal_spec(spec, subject(gain, offset, sd_gain)).outputs
    if not (old.min <= value <= old.max and sd <= old.max_sd):
        mapped = gain * value + offset
        assert not (new.min <= mapped <= new.max and sd_gain * sd <= new.max_sd)
    assert new.min >= old.min
    assert new.max <= old.max
    assert new.max_sd <= old.max_sd


def test_a_map_that_leaves_no_plausible_value_is_refused():
    spec = ModelSpec("m", (), (Output("a", "deg", -40, 60),), 10.0)
    with pytest.raises(CalibrationError, match="leaves nothing of its range"):
        personal_spec(spec, subject(0.3, 500.0, 1.0))


def test_an_emg_model_is_replayed_from_its_samples(tmp_path):
    spec = ModelSpec(
        "adder",
        (Input("emg", (1, 1), "emg", (Step("rectify"), Step("bin")),
               rate_hz=1000.0, hop=10, channels=("TA",)),),
        (Output("sum", "uV"),), 10.0,
    )  # fmt: skip
    folder = tmp_path / "adder"
    folder.mkdir()
    graph = helper.make_graph(
        [helper.make_node("Identity", ["emg"], ["values"])], "g",
        [tensor("emg", (1, 1))], [tensor("values", (1, 1))],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    bundle = write_bundle(folder, spec, "card", {})
    w = SessionWriter(tmp_path / "e.mcap", {}, emg=(1000.0, ("TA",)), min_free_bytes=0)
    for k in range(20):
        data = np.full((25, 1), k, np.float32)
        w.chunk(Chunk(T0_NS + (k + 1) * 25_000_000, 25 * k, 1000.0, data))
    w.close()
    found = estimates_of(open_recording(w.path), bundle)
    assert found.sd is None
    # Chunks end at 25, 50, ... samples, hops at 20, 50, ...: one row per chunk, of its last hop.
    np.testing.assert_array_equal(found.values[:4, 0], [0, 1, 2, 3])
    assert found.t_ns[1] == T0_NS + 50_000_000
