from dataclasses import replace

import numpy as np
import pytest
import torch

from models.state_cnn import StateCnnConfig, cut
from training.augment import Augment
from training.state_data import MEAN, STD, Pictures, borrow, regions


@pytest.mark.parametrize("config", [StateCnnConfig("strided", widths=(4,)), StateCnnConfig()])
def test_moving_a_picture_moves_its_maps_with_it(config, drawn_legs):
    images, maps = drawn_legs(1, 4).on("cpu")
    far = Augment(gain=0, offset=0, depth_gain=0, shift=0.1, scale=0, speckle=0)
    x = regions(images, maps, config, far, torch.Generator().manual_seed(2))
    still = regions(images, maps, config)
    mask = x.shape[1] // 2  # the second half of the channels are masks, MG's first
    assert (x[:, mask:] - still[:, mask:]).abs().max() > 0.9
    # Where the moved MG mask is empty the moved MG picture is, too.
    assert x[:, 0][x[:, mask] == 0].abs().max() == 0


def test_regions_without_changes_repeat(drawn_legs):
    images, maps = drawn_legs(1, 2).on("cpu")
    x = regions(images, maps, StateCnnConfig())
    torch.testing.assert_close(x, regions(images, maps, StateCnnConfig()), rtol=0, atol=0)
    assert x.dtype == torch.float32


@pytest.mark.parametrize("config", [StateCnnConfig("strided", widths=(4,)), StateCnnConfig()])
def test_training_reads_dark_pixels_as_the_device_does(config, drawn_legs):
    legs = drawn_legs(1, 2)
    dark = np.random.default_rng(1).integers(0, 2 * int(MEAN), legs.images.shape, np.uint8)
    x = regions(torch.from_numpy(dark), torch.from_numpy(legs.maps), config)
    prepared = (dark.astype(np.float32)[:, None] - MEAN) / STD
    maps = torch.from_numpy(legs.maps / np.float32(255))
    torch.testing.assert_close(x, cut(torch.from_numpy(prepared), maps, config))


def test_read_only_memory_is_borrowed_in_silence():
    array = np.arange(4)
    array.flags.writeable = False  # as a process gets it from Ray
    assert borrow(array).tolist() == [0, 1, 2, 3]


def test_what_does_not_belong_together_is_refused(drawn_legs):
    data = drawn_legs(1, 3)
    with pytest.raises(ValueError, match="do not belong together"):
        Pictures(data.images, data.maps[:2], data.person)
    with pytest.raises(ValueError, match="are uint8"):
        Pictures(data.images.astype(np.float32), data.maps, data.person)
    with pytest.raises(ValueError, match="not finite"):
        replace(data, targets=np.full((3, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="anatomy"):
        replace(data, anatomy=data.anatomy[:, :5])
