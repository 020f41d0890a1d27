"""Small real bundles: their outputs can be computed by hand."""

import hashlib
import json

import onnx
import pytest
from onnx import TensorProto, helper

from firmware_bridge.types import Geometry, Output
from models.spec import Input, ModelSpec, State, Step

GEOMETRY = Geometry("bmode", lines=4, samples=6, dz_mm=0.2, dx_mm=0.3)
FS_HZ = 1000.0
HOP = 10


def write_bundle(folder, spec, graph):
    """A bundle folder from a spec and an ONNX graph."""
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    index = {"format": 1, "spec": json.loads(spec.to_json()), "files": {"model.onnx": digest}}
    (folder / "bundle.json").write_text(json.dumps(index))
    return folder


def tensor(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.fixture
def brightness(tmp_path):
    """Ultrasound only: the mean brightness of the frame."""
    spec = ModelSpec(
        "brightness",
        (Input("image", (1, 1, 4, 6), "us", kind="bmode"),),
        (Output("brightness", "1", 0.0, 255.0),),
        period_ms=10.0,
    )
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "one"], ["values"]),
    ]
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(
        nodes, "g", [tensor("image", (1, 1, 4, 6))], [tensor("values", (1, 1))], [one]
    )
    return write_bundle(tmp_path / "brightness", spec, graph)


@pytest.fixture
def doubter(tmp_path):
    """Mean brightness b and SD 1 / log(b - 1): NaN for b = 0, 0 for 1, inf for 2, 1.44 for 3.

    Larger than 1 it is too much.  It also draws the picture it saw as a map.
    """
    spec = ModelSpec(
        "doubter",
        (Input("image", (1, 1, 4, 6), "us", kind="bmode"),),
        (Output("brightness", "1", 0.0, 255.0, max_sd=1.0),),
        period_ms=10.0,
        sd="sd",
        maps="seen",
        map_names=("bright",),
    )
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "one"], ["values"]),
        helper.make_node("Sub", ["values", "unit"], ["less"]),
        helper.make_node("Log", ["less"], ["log"]),
        helper.make_node("Reciprocal", ["log"], ["sd"]),
        helper.make_node("Identity", ["image"], ["seen"]),
    ]
    constants = [
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("unit", TensorProto.FLOAT, [1], [1.0]),
    ]
    graph = helper.make_graph(
        nodes, "g", [tensor("image", (1, 1, 4, 6))],
        [tensor("values", (1, 1)), tensor("sd", (1, 1)), tensor("seen", (1, 1, 4, 6))], constants,
    )  # fmt: skip
    return write_bundle(tmp_path / "doubter", spec, graph)


@pytest.fixture
def mapper(tmp_path):
    """Draws two maps of a frame and estimates nothing."""
    spec = ModelSpec(
        "mapper",
        (Input("image", (1, 1, 4, 6), "us", kind="bmode"),),
        (),
        period_ms=10.0,
        values="",
        maps="seen",
        map_names=("bright", "again"),
    )
    nodes = [helper.make_node("Concat", ["image", "image"], ["seen"], axis=1)]
    graph = helper.make_graph(
        nodes, "g", [tensor("image", (1, 1, 4, 6))], [tensor("seen", (1, 2, 4, 6))]
    )
    return write_bundle(tmp_path / "mapper", spec, graph)


@pytest.fixture
def adder(tmp_path):
    """EMG only, recurrent: the running sum of the mean rectified EMG of each hop."""
    spec = ModelSpec(
        "adder",
        (
            Input(
                "emg", (1, 1), "emg", (Step("rectify"), Step("bin")),
                rate_hz=FS_HZ, hop=HOP, channels=("TA",),
            ),
        ),
        (Output("sum", "uV"),),
        period_ms=10.0,
        states=(State("h", "h_next", (1, 1)),),
    )  # fmt: skip
    nodes = [
        helper.make_node("Add", ["emg", "h"], ["values"]),
        helper.make_node("Identity", ["values"], ["h_next"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [tensor("emg", (1, 1)), tensor("h", (1, 1))],
        [tensor("values", (1, 1)), tensor("h_next", (1, 1))],
    )  # fmt: skip
    return write_bundle(tmp_path / "adder", spec, graph)


@pytest.fixture
def seer(tmp_path):
    """EMG only: the mean rectified EMG x of each hop, as it was 5 ms ago; it will be 2 x and 3 x.

    Foreseen 10 and 30 ms ahead.
    """
    spec = ModelSpec(
        "seer",
        (
            Input(
                "emg", (1, 1), "emg", (Step("rectify"), Step("bin")),
                rate_hz=FS_HZ, hop=HOP, channels=("TA",),
            ),
        ),
        (Output("now", "uV", 0.0, 1e4),),
        period_ms=10.0,
        delay_ms=5.0,
        ahead="ahead",
        ahead_ms=(10.0, 30.0),
    )  # fmt: skip
    nodes = [
        helper.make_node("Identity", ["emg"], ["values"]),
        helper.make_node("Mul", ["emg", "factors"], ["ahead"]),
    ]
    factors = helper.make_tensor("factors", TensorProto.FLOAT, [1, 2], [2.0, 3.0])
    graph = helper.make_graph(
        nodes, "g", [tensor("emg", (1, 1))], [tensor("values", (1, 1)), tensor("ahead", (1, 2))],
        [factors],
    )  # fmt: skip
    return write_bundle(tmp_path / "seer", spec, graph)
