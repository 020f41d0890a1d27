import pytest
import torch

from models.committee import Committee, together
from models.state_cnn import StateCnn, StateCnnConfig, cut

POOLED = StateCnnConfig("pooled", hidden=8)
STRIDED = StateCnnConfig("strided", "physics", pixels=32, widths=(4, 6), squeeze=3, hidden=8)


def test_members_who_agree_say_what_each_says():
    v, sd = torch.tensor([[10.0, 2.0]]), torch.tensor([[3.0, 1.0]])
    torch.testing.assert_close(together([v, v], [sd, sd]), (v, sd))


def test_members_who_disagree_doubt_more_than_either():
    values, sd = together([torch.tensor([[0.0]]), torch.tensor([[8.0]])], [torch.ones(1, 1)] * 2)
    assert values.item() == 4
    assert sd.item() == pytest.approx((1 + 16) ** 0.5)  # of the mixture


def test_each_member_reads_its_own_regions_of_one_picture():
    torch.manual_seed(1)
    members = [StateCnn(c).eval() for c in (POOLED, STRIDED)]
    image, maps = torch.randn(2, 1, 128, 128), torch.rand(2, 3, 128, 128)
    with torch.inference_mode():
        values, _ = Committee(members)(image, maps)
        each = [m(cut(image, maps, m.config))[0] for m in members]
    torch.testing.assert_close(values, (each[0] + each[1]) / 2)


def test_one_member_that_does_not_know_the_picture_is_enough():
    values, sd = together([torch.zeros(1, 3)] * 2, [torch.full((1, 3), s) for s in (0.5, 10.0)])
    assert (sd > 7).all()


def test_members_with_other_outputs_are_refused():
    other = StateCnn(StateCnnConfig("pooled", hidden=8, outputs=2))
    with pytest.raises(ValueError, match="same outputs"):
        Committee([StateCnn(POOLED), other])


def test_only_who_sees_all_of_the_picture_does_without_maps():
    whole = StateCnnConfig("strided", whole=True, masks=False, pixels=32, widths=(4, 6), hidden=8)
    image = torch.randn(2, 1, 128, 128)
    with torch.inference_mode():
        assert Committee([StateCnn(whole).eval()])(image)[0].shape == (2, 3)
        with pytest.raises(ValueError, match="needs their maps"):
            Committee([StateCnn(STRIDED).eval()])(image)
