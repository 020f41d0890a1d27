import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis

from models.state_cnn import FLOOR, LOST, StateCnn, StateCnnConfig, cut, rois

SMALL = StateCnnConfig("strided", pixels=32, widths=(4, 6), squeeze=3, hidden=8)
SIZES = {
    "pooled": StateCnnConfig("pooled", hidden=8),
    "pooled, physics": StateCnnConfig("pooled", "physics", hidden=8),
    "strided": SMALL,
    "plain": StateCnnConfig("plain", pixels=32, widths=(4, 6), hidden=8),
    "residual": StateCnnConfig("residual", pixels=32, widths=(4, 6), hidden=8),
}


def leg(n: int = 1, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Random pictures with MG and SOL as two layers."""
    image = torch.randn(n, 1, 128, 128, generator=torch.Generator().manual_seed(seed))
    maps = torch.zeros(n, 3, 128, 128)
    maps[:, 1, :, 20:60] = 1
    maps[:, 2, :, 64:110] = 1
    return image, maps


def net(config: StateCnnConfig = SMALL) -> StateCnn:
    torch.manual_seed(1)
    return StateCnn(config).eval()


def test_regions_are_the_muscles_standardised_inside_and_zero_outside():
    image, maps = leg()
    image[..., 64:110] += 2  # SOL is brighter
    x = rois(image, maps)
    both = (x[:, 0] + x[:, 1])[(maps[:, 1] + maps[:, 2]) > 0]
    assert abs(both.mean()) < 1e-4
    assert both.std() == pytest.approx(1, abs=0.01)
    assert x[:, 0][maps[:, 1] == 0].abs().max() == 0
    assert x[:, 1][maps[:, 2] == 0].abs().max() == 0
    torch.testing.assert_close(x[:, 2:], maps[:, 1:])
    # Standardised together: which of the two is brighter is not lost.
    assert x[:, 1].sum() > 0 > x[:, 0].sum()


@given(st.floats(0.3, 3), st.floats(-2, 2))
@settings(max_examples=20, deadline=None)
def test_regions_do_not_depend_on_the_scanners_gain_and_offset(gain, offset):
    image, maps = leg()
    torch.testing.assert_close(
        rois(gain * image + offset, maps), rois(image, maps), atol=0.03, rtol=0.03
    )


@pytest.mark.parametrize("level", [-1.0, 0.0, 4.1])
def test_without_muscle_or_contrast_regions_are_zero_never_nan(level):
    image, maps = torch.full((1, 1, 128, 128), level), leg()[1]
    assert rois(image, maps)[:, :2].abs().max() < 1e-3
    assert rois(leg()[0], torch.zeros_like(maps)).abs().max() == 0


def test_the_grain_of_a_flat_picture_is_not_made_tissue():
    image, maps = leg()
    grain = rois(0.05 * image, maps)[:, 0]
    assert grain.std() < 0.5
    assert rois(2 * FLOOR * image, maps)[:, 0].std() > 1.5 * grain.std()


@pytest.mark.parametrize("trunk", SIZES)
def test_every_trunk_answers_in_the_units_of_its_targets(trunk):
    n = net(SIZES[trunk])
    n.mean.copy_(torch.tensor([5.0, 0.5, 60.0]))
    n.scale.copy_(torch.tensor([10.0, 0.2, 40.0]))
    n.doubt.fill_(2.0)
    with torch.inference_mode():
        x = cut(*leg(3), n.config)
        values, sd = n(x)
        r = n.read(x)
    assert values.shape == sd.shape == (3, 3)
    torch.testing.assert_close(values, n.mean + n.scale * r.value)
    torch.testing.assert_close(sd, 2 * n.scale * r.log_sd.exp())


def test_two_channels_do_without_the_masks():
    config = StateCnnConfig("strided", pixels=32, widths=(4, 6), squeeze=3, hidden=8, masks=False)
    assert net(config)(rois(*leg(2), masks=False))[0].shape == (2, 3)


def test_sees_where_a_sheet_is_not_only_that_it_is_there():
    n = net()
    shallow, deep = torch.zeros(1, 4, 128, 128), torch.zeros(1, 4, 128, 128)
    shallow[..., 32:36] = 3
    deep[..., 80:84] = 3  # three whole steps of the last map away
    with torch.inference_mode():
        assert (n(shallow)[0] - n(deep)[0]).abs().max() > 1e-5


def test_doubt_does_not_shape_the_features_but_anatomy_does():
    n = net()
    x = rois(*leg(2))
    n.read(x).log_sd.sum().backward()
    assert all(p.grad is None for p in n.rest.parameters())
    n.read(x).anatomy.sum().backward()
    assert all(p.grad is not None for p in n.rest.parameters())


def test_distance_is_that_of_mahalanobis():
    n = net()
    rng = np.random.default_rng(1)
    size = len(n.imprint_mean)
    known = rng.standard_normal((200, size)) @ rng.standard_normal((size, size))
    inverse = np.linalg.inv(np.cov(known.T))
    n.imprint_mean.copy_(torch.from_numpy(known.mean(0)))
    n.imprint_whiten.copy_(torch.from_numpy(np.linalg.cholesky(inverse)))
    some = rng.standard_normal((4, size))
    found = n.distance(torch.from_numpy(some).float())
    wanted = [mahalanobis(x, known.mean(0), inverse) for x in some]
    np.testing.assert_allclose(found, wanted, rtol=1e-2)


@pytest.mark.parametrize("which", ["odd", "far"])
def test_either_test_alone_makes_a_picture_unknown(which):
    n = net()
    n.scale.copy_(torch.tensor([10.0, 0.2, 40.0]))
    x = rois(*leg())
    with torch.inference_mode():
        values, calm = n(x)
        limit = n.odd_limits if which == "odd" else n.far_limits
        limit.copy_(torch.tensor([-1e3, -1e2]))
        same, alarmed = n(x)
    torch.testing.assert_close(values, same)
    torch.testing.assert_close(alarmed, (calm**2 + (LOST * n.scale) ** 2).sqrt())
    n.reset_doubt()
    with torch.inference_mode():
        torch.testing.assert_close(n(x)[1], calm)


@given(st.floats(-1e6, 1e6))
@settings(max_examples=20, deadline=None)
def test_doubt_stays_finite_whatever_the_network_is_shown(level):
    image, maps = torch.full((1, 1, 128, 128), level), leg()[1]
    image[..., 5:9] *= -1
    with torch.inference_mode():
        values, sd = net()(rois(image, maps))
    assert torch.isfinite(values).all()
    assert torch.isfinite(sd).all()
    assert (sd > 0).all()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"trunk": "transformer"}, "pooled., .strided"),
        ({"pixels": 100}, "divide 128"),
        ({"trunk": "plain", "pixels": 8, "widths": (4, 4, 4, 4)}, "leave nothing"),
        ({"trunk": "plain"}, "needs model.widths"),
        ({"pixels": 64}, "pooled needs all 128"),
        ({"widths": (4, 4)}, "takes no widths"),
        ({"head": "neural"}, "linear or physics"),
        ({"head": "physics", "outputs": 1}, "outputs 2, 3"),
    ],
)
def test_sizes_that_do_not_fit_are_named(wrong, says):
    with pytest.raises(ValueError, match=says):
        StateCnnConfig(**wrong)
