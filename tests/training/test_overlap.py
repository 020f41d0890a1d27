import numpy as np
import pytest
from scipy.spatial import distance

from training.overlap import overlaps, thickness
from training.segments import Segments


def truth(maps, known=None):
    maps = np.asarray(maps, np.uint8)
    known = np.ones_like(maps) if known is None else np.asarray(known, np.uint8)
    n = len(maps)
    return Segments(("p",) * n, maps[:, 0] * 0, maps, known, np.zeros(n, np.intp))


@pytest.fixture
def drawn():
    rng = np.random.default_rng(1)
    return (rng.random((3, 3, 8, 8)) < 0.4), rng.random((3, 3, 8, 8)).astype(np.float32)


def test_overlap_is_what_scipy_says(drawn):
    maps, ours = drawn
    for k, o in enumerate(overlaps(ours, truth(maps))):
        pairs = [(a[k].ravel() > 0.5, b[k].ravel()) for a, b in zip(ours, maps, strict=True)]
        assert o.jaccard == pytest.approx(np.mean([1 - distance.jaccard(*p) for p in pairs]))
        assert o.dice == pytest.approx(np.mean([1 - distance.dice(*p) for p in pairs]))
        assert o.worst == pytest.approx(min(1 - distance.jaccard(*p) for p in pairs))
        assert o.n == 3


def test_what_is_not_known_does_not_count(drawn):
    maps, _ = drawn
    known = np.zeros_like(maps)
    known[..., :4] = True
    ours = np.where(known, maps, ~maps).astype(np.float32)  # wrong wherever nobody knows
    assert [o.jaccard for o in overlaps(ours, truth(maps, known))] == [1, 1, 1]


def test_a_map_that_no_picture_shows_has_no_score(drawn):
    maps, ours = drawn
    maps[:, 2] = False
    last = overlaps(ours, truth(maps))[2]
    assert last.n == 0
    assert np.isnan(last.jaccard)


def test_other_grids_are_refused(drawn):
    maps, ours = drawn
    with pytest.raises(ValueError, match="resample one of them"):
        overlaps(ours[..., :4], truth(maps))


def test_thickness_counts_samples_of_each_muscle():
    maps = np.zeros((1, 3, 10, 20), np.uint8)
    maps[:, 1, :, 2:7] = 1
    maps[:, 2, :5, 8:18] = 1
    np.testing.assert_array_equal(thickness(maps), [[5, 5]])
