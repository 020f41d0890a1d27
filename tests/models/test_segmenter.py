import numpy as np
import onnxruntime as ort
import pytest
import torch

from export.onnx import export_onnx
from models.segmenter import MAPS, Segmenter, SegmenterConfig, own_scale
from models.spec import ModelSpec
from training.frames import IMAGE

SMALL = SegmenterConfig(widths=(4, 8), fine=4, deepest=1)


@pytest.fixture(scope="module")
def net() -> Segmenter:
    torch.manual_seed(1)
    return Segmenter(SMALL).eval()


def test_every_pixel_has_a_probability_of_each_map(net):
    with torch.inference_mode():
        maps = net(torch.randn(2, 1, 32, 48))
    assert maps.shape == (2, len(MAPS), 32, 48)
    assert 0 < maps.min() < maps.max() < 1


@pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.0), (0.5, 1.0), (1.0, -2.0)])
def test_gain_and_offset_of_the_scanner_change_nothing(net, gain, offset):
    picture = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(net(gain * picture + offset), net(picture), atol=1e-4, rtol=0)


def test_a_flat_picture_is_not_stretched_to_noise():
    black = torch.full((1, 1, 16, 16), -1.0)
    assert own_scale(black).abs().max() == 0
    hum = black + 1e-3 * torch.randn(black.shape)
    assert own_scale(hum).abs().max() < 0.1


def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch(net):
    pictures = torch.rand(3, 1, 32, 32)
    with torch.inference_mode():
        together, alone = net(pictures), net(pictures[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("corner", [np.s_[:20, :20], np.s_[-20:, :20], np.s_[-20:, -20:]])
def test_the_middle_of_the_shipped_size_sees_the_corners(corner):
    torch.manual_seed(1)
    net = Segmenter(SegmenterConfig()).double().eval()
    picture = torch.rand(1, 1, 128, 128, dtype=torch.float64)
    changed = picture.clone()
    # Mirrored: mean and standard deviation, which every pixel sees anyway, stay.
    changed[0, 0][corner] = picture[0, 0][corner].flip(0)
    with torch.inference_mode():
        moved = (net.logits(changed) - net.logits(picture))[..., 64, 64].abs()
    assert moved.max() > 1e-12


def test_it_exports_with_one_output_that_the_spec_names(net, tmp_path):
    spec = ModelSpec("s", (IMAGE,), (), 10.0, values="", maps="maps", map_names=MAPS)
    picture = np.random.default_rng(1).normal(0, 1, (1, 1, 128, 128)).astype(np.float32)
    assert export_onnx(net, spec, [{"image": picture}], tmp_path / "model.onnx").relative < 1e-5
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (out,) = session.get_outputs()
    assert (out.name, out.shape) == ("maps", [1, 3, 128, 128])
