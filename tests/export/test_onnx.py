from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edge.bundle import MODEL, BundleError, load_bundle
from export.bundle import write_bundle
from export.onnx import compare, export_onnx
from export.onnx_graph import ExportError
from export.onnx_rules import check
from export.onnx_spec import SOURCE, spec_of
from export.opset import IR_VERSION, OPSET
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
    assert export_onnx(net, SPEC, images(5), tmp_path / "new" / MODEL).relative < 1e-5


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

    with pytest.raises(ExportError, match=r"of example 0 the network itself says NaN: \['sd'\]"):
        export_onnx(Broken(), SPEC, images(1), tmp_path / MODEL)
    assert not (tmp_path / MODEL).exists()


def test_the_difference_is_told_of_each_output_in_its_own_unit(net, tmp_path):
    export_onnx(net, SPEC, images(1), tmp_path / MODEL)
    with torch.no_grad():
        other = Small().eval()
        other.load_state_dict(net.state_dict())
        other.value.bias += torch.tensor([0.25, -1e-5])
    with pytest.raises(ExportError, match=r"angle 0.25 deg, torque 1e-05 N m, angle SD \S+ deg"):
        compare(other, SPEC, images(3), tmp_path / MODEL)


def test_the_file_carries_its_contract_and_what_made_it(net, tmp_path):
    export_onnx(net, SPEC, images(1), tmp_path / MODEL)
    model = onnx.load(tmp_path / MODEL)
    assert spec_of(model) == SPEC
    assert model.producer_name == "sonomyo"
    kept = {p.key: p.value for p in model.metadata_props}
    assert kept[SOURCE] == f"pytorch {torch.__version__.partition('+')[0]}"
    # A device has no onnx, but it has this.
    session = ort.InferenceSession(tmp_path / MODEL, providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map["sonomyo.spec"]
    assert ModelSpec.from_json(told) == SPEC


def test_a_file_without_a_contract_has_none_and_one_that_cannot_be_used_is_refused():
    file = onnx.ModelProto()
    assert spec_of(file) is None
    file.metadata_props.add(key="sonomyo.spec", value='{"version": 1}')
    with pytest.raises(ExportError, match="metadata cannot be used: spec has a missing"):
        spec_of(file)


def test_the_same_network_gives_the_same_bytes(net, tmp_path):
    for name in "ab":
        export_onnx(net, SPEC, images(1), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class Normed(nn.Module):
    """A layer norm, and shapes that the exporter leaves to be computed."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(32), nn.Linear(32, 2)

    def forward(self, image):
        f = self.norm(image.reshape(image.shape[0], -1, image.shape[3]))
        said = self.out(f.mean(1))
        return said, said.exp()


@pytest.mark.parametrize(
    ("targets", "kept"), [(["8.5", "11.4"], False), (["8.6", "10.3"], True)], ids=["8.5", "8.6"]
)
def test_a_layer_norm_stays_where_every_version_reads_it(targets, kept, tmp_path):
    torch.manual_seed(0)
    export_onnx(Normed(), SPEC, images(2), tmp_path / MODEL, targets)
    model = onnx.load(tmp_path / MODEL)
    found = {n.op_type for n in model.graph.node}
    assert ("LayerNormalization" in found) == kept
    assert not found & {"Shape", "Gather", "Concat", "Constant"}
    assert check(model, targets) == []


def test_a_network_that_some_version_would_not_run_is_refused_with_a_remedy(tmp_path):
    class Noisy(nn.Module):
        def forward(self, image):
            value = image.mean((2, 3)) + torch.randn(1, 2)
            return value, value.exp()

    with pytest.raises(ExportError, match=r"(?s)refuse random .*remedy: export in eval mode"):
        export_onnx(Noisy(), SPEC, images(1), tmp_path / MODEL)
    assert not (tmp_path / MODEL).exists()


def test_the_infinity_of_a_mask_becomes_a_number(tmp_path):
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mask = nn.Buffer(torch.tensor([[0.0, -torch.inf] * 16]))

        def forward(self, image):
            said = torch.softmax(image[:, 0, :2] + self.mask, 2).amax(2)
            return said, said.exp()

    assert export_onnx(Masked(), SPEC, images(2), tmp_path / MODEL).relative < 1e-6
    for weights in onnx.load(tmp_path / MODEL).graph.initializer:
        assert np.isfinite(onnx.numpy_helper.to_array(weights)).all()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # PyTorch's GRU checks its sizes
def test_what_is_only_slow_is_said(tmp_path, caplog):
    class Window(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.out = nn.GRU(32, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, image):
            said = self.out(self.gru(image[:, 0])[0][:, -1])
            return said, said.exp()

    torch.manual_seed(0)
    export_onnx(Window(), SPEC, images(1), tmp_path / MODEL)
    assert "warn recurrent-loop" in caplog.text
    assert "a loop of 32 steps" in caplog.text


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
