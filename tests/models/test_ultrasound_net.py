import numpy as np
import pytest
import torch

from export.onnx import export_onnx
from firmware_bridge.types import Output
from models.committee import Committee
from models.segmenter import MAPS, Segmenter, SegmenterConfig
from models.spec import Input, ModelSpec
from models.state_cnn import STATE, StateCnn, StateCnnConfig, cut
from models.ultrasound_net import UltrasoundNet

SPEC = ModelSpec(
    "state",
    (Input("image", (1, 1, 128, 128), "us"),),
    tuple(Output(name, "") for name in STATE),
    period_ms=16.0,
    sd="sd",
    maps="maps",
    map_names=MAPS,
)

SIZES = {
    "pooled": StateCnnConfig("pooled", hidden=8),
    "physics": StateCnnConfig("pooled", "physics", hidden=8),
    "strided": StateCnnConfig("strided", pixels=32, widths=(4, 6), squeeze=3, hidden=8),
}


def network(size: str) -> UltrasoundNet:
    torch.manual_seed(1)
    segmenter = Segmenter(SegmenterConfig(widths=(4, 4), fine=2, deepest=1))
    return UltrasoundNet(segmenter, Committee([StateCnn(SIZES[size])])).eval()


@pytest.mark.parametrize("size", SIZES)
def test_values_rest_on_the_maps_it_shows(size):
    net, image = network(size), torch.randn(2, 1, 128, 128)
    with torch.inference_mode():
        values, sd, maps = net(image)
        (one,) = net.state.members
        again = one(cut(image, maps, one.config))
    assert maps.shape == (2, 3, 128, 128)
    torch.testing.assert_close((values, sd), again)


@pytest.mark.parametrize("size", SIZES)
def test_exports_as_one_graph_with_its_gate(size, tmp_path):
    net = network(size)
    rng = np.random.default_rng(1)
    images = [rng.standard_normal((1, 1, 128, 128), np.float32), np.full((1, 1, 128, 128), -1.0)]
    (one,) = net.state.members
    with torch.inference_mode():
        image = torch.from_numpy(images[0])
        regions = cut(image, net.segmenter(image), one.config)
        far = one.distance(one.read(regions).imprint)
    # Between closed and open for the first picture, so that the ramp itself is compared.
    one.far_limits.copy_(torch.tensor([0.5, 1.5]) * far)
    examples = [{"image": x.astype(np.float32)} for x in images]
    assert export_onnx(net, SPEC, examples, tmp_path / "model.onnx").relative < 1e-4
