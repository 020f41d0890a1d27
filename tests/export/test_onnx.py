from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edge.bundle import MODEL, BundleError, load_bundle
from export.bundle import write_bundle
from export.onnx import IR_VERSION, OPSET, ExportError, compare, export_onnx
from firmware_bridge.types import Output
from models.plain_cnn import conv
from models.spec import Input, ModelSpec

SPEC = ModelSpec(
    "calf",
    (Input("image", (1, 1, 32, 32), "us"),),
    (Output("angle", "deg"), Output("torque", "N m")),
    10.0,
    sd="sd",
)


class Small(nn.Module):
    """Two convolutions with batch norms, and two outputs with their doubt."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(conv(1, 4, stride=2), conv(4, 8, stride=2), nn.Flatten())
        self.value, self.log_sd = nn.Linear(512, 2), nn.Linear(512, 2)

    def forward(self, image):
        f = self.maps(image)
        return self.value(f), self.log_sd(f).exp()


@pytest.fixture(scope="module")
def net() -> Small:
    torch.manual_seed(1)
    net = Small().train()
    net(torch.randn(64, 1, 32, 32) + 1)  # so that the batch norms have something to fold
    return net.eval()


def images(n: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"image": rng.normal(0, 1, (1, 1, 32, 32)).astype(np.float32)} for _ in range(n)]


def test_the_file_does_what_the_network_does(net, tmp_path: Path):
    assert export_onnx(net, SPEC, images(5), tmp_path / "new" / MODEL) < 1e-5


def test_the_graph_is_static_folded_and_of_a_version_devices_read(net, tmp_path):
    export_onnx(net, SPEC, images(1), tmp_path / MODEL)
    model = onnx.load(tmp_path / MODEL)
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET)
    assert "BatchNormalization" not in {n.op_type for n in model.graph.node}
    shapes = {
        t.name: [d.dim_value for d in t.type.tensor_type.shape.dim]
        for t in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {"image": [1, 1, 32, 32], "values": [1, 2], "sd": [1, 2]}


def test_another_networks_file_is_refused(net, tmp_path):
    export_onnx(net, SPEC, images(1), tmp_path / MODEL)
    with torch.no_grad():
        other = Small().eval()
        other.load_state_dict(net.state_dict())
        other.value.bias += 1
    with pytest.raises(ExportError, match="differs from the network"):
        compare(other, SPEC, images(1), tmp_path / MODEL)


def test_a_network_that_gives_nan_is_refused(tmp_path):
    class Broken(nn.Module):
        def forward(self, image):
            value = image.mean((1, 2, 3)).reshape(1, 1).expand(1, 2)
            return value, torch.log(-value.abs() - 1)

    with pytest.raises(ExportError):
        export_onnx(Broken(), SPEC, images(1), tmp_path / MODEL)


def test_a_written_bundle_reads_back(net, tmp_path):
    export_onnx(net, SPEC, images(1), tmp_path / MODEL)
    bundle = write_bundle(tmp_path, SPEC, "the card", {"metrics.json": "{}"})
    assert load_bundle(str(tmp_path)) == bundle
    assert (tmp_path / "CARD.md").read_text() == "the card"
    (tmp_path / "metrics.json").write_text("[]")
    with pytest.raises(BundleError, match=r"metrics.json is not the file"):
        load_bundle(str(tmp_path))


def test_a_bundle_needs_its_network_first(tmp_path):
    with pytest.raises(BundleError, match="export the network there first"):
        write_bundle(tmp_path, SPEC, "card", {})
    assert list(tmp_path.iterdir()) == []
