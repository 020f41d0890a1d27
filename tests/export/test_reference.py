"""Reference inputs and outputs of a network, and the device that repeats them."""

import numpy as np
import torch
from torch import nn

from edge.bundle import MODEL, REFERENCE
from edge.reference import compare_with, read_reference
from edge.runtime import open_engine
from export.bundle import write_bundle
from export.onnx import export_onnx
from export.reference import MOST_BYTES, STEPS, reference_of, torch_reference
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec, State

SPEC = ModelSpec(
    "m",
    (Input("x", (1, 2), "emg", rate_hz=100.0, hop=1, channels=("a", "b")),),
    (Output("y", "N m"),),
    10.0,
    sd="sd",
    states=(State("h", "h_next", (1, 2)),),
)


class Leaky(nn.Module):
    """Half of its state, and what comes in."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.7], [-0.3]]))

    def forward(self, x, h):
        h = 0.5 * h + x
        return h @ self.weight, h.abs().sum(1, keepdim=True), h


def examples(n):
    rng = np.random.default_rng(0)
    return [{"x": rng.normal(size=(1, 2)).astype(np.float32)} for _ in range(n)]


def test_what_pytorch_said_is_what_the_device_says(tmp_path):
    net, given = Leaky().eval(), examples(20)
    export_onnx(net, SPEC, [{**given[0], "h": np.ones((1, 2), np.float32)}], tmp_path / MODEL)
    (tmp_path / REFERENCE).write_bytes(torch_reference(net, SPEC, given))
    bundle = write_bundle(tmp_path, SPEC, "card", {})
    reference = read_reference(bundle.files[REFERENCE])
    assert {k: v.shape for k, v in reference.items()} == {
        "x": (20, 1, 2), "h": (20, 1, 2), "values": (20, 1, 1), "sd": (20, 1, 1),
    }  # fmt: skip
    np.testing.assert_array_equal(reference["h"][0], 0)
    np.testing.assert_array_equal(reference["h"][1], given[0]["x"])
    engine = open_engine(bundle)
    found = compare_with(reference, SPEC, engine)
    engine.close()
    assert found.keys() == {"y", "sd"}
    assert all(off.worst < 1e-6 for off in found.values())


def test_it_is_as_long_as_is_worth_repeating():
    def network(feed):
        return {"values": feed["x"], "sd": feed["x"], "h_next": feed["h"]}

    assert len(read_reference(reference_of(network, SPEC, examples(99)))["x"]) == STEPS
    large = ModelSpec("m", (Input("x", (MOST_BYTES // 8,), "us"),), SPEC.outputs, 10.0)
    rows = ({"x": np.zeros(MOST_BYTES // 8, np.float32)} for _ in range(9))
    assert len(read_reference(reference_of(network_of_one, large, rows))["x"]) == 1


def network_of_one(feed):
    return {"values": feed["x"]}
