from dataclasses import replace

import pytest
import torch

from training.augment_segments import NO, UNKNOWN, YES, Change, change

STILL = Change(
    depth=(1, 1), width=(1, 1), shift=0, tilt=0, warp=0, flip=0, fade=0, gamma=0, gain=0,
    depth_gain=0, speckle=0, noise=0, blur=0, shadow=0, contact=0, none=0,
)  # fmt: skip


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.fixture
def layers():
    """Pictures that are bright where the second map is."""
    label = torch.full((12, 3, 64, 64), float(NO))
    label[:, 1, :, 20:40] = YES
    label[:, 1, 30:, 25:40] = NO
    return 200 * (label[:, 1:2] == YES).float(), label


def test_no_change_leaves_everything_as_it_was(layers):
    picture, label = layers
    x, y = change(picture, label, STILL, 64, rng())
    torch.testing.assert_close(x, picture, atol=0.1, rtol=0)
    assert torch.equal(y, label)


def test_maps_move_with_the_picture(layers):
    picture, label = layers
    moving = replace(
        STILL, depth=(0.5, 1), width=(0.5, 1), shift=0.04, tilt=0.12, warp=0.1, flip=0.5
    )
    x, y = change(picture, label, moving, 64, rng())
    known = y[:, 1:2] != UNKNOWN
    agree = ((x > 100) == (y[:, 1:2] == YES))[known].float().mean()
    assert agree > 0.97  # but for the seam, where one is smooth and the other is not
    assert not torch.equal(y, label)


def test_outside_of_a_picture_nothing_is_known(layers):
    picture, label = layers
    x, y = change(picture, label, replace(STILL, depth=(1.5, 1.5)), 64, rng())
    assert (y[..., -15:] == UNKNOWN).all()
    assert x[..., -15:].max() < 1


def test_where_the_probe_has_no_contact_nothing_is_to_be_found(layers):
    picture, label = layers
    x, y = change(picture, label, replace(STILL, contact=1), 64, rng())
    black = x[:, 0, :, 22] < 1
    ends = black[:, 0] | black[:, -1]
    assert ends.all()
    assert (y[:, 1, :, 22][black] == NO).all()


def test_a_picture_of_no_calf_has_no_maps(layers):
    picture, label = layers
    x, y = change(picture, label, replace(STILL, none=1), 64, rng())
    assert (y == NO).all()
    assert (x - picture).abs().mean(dim=(1, 2, 3)).min() > 1


def test_brightness_stays_in_range_and_repeats_from_its_seed(layers):
    picture, label = layers
    x, y = change(picture, label, Change(), 48, rng())
    assert x.shape == (12, 1, 48, 48)
    assert y.shape == (12, 3, 48, 48)
    assert 0 <= x.min() < x.max() <= 255
    again, _ = change(picture, label, Change(), 48, rng())
    assert torch.equal(again, x)
