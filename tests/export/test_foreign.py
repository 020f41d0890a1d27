"""Files from elsewhere, as people bring them, and what a device gets."""

import json

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from torch import nn

from edge.bundle import MODEL
from edge.runtime import open_engine
from export.bundle import write_bundle
from export.foreign import bring, read
from export.foreign_ends import aligned
from export.foreign_spec import Contract, contract_of, read_contract
from export.onnx_graph import ExportError, Runner, dims, opset
from export.onnx_rules import check
from export.onnx_spec import embed, spec_of
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec, SpecError, State
from tests.fakes.onnx_files import model, node, of_dynamo, ops, tensor, traced

OUTPUTS = (Output("angle", "deg"), Output("torque", "N m"))
IMAGE = Input("image", (1, 1, 16, 12), "us", kind="bmode")
CALF = ModelSpec("calf", (IMAGE,), OUTPUTS, 16.0)
EMG = Input("emg", (1, 1, 3), "emg", rate_hz=1000.0, hop=10, channels=("a", "b", "c"))
STATES = (State("h", "h_next", (1, 6)),)
ARM = ModelSpec("arm", (EMG,), OUTPUTS, 10.0, states=STATES)
QUIET = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # PyTorch checks sizes


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, stride=2), nn.LayerNorm(4)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        f = nn.functional.gelu(self.conv(x)).amax((2, 3))
        return self.out(self.norm(f))


class Sequence(nn.Module):
    """A GRU over ``(batch, time, 3)``, as it is trained."""

    def __init__(self, before=None):
        super().__init__()
        self.before, self.core = before or nn.Identity(), nn.GRU(3, 6, batch_first=True)
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        return self.out(self.core(self.before(x))[0])


def save(file, folder, name="theirs.onnx", **how):
    torch.manual_seed(0)
    onnx.save(file, folder / name, **how)
    return folder / name


def contract(spec, names=None, axes=None):
    return Contract(spec, names or {}, axes or {})


def relu(inputs, outputs, names="x y", **parts):
    source, target = names.split()
    return model([node("Relu", source, target)], inputs, outputs, **parts)


TINY = ModelSpec("tiny", (Input("x", (1, 2), "us"),), OUTPUTS, 10.0, values="y")


def brought(file, spec, folder, names=None, axes=None, **how):
    result = bring(save(file, folder), folder / "out" / MODEL, contract(spec, names, axes), **how)
    return onnx.load(folder / "out" / MODEL), result


def test_a_file_of_todays_pytorch_becomes_a_bundle_that_the_daemon_runs(tmp_path):
    """Opset 20, an open batch size, names that say nothing, a layer norm."""
    torch.manual_seed(0)
    net = Cnn().eval()
    image = torch.randn(1, 1, 16, 12)
    file = of_dynamo(net, (torch.cat([image] * 2),), 20, dynamic_shapes=({0: "n"},))
    (given,), (said,) = ([t.name for t in side] for side in (file.graph.input, file.graph.output))
    found, result = brought(file, CALF, tmp_path, {"image": given, "values": said})
    assert (opset(found), spec_of(found), check(found)) == (17, CALF, [])
    assert [dims(t) for t in (*found.graph.input, *found.graph.output)] == [(1, 1, 16, 12), (1, 2)]
    assert any(n.startswith("opset 20 to 17: at most ") for n in result.notes)  # it has a Gelu
    assert result.difference.relative < 1e-6
    engine = open_engine(write_bundle(tmp_path / "out", CALF, "card", {}))
    engine.inputs["image"][...] = image
    engine.run()
    with torch.inference_mode():
        np.testing.assert_allclose(engine.outputs["values"], net(image), atol=1e-5)
    engine.close()


def test_old_files_that_list_their_weights_as_inputs(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    file = traced(net, (torch.randn(1, 1, 16, 12),), 9, keep_initializers_as_inputs=True,
                  input_names=["image"], output_names=["values"])  # fmt: skip
    assert len(file.graph.input) == 3
    found, _ = brought(file, CALF, tmp_path)
    assert [t.name for t in found.graph.input] == ["image"]


def test_a_file_of_float64_becomes_one_of_float32(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).double()
    names = {"input_names": ["image"], "output_names": ["values"]}
    file = traced(net, (torch.randn(1, 1, 16, 12).double(),), **names)
    assert file.graph.input[0].type.tensor_type.elem_type == TensorProto.DOUBLE
    found, result = brought(file, CALF, tmp_path)
    assert check(found) == []
    assert 0 < result.difference.relative < 1e-6


def test_numbers_too_large_for_float32_are_refused(tmp_path):
    file = model([node("Mul", "x w", "y")], [tensor("x", (1, 2), TensorProto.DOUBLE)],
                 [tensor("y", (1, 2), TensorProto.DOUBLE)], {"w": np.float64([1e300])})  # fmt: skip
    with pytest.raises(ExportError, match="'w' has numbers too large for float32"):
        brought(file, TINY, tmp_path)


def channels_last():
    """What Keras brings: ``(batch, samples, lines, 1)``, and maps the same way."""
    weights = {"w": np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype(np.float32)}
    nodes = [node("Transpose", "in:0", "first", "t1", perm=[0, 3, 1, 2]),
             node("Conv", "first w", "c", "conv", pads=[1, 1, 1, 1]),
             node("Transpose", "c", "out:0", "t2", perm=[0, 2, 3, 1])]  # fmt: skip
    return model(nodes, {"in:0": (None, 12, 16, 1)}, {"out:0": (None, 12, 16, 2)}, weights)


MAPS = ModelSpec("maps", (IMAGE,), (), 16.0, values="", maps="maps", map_names=("muscle", "edge"))
NAMES = {"image": "in:0", "maps": "out:0"}


def test_channels_last_and_turned_pictures_are_fed_as_the_spec_has_them(tmp_path):
    found, _ = brought(channels_last(), MAPS, tmp_path, NAMES,
                       {"image": (0, 3, 2, 1), "maps": (0, 3, 2, 1)})  # fmt: skip
    picture = torch.randn(IMAGE.shape)
    kernel = torch.tensor(onnx.numpy_helper.to_array(channels_last().graph.initializer[0]))
    wanted = nn.functional.conv2d(picture.transpose(2, 3), kernel, padding=1)
    said = Runner(found)({"image": picture.numpy()})["maps"]
    np.testing.assert_allclose(said.transpose(0, 1, 3, 2), wanted, atol=1e-5)


def test_axes_are_never_guessed(tmp_path):
    says = (
        r"input 'image': the spec wants float32 \(1, 1, 16, 12\), the file has 'in:0' float32 "
        r"\(\?, 12, 16, 1\): if its axes only have another order, say so under \[axes\]"
    )
    with pytest.raises(ExportError, match=says):
        brought(channels_last(), MAPS, tmp_path, NAMES)


def test_axes_of_length_1_come_and_go(tmp_path):
    file = relu({"x": (None, 1, 2, 1)}, {"y": (None, 1, 2, 1)})
    found, _ = brought(file, TINY, tmp_path)
    assert [dims(t) for t in (*found.graph.input, *found.graph.output)] == [(1, 2), (1, 2)]


def test_a_file_of_float16_keeps_its_precision_inside(tmp_path):
    ends = [[tensor(n, (1, 2), TensorProto.FLOAT16)] for n in "xy"]
    found, _ = brought(relu(*ends), TINY, tmp_path)
    assert ops(found) == ["Cast", "Relu", "Cast"]


def test_weights_in_a_second_file_are_put_inside(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    file = traced(net, (torch.randn(1, 1, 16, 12),), input_names=["image"],
                  output_names=["values"])  # fmt: skip
    how = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    path = save(file, tmp_path, **how)
    bring(path, tmp_path / MODEL, contract(CALF))
    (tmp_path / "weights.bin").unlink()
    assert "external-data" not in {f.rule for f in check(onnx.load(tmp_path / MODEL))}
    with pytest.raises(ExportError, match="what belongs to it is missing: .*weights.bin"):
        read(path)


def test_weights_outside_of_the_folder_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"1234")
    file = model([node("Mul", "x w", "y")], {"x": (1, 1)}, {"y": (1, 1)}, {"w": np.float32([[1]])})
    (w,) = file.graph.initializer
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    w.external_data.add(key="location", value="../secret")
    (tmp_path / "in").mkdir()
    with pytest.raises(ExportError, match="is no ONNX file that can be read"):
        read(save(file, tmp_path / "in"))


def test_a_quantised_file_keeps_its_pairs(tmp_path):
    nodes = []
    for name in ("x", "w"):
        nodes += [node("QuantizeLinear", f"{name} s z", f"{name}q", f"q{name}"),
                  node("DequantizeLinear", f"{name}q s z", f"{name}d", f"d{name}")]  # fmt: skip
    weights = {"w": np.eye(2, dtype=np.float32), "s": np.float32(0.05), "z": np.int8(0)}
    file = model([*nodes, node("MatMul", "xd wd", "y")], {"x": ("n", 2)}, {"y": ("n", 2)}, weights)
    found, _ = brought(file, TINY, tmp_path)
    assert [op for op in ops(found) if op != "Identity"] == [
        "QuantizeLinear", "DequantizeLinear", "QuantizeLinear", "DequantizeLinear", "MatMul",
    ]  # fmt: skip
    assert check(found) == []


def test_a_spec_travels_inside_the_file(tmp_path):
    file = relu({"x": (1, 2)}, {"y": (1, 2)})
    path = save(file, tmp_path)
    with pytest.raises(ExportError, match="carries no spec: give one"):
        bring(path, tmp_path / MODEL)
    embed(file, TINY)
    assert bring(save(file, tmp_path), tmp_path / MODEL).spec == TINY


def test_names_of_the_spec_may_mean_something_else_in_the_file(tmp_path):
    """The file's input is called as the spec's output, and the other way round."""
    found, _ = brought(relu({"y": (1, 2)}, {"x": (1, 2)}, "y x"), TINY, tmp_path,
                       {"x": "y", "y": "x"})  # fmt: skip
    assert [t.name for t in (*found.graph.input, *found.graph.output)] == ["x", "y"]


def test_what_the_spec_does_not_ask_for_is_left_out(tmp_path):
    nodes = [node("Relu", "x", "y"), node("Exp", "x", "more", "exp")]
    found, _ = brought(model(nodes, {"x": (1, 2)}, {"y": (1, 2), "more": (1, 2)}), TINY, tmp_path)
    assert ops(found) == ["Relu"]


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (relu({"a": ("n", 2)}, {"y": (1, 2)}, "a y"),
         r"no input 'x' for the spec's 'x'; it has 'a' float32 \(n, 2\): say under \[names\]"),
        (relu({"x": (1, 2)}, {"z": (1, 2)}, "x z"), r"no output 'y'.*it has 'z' float32 \(1, 2\)"),
        (relu({"x": (1, 3)}, {"y": (1, 3)}),
         r"input 'x': the spec wants float32 \(1, 2\), the file has 'x' float32 \(1, 3\): one of"),
        (model([node("Concat", "x x", "y", axis=1)], {"x": (1, 2)}, {"y": ("n", "m")}),
         r"output 'y': .*\(1, 2\), the file has 'y' float32 \(n, m\), which is \(1, 4\) here"),
        (model([node("Add", "x b", "y")], {"x": (1, 2), "b": (1, 2)}, {"y": (1, 2)}),
         r"the file also wants 'b' float32 \(1, 2\): the spec has no input or state for it"),
        (model([node("Cast", "x", "y", to=1)], [tensor("x", (1, 2), TensorProto.INT64)],
               [tensor("y", (1, 2))]),
         r"the file has 'x' int64 \(1, 2\): cast inside the network"),
        (model([node("Log", "m", "y"), node("Sub", "c x", "m", "s")][::-1], {"x": (1, 2)},
               {"y": (1, 2)}, {"c": np.float32(-9)}), "says nothing but NaN: give examples"),
    ],
    ids=["input", "output", "size", "result", "more", "type", "nan"],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_both_sides(file, says, tmp_path):
    with pytest.raises(ExportError, match=says):
        brought(file, TINY, tmp_path)
    assert not (tmp_path / "out" / MODEL).exists()


def test_a_rule_that_is_broken_is_refused(tmp_path):
    file = model([node("NonZero", "x", "n", "nz"), node("Cast", "n", "f", "c", to=1),
                  node("ReduceSum", "f", "s", "sum", keepdims=1), node("Add", "x s", "y")],
                 {"x": (1, 2)}, {"y": (1, 2)})  # fmt: skip
    with pytest.raises(ExportError, match="(?s)static-shapes.*NonZero 'nz'.*remedy"):
        brought(file, TINY, tmp_path)


def test_real_examples_are_used_and_must_fit(tmp_path):
    path = save(relu({"x": (1, 2)}, {"y": (1, 2)}), tmp_path)
    with pytest.raises(ExportError, match=r"an example has \(2,\) for 'x', which is \(1, 2\)"):
        bring(path, tmp_path / MODEL, contract(TINY), [{"x": np.zeros(2)}])
    assert bring(path, tmp_path / MODEL, contract(TINY), [{"x": np.zeros((1, 2))}]).spec == TINY


def test_torn_and_other_files_are_refused(tmp_path):
    path = save(relu({"x": (1, 2)}, {"y": (1, 2)}), tmp_path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ExportError, match="is no ONNX file that can be read"):
        read(path)
    with pytest.raises(ExportError, match="is no ONNX file that can be read"):
        read(tmp_path / "nowhere.onnx")


# Streams


def sequence_file(net, time=5, **how):
    torch.manual_seed(0)
    for p in net.parameters():
        nn.init.normal_(p)
    names = {"input_names": ["emg"], "output_names": ["values"]}
    return traced(net, (torch.randn(1, time, 3),), **names, **how)


@QUIET
@pytest.mark.parametrize("open_batch", [True, False])
def test_a_network_trained_on_sequences_becomes_a_step_with_its_state_in_the_open(
    open_batch, tmp_path
):
    axes = {1: "time"} | ({0: "batch"} if open_batch else {})
    file = sequence_file(Sequence(), dynamic_axes={"emg": axes, "values": axes})
    found, result = brought(file, ARM, tmp_path)
    assert "GRU" not in ops(found)
    assert check(found) == []
    (note,) = [n for n in result.notes if "memory" in n]
    assert note.startswith("its memory was opened; 8 steps beside the whole sequence: ")
    assert {t.name for t in found.graph.input} == {"emg", "h"}


@QUIET
def test_a_network_that_looks_at_several_steps_at_once_is_no_stream(tmp_path):
    class Smooth(nn.Module):
        def forward(self, x):
            before = nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]
            return x + before

    axes = {1: "time"}
    file = sequence_file(Sequence(Smooth()), dynamic_axes={"emg": axes, "values": axes})
    with pytest.raises(ExportError, match="looks at several steps at once"):
        brought(file, ARM, tmp_path)


@QUIET
def test_a_network_that_makes_one_step_of_two_samples_is_no_stream(tmp_path):
    class Halved(nn.Module):
        def forward(self, x):
            return nn.functional.avg_pool1d(x.transpose(1, 2), 2, 2, 1).transpose(1, 2)

    axes = {1: "time"}
    file = sequence_file(Sequence(Halved()), dynamic_axes={"emg": axes, "values": axes})
    with pytest.raises(ExportError, match="8 places along 'time' .* make 5 steps"):
        brought(file, ARM, tmp_path)


@QUIET
def test_where_time_is_one_step_there_is_nothing_to_compare_with(tmp_path):
    _, result = brought(sequence_file(Sequence(), time=1), ARM, tmp_path)
    assert any("so no sequence could be compared" in n for n in result.notes)


@QUIET
def test_a_network_that_would_forget_is_refused_with_what_the_spec_must_say(tmp_path):
    axes = {1: "time"}
    file = sequence_file(Sequence(), dynamic_axes={"emg": axes, "values": axes})
    forgetful = ModelSpec("arm", (EMG,), OUTPUTS, 10.0)
    with pytest.raises(ExportError, match=r'input = "h0", output = "h0_next", shape = \[1, 6\]'):
        brought(file, forgetful, tmp_path)


@QUIET
def test_half_a_state_is_refused(tmp_path):
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.core, self.out = nn.GRU(3, 6, batch_first=True), nn.Linear(6, 2)

        def forward(self, x, h):
            return self.out(self.core(x, h)[0])

    file = traced(Half(), (torch.randn(1, 1, 3), torch.randn(1, 1, 6)),
                  input_names=["emg", "h"], output_names=["values"])  # fmt: skip
    with pytest.raises(ExportError, match="state 'h': the file has its input but not its output"):
        brought(file, ARM, tmp_path)


def test_states_of_a_network_that_has_none_are_refused(tmp_path):
    file = model([node("ReduceMean", "emg", "m", "mean", axes=[2], keepdims=0),
                  node("Concat", "m m", "values", axis=1)],
                 {"emg": (1, 1, 3)}, {"values": (1, 2)})  # fmt: skip
    with pytest.raises(
        ExportError, match=r"the spec has inputs \['emg', 'h'\] .* network \['emg'\]"
    ):
        brought(file, ARM, tmp_path)


# The spec file

TOML = """
name = "tiny"
period_ms = 10
values = "y"
[[inputs]]
name = "x"
shape = [1, 2]
source = "us"
[[outputs]]
name = "angle"
unit = "deg"
[[outputs]]
name = "torque"
unit = "N m"
min = -20
[names]
x = "input_1"
[axes]
x = [1, 0]
"""


def test_a_spec_file_of_toml_or_json(tmp_path):
    (tmp_path / "spec.toml").write_text(TOML)
    found = read_contract(tmp_path / "spec.toml")
    assert found.spec.outputs[1] == Output("torque", "N m", min=-20)
    assert (found.names, found.axes) == ({"x": "input_1"}, {"x": (1, 0)})
    raw = json.loads(TINY.to_json()) | {"names": {"y": "out"}}
    (tmp_path / "spec.json").write_text(json.dumps(raw))
    assert read_contract(tmp_path / "spec.json") == Contract(TINY, {"y": "out"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "cannot read the spec"),
        (TOML.replace('x = "input_1"', 'z = "input_1"'), r"\[names\] may speak of \['x', 'y'\]"),
        (TOML.replace('x = "input_1"', "x = 3"), r"\[names\] must be texts"),
        (TOML.replace("[1, 0]", "[1, 1]"), "must name each axis once"),
        (TOML.replace('unit = "deg"', ""), "spec has a missing or unknown field"),
    ],
)
def test_a_spec_file_that_cannot_be_used(text, says, tmp_path):
    (tmp_path / "spec.toml").write_text(text)
    with pytest.raises(ExportError, match=says):
        read_contract(tmp_path / "spec.toml")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.sampled_from(["names", "axes", "inputs", "states", "values"]), JUNK)
def test_whatever_stands_in_a_spec_file_it_is_a_contract_or_an_error(field, junk):
    try:
        found = contract_of(json.loads(TINY.to_json()) | {field: junk})
    except (ExportError, SpecError):
        return
    assert isinstance(found.spec, ModelSpec)


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_what_aligns_holds_the_same_numbers_in_the_same_order(shape, data):
    """A shape with ones added, taken away and sizes left open, is found again, or not at all."""
    wanted, there = tuple(shape), []
    for n in shape:
        there += [1] * data.draw(st.integers(0, 1)) + (
            [n] if n > 1 or data.draw(st.booleans()) else []
        )
    opened = [data.draw(st.sampled_from([n, None, "batch"])) for n in there]
    found = aligned(wanted, opened)
    if found is not None:
        assert [n for n in found if n != 1] == [n for n in wanted if n != 1]
        assert len(found) == len(opened)
        assert all(f == o for f, o in zip(found, opened, strict=True) if isinstance(o, int))
    if opened == there:
        assert found == tuple(there)
