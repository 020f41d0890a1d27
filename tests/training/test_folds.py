import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.folds import Folds, folds


@given(st.integers(6, 40), st.integers(2, 16), st.integers(0, 2), st.integers(0, 9))
def test_everybody_is_held_out_once_and_nobody_is_on_two_sides(people, count, validation, seed):
    if people < count or people - -(-people // count) - validation < 1:
        return
    found = folds(range(100, 100 + people), Folds(count, validation, seed))
    held = [p for f in found for p in f.test]
    assert sorted(held) == list(range(100, 100 + people))
    for f in found:
        sides = [*f.train, *f.validate, *f.test]
        assert sorted(sides) == list(range(100, 100 + people))
        assert len(f.validate) == validation


def test_thirty_two_people_make_sixteen_folds_of_two():
    found = folds(range(32), Folds())
    assert [len(f.test) for f in found] == [2] * 16
    assert {len(f.train) for f in found} == {28}
    assert found == folds([*range(32)] * 3, Folds())  # however many frames, in whatever order


def test_too_few_people_are_refused():
    with pytest.raises(ValueError, match="too few"):
        folds(range(4), Folds(count=4, validation=3))


@pytest.mark.parametrize("wrong", [{"count": 1}, {"workers": 0}, {"only": (16,)}])
def test_folds_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="folds"):
        Folds(**wrong)
