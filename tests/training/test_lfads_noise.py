import pytest
import torch

from training.lfads_noise import InputNoise, lesson


@pytest.fixture
def x():
    return torch.rand(64, 50, 4, generator=torch.Generator().manual_seed(1))


def rng():
    return torch.Generator().manual_seed(3)


def test_it_learns_from_exactly_what_it_was_not_shown(x):
    one = lesson(x, 0.3, InputNoise(), rng())
    hidden = one.learn_from > 0
    assert hidden.float().mean() == pytest.approx(0.3, abs=0.02)
    assert (one.shown[hidden] == 0).all()
    torch.testing.assert_close(one.shown[~hidden], x[~hidden] / 0.7)
    assert torch.equal(one.target, x)


def test_nothing_is_changed_when_nothing_is_asked(x):
    one = lesson(x, 0.0, InputNoise(), rng())
    assert torch.equal(one.shown, x)
    assert torch.equal(one.target, x)
    assert (one.learn_from == 1).all()


def test_grain_is_on_the_input_alone_and_of_mean_one(x):
    before = torch.random.get_rng_state()
    one = lesson(x, 0.0, InputNoise(grain=0.5), rng())
    assert torch.equal(one.target, x)
    ratio = one.shown / x
    assert ratio.mean() == pytest.approx(1.0, abs=0.02)
    assert ratio.std() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(lesson(x, 0.0, InputNoise(grain=0.5), rng()).shown, one.shown)


def test_shifts_are_off_by_default():
    assert InputNoise().shift_sd_bins == 0


def test_two_different_shifts_of_every_channel():
    ramp = torch.arange(50.0)[None, :, None].repeat(400, 1, 4)
    one = lesson(ramp, 0.0, InputNoise(shift_sd_bins=3, shift_max_bins=6), rng())
    by = {name: 25 - getattr(one, name)[:, 25] for name in ("shown", "target")}
    for moved in by.values():
        assert moved.abs().max() == 6
        assert moved.std() == pytest.approx(2.9, abs=0.3)
    both = torch.stack([v.flatten() for v in by.values()])
    assert torch.corrcoef(both)[0, 1].abs() < 0.1
    assert one.shown.min() == 0  # edges are repeated, nothing comes in from outside
    assert one.shown.max() == 49


def test_blocks_are_hidden_in_all_channels_for_several_bins(x):
    one = lesson(x, 0.3, InputNoise(block_bins=5), rng())
    hidden = one.learn_from
    torch.testing.assert_close(one.shown, x * (1 - hidden))  # what is shown looks as it does in use
    assert hidden.mean() == pytest.approx(0.3, abs=0.03)
    assert (hidden == hidden[..., :1]).all()
    changes = (hidden[:, 1:, 0] != hidden[:, :-1, 0]).float().mean()
    assert changes == pytest.approx(2 * 0.3 * 0.7 / 5, abs=0.02)
    where = [(hidden[k, 1:, 0] != hidden[k, :-1, 0]).nonzero()[:, 0] % 5 for k in range(64)]
    assert {int(w) for one in where for w in one} == set(range(5))  # blocks begin anywhere


@pytest.mark.parametrize("wrong", [{"block_bins": -1}, {"grain": -0.1}, {"shift_sd_bins": -1.0}])
def test_less_than_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="negative"):
        InputNoise(**wrong)
