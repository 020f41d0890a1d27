import numpy as np
import pytest

from training.outliers import EMPTY, NOBODY, SHOWN, UNSEEN, spoil, spoilt

KINDS = [*SHOWN, *UNSEEN]


def no_maps(images):
    return np.zeros((len(images), 3, *images.shape[1:]), np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_spoilt_picture_is_not_the_good_one(kind, drawn_legs):
    good = drawn_legs(1, 1).images[0]
    bad = spoilt(good, kind, np.random.default_rng(1))
    assert bad.shape == good.shape
    assert bad.dtype == np.uint8
    if kind != "mirrored":  # the drawn leg has no fascicles: its mirror image is as good
        assert np.abs(bad.astype(float) - good).mean() > 8


def test_no_kind_is_both_shown_and_kept_for_testing():
    assert not set(SHOWN) & set(UNSEEN)
    assert set(EMPTY) <= set(KINDS)


def test_the_same_seed_spoils_alike_and_a_kind_does_not_depend_on_the_others(drawn_legs):
    data = drawn_legs(2, 3)
    every = spoil(data, KINDS, 2, 1, no_maps)
    again = spoil(data, KINDS, 2, 1, no_maps)
    np.testing.assert_array_equal(every.images, again.images)
    one = spoil(data, ["blurred"], 2, 1, no_maps)
    np.testing.assert_array_equal(one.images, every.images[every.kind == KINDS.index("blurred")])
    other = spoil(data, KINDS, 2, 2, no_maps)
    assert not np.array_equal(other.images, every.images)


def test_remembers_whom_it_was_made_from_so_that_folds_stay_apart(drawn_legs):
    data = drawn_legs(3, 2)
    bad = spoil(data, ["inverted", "flat"], 8, 1, no_maps)
    for image, person in zip(bad.images[:8], bad.person[:8], strict=True):
        assert person in data.person[(255 - data.images == image).all((1, 2))]
    assert (bad.person[8:] == NOBODY).all()


def test_spoilt_pictures_are_segmented_again(drawn_legs):
    bad = spoil(drawn_legs(1, 1), ["inverted"], 1, 1, lambda im: no_maps(im) + im[:, None])
    np.testing.assert_array_equal(bad.maps[0, 1], bad.images[0])


def test_an_unknown_kind_names_the_known_ones(drawn_legs):
    with pytest.raises(ValueError, match="inverted"):
        spoil(drawn_legs(1, 1), ["upended"], 1, 1, no_maps)
