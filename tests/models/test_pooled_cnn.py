"""The fixed looks of a picture: what they answer to, and what leaves them alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from models.pooled_cnn import (
    BORDER,
    DIRECTIONS,
    ENERGIES,
    LOOKS,
    PLACES,
    REGIONS,
    WAVES,
    OrientedEnergy,
    averages,
    form,
    looks,
)
from models.state_cnn import rois_and_sheets

STEP_DEG = 180 / DIRECTIONS
BANK = OrientedEnergy()


def leg(n: int = 1) -> torch.Tensor:
    """Maps ``(n, 3, 128, 128)``: MG and SOL as two layers between three sheets."""
    maps = torch.zeros(n, 3, 128, 128)
    maps[:, 1, :, 20:60] = 1
    maps[:, 2, :, 64:110] = 1
    maps[:, 0, :, 16:20] = maps[:, 0, :, 60:64] = maps[:, 0, :, 110:114] = 1
    return maps


def tissue(seed: int) -> torch.Tensor:
    """Speckle with a grain of a few pixels, standard deviation 1, the right side joins the left."""
    noise = np.random.default_rng(seed).standard_normal((128, 128))
    grain = ndimage.gaussian_filter(noise, (3, 1.2), mode="wrap")
    return torch.from_numpy((grain / grain.std()).astype(np.float32))[None, None]


def whole(picture: torch.Tensor) -> torch.Tensor:
    """Regions of a picture ``(n, 1, 128, 128)`` that is MG everywhere."""
    nothing = torch.zeros(len(picture), 2, 128, 128)
    return torch.cat([picture, nothing, torch.ones_like(picture), nothing], 1)


def seen(picture: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    regions = rois_and_sheets(picture, maps)
    return looks(BANK(regions), regions)


@given(st.floats(0, 180), st.sampled_from(range(len(WAVES))), st.floats(0, 6))
@settings(max_examples=40, deadline=None)
def test_streaks_answer_in_their_own_direction(angle_deg, scale, phase):
    x, z = np.indices((128, 128))
    a = np.deg2rad(angle_deg)
    across = z * np.cos(a) - x * np.sin(a)  # streaks that run deeper towards larger x
    grating = np.cos(2 * np.pi * across / WAVES[scale] + phase)
    energy = BANK(whole(torch.from_numpy(grating.astype(np.float32))[None, None]))
    middle = energy[0, :, 16:48, 16:48].mean((1, 2)).reshape(len(WAVES), DIRECTIONS)
    best = STEP_DEG * int(middle[scale].argmax())
    away = abs((best - angle_deg + 90) % 180 - 90)
    assert away <= STEP_DEG
    assert middle[scale].max() > 5 * middle[scale].min()


def test_every_filter_has_norm_one_and_is_blind_to_mere_brightness():
    norms = BANK.kernels.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(2 * ENERGIES))
    bright = BANK(whole(torch.full((1, 1, 128, 128), 4.0)))
    assert bright.shape == (1, ENERGIES, 64, 64)
    assert bright[:, :, 4:-4, 4:-4].max() < 1e-9  # the border of the window is an edge


def test_the_energy_of_streaks_does_not_depend_on_where_they_are():
    x = torch.arange(128.0)
    waves = [torch.cos(2 * torch.pi * x / WAVES[1] + p) for p in (0.0, 1.0, 2.0, 3.0)]
    pictures = torch.stack([w.expand(128, 128) for w in waves])[:, None]
    along = BANK(whole(pictures))[:, DIRECTIONS, 16:48, 16:48].mean((1, 2))  # direction 0
    assert along.max() < 1.01 * along.min()


def test_the_sides_of_the_picture_are_no_streaks():
    regions = rois_and_sheets(-leg()[:, 1:2], leg())  # MG evenly dark, cut off left and right
    mean = averages(BANK(regions), regions[:, 3:]).reshape(REGIONS, len(WAVES), DIRECTIONS)
    assert mean[:, :, DIRECTIONS // 2].max() < 1e-6 * mean[:, :, 0].max()


@given(st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_averages_are_those_of_numpy_with_the_masks_as_weights(seed):
    rng = np.random.default_rng(seed)
    texture = rng.standard_normal((2, 5, 64, 64))
    masks = rng.uniform(size=(2, 3, 128, 128))
    found = averages(torch.from_numpy(texture), torch.from_numpy(masks))
    small = masks.reshape(2, 3, 64, 2, 64, 2).mean((3, 5))
    lower = np.cumsum(small[:, :2], axis=3) / small[:, :2].sum(3, keepdims=True)
    weights = np.concatenate(
        [small[:, :2] * (1 - lower), small[:, :2] * lower, small[:, 2:]], axis=1
    )
    weights[:, :, :BORDER] = weights[:, :, -BORDER:] = 0  # the sides of the picture
    wanted = [
        [np.average(t, weights=w) for w in ws for t in ts]
        for ws, ts in zip(weights, texture, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_upper_and_lower_part_of_a_muscle_are_told_apart():
    texture = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)  # grows with depth
    mg_upper, sol_upper, mg_lower, sol_lower, _ = averages(texture, leg()[:, [1, 2, 0]])[0]
    # Weights that fade linearly have their middles at one and two thirds of the thickness.
    thick_mg, thick_sol = 40 / 126, 46 / 126
    assert mg_lower - mg_upper == pytest.approx(thick_mg / 3, rel=0.02)
    assert sol_lower - sol_upper == pytest.approx(thick_sol / 3, rel=0.02)
    assert mg_lower < sol_upper


def test_thickness_is_read_at_four_places_and_depth_once():
    maps = leg()
    maps[:, 1, 64:, 50:60] = 0  # MG is thinner on the right
    read = form(maps[:, [1, 2, 0]])[0]
    mg, sol, depth = read[:PLACES], read[PLACES : 2 * PLACES], read[2 * PLACES :]
    assert (mg[:2] / mg[2:]).tolist() == pytest.approx([40 / 30] * 2)
    assert sol.std() == 0
    torch.testing.assert_close(sol[0] / mg[0], torch.tensor(46 / 40))
    where = np.nonzero(maps[0, 1:].numpy())
    middles = [where[2][where[0] == k].mean() / 127 for k in (0, 1)]
    assert depth.tolist() == pytest.approx(middles)


@given(st.integers(1, 127))
@settings(max_examples=10, deadline=None)
def test_tissue_that_slides_along_the_leg_hardly_changes_the_looks(lines):
    picture, maps = tissue(9), leg()
    others = torch.cat([seen(tissue(s), maps) for s in range(8)])
    moves = others.std(0) > 1e-6  # thickness and depth do not
    slid = (seen(picture.roll(lines, dims=2), maps) - seen(picture, maps))[0]
    # Another leg differs by the square root of two; a little of this one leaves at the sides.
    assert (slid[moves] / others.std(0)[moves]).square().mean().sqrt() < 0.7
    assert slid[~moves].abs().max() == 0


@given(st.floats(-2, 2))
@settings(max_examples=10, deadline=None)
def test_the_scanners_gain_is_an_offset_that_no_look_sees(offset):
    picture, maps = tissue(1), leg()
    torch.testing.assert_close(
        seen(picture + offset, maps), seen(picture, maps), atol=2e-3, rtol=2e-3
    )


def test_a_muscle_that_darkens_against_its_sheets_is_seen_to():
    picture, maps = tissue(1), leg()
    darker = picture - 0.5 * maps[:, 1:2]
    n = REGIONS * ENERGIES + REGIONS * len(WAVES)
    change = (seen(darker, maps) - seen(picture, maps))[0, n : n + REGIONS - 1]
    mg_upper, sol_upper, mg_lower, sol_lower = change.tolist()
    assert (mg_upper, mg_lower) == pytest.approx((-0.5, -0.5), abs=0.05)
    assert (sol_upper, sol_lower) == pytest.approx((0, 0), abs=0.02)


@pytest.mark.parametrize("level", [0.0, -1.0, 4.1])
def test_no_muscle_and_no_contrast_still_give_numbers(level):
    for picture, maps in (
        (tissue(1), torch.zeros(1, 3, 128, 128)),
        (torch.full((1, 1, 128, 128), level), leg()),
        (torch.full((1, 1, 128, 128), level), torch.zeros(1, 3, 128, 128)),
    ):
        found = seen(picture, maps)
        assert found.shape == (1, LOOKS)
        assert torch.isfinite(found).all()
        assert found.abs().max() < 20
