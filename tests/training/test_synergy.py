"""Synergies against constructed mixtures; the baseline as a whole on a simulated person."""

import numpy as np
import pytest

from training.synergy import factorise, nmf

RNG = np.random.default_rng(5)
COURSES = np.abs(np.sin(np.linspace(0, 9, 400)[:, None] * [1.0, 1.7])) ** 2
MIX = np.array([[0.6, 0.3, 0.1, 0.0], [0.0, 0.2, 0.3, 0.5]])


def test_nmf_finds_a_mixture_of_two_and_its_weights_sum_to_one():
    c, w, vaf = nmf(COURSES @ MIX, 2)
    assert vaf > 0.999
    assert (c >= 0).all()
    assert (w >= 0).all()
    np.testing.assert_allclose(w.sum(1), 1.0)
    np.testing.assert_allclose(c @ w, COURSES @ MIX, atol=0.02)


def test_as_few_synergies_as_explain_the_envelopes():
    for method in ("nmf", "pca"):
        assert len(factorise(COURSES @ MIX, method).weights) == 2
        one = COURSES[:, :1] @ [[0.6, 0.3, 0.1, 0.2]]
        assert len(factorise(one + 0.001 * RNG.random((400, 4)), method).weights) == 1


@pytest.mark.parametrize("method", ["nmf", "pca"])
def test_courses_of_new_data_rebuild_it(method):
    found = factorise(COURSES @ MIX, method)
    new = COURSES[::-1] @ MIX
    courses = found.courses(new)
    if method == "nmf":
        rebuilt = courses @ found.weights * found.top
    else:
        rebuilt = (courses[:, :-1] @ found.weights + found.mean) * found.top
        assert (courses[:, -1] == 1).all()  # the offset's course
    np.testing.assert_allclose(rebuilt, new, atol=0.02)


def test_one_muscle_has_no_synergy():
    with pytest.raises(ValueError, match="at least two measured muscles"):
        factorise(np.ones((10, 1)), "nmf")
