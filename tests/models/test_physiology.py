"""Parameters of a person never leave their bounds, and say what is unusual about them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.physiology import BOUNDS, PER_MUSCLE, Physiology, Values, at_bounds, surprises

FLEXORS = torch.tensor([-1.0, -1.0, 1.0])


def test_everybody_begins_as_expected():
    values = Values(*(v.detach() for v in Physiology(3)()))
    for name, b in BOUNDS.items():
        got = getattr(values, name)
        assert got.shape == ((3,) if name in PER_MUSCLE else ())
        torch.testing.assert_close(got, torch.full_like(got, b.expect))
    assert float(surprises(values, FLEXORS).abs().max()) < 1e-4


@given(raw=st.floats(-1e4, 1e4))
def test_no_raw_value_leads_out_of_bounds(raw):
    person = Physiology(2)
    with torch.no_grad():
        for p in person.parameters():
            p.fill_(raw)
    for name, value in person()._asdict().items():
        low, high = BOUNDS[name].low, BOUNDS[name].high
        assert bool(((value >= low - 1e-6) & (value <= high + 1e-6)).all())  # float32


@pytest.mark.parametrize("name", list(BOUNDS))
def test_what_is_set_is_what_is_read(name):
    person, b = Physiology(3), BOUNDS[name]
    wanted = b.low + 0.3 * (b.high - b.low)
    person.set(**{name: wanted})
    got = getattr(person(), name).detach()
    torch.testing.assert_close(got, torch.full_like(got, wanted))


@pytest.mark.parametrize(("name", "value"), [("l_opt", 2.0), ("delay_s", 0.0), ("f_max", 0.5)])
def test_a_value_out_of_bounds_is_refused_with_the_bounds(name, value):
    with pytest.raises(ValueError, match=f"{name} must lie inside {BOUNDS[name].low}"):
        Physiology(3).set(**{name: value})


def test_unknown_parameters_are_refused_by_name():
    with pytest.raises(ValueError, match="no parameter 'length'; known: f_max"):
        Physiology(3).set(length=1.0)
    with pytest.raises(ValueError, match=r"no parameters \['length'\]"):
        Physiology(3, fixed=("length",))


def test_fixed_parameters_do_not_learn():
    person = Physiology(3, fixed=("gain", "delay_s"))
    resting = {n for n, p in person.named_parameters() if not p.requires_grad}
    assert resting == {"gain", "delay_s"}


def test_a_parameter_at_its_bound_is_named():
    person = Physiology(3)
    person.set(l_opt=torch.tensor([0.801, 1.0, 1.199]), shape=-0.02)
    hit = at_bounds(person())
    assert hit["l_opt"] == [True, False, True]
    assert hit["shape"] == [True]
    assert not any(hit["f_max"])


def test_one_strong_muscle_among_weak_ones_surprises_more_than_a_strong_person():
    strong, odd = Physiology(3), Physiology(3)
    strong.set(f_max=1.5)
    odd.set(f_max=torch.tensor([1.5, 0.75, 1.0]))

    def size(p):
        return (surprises(p(), FLEXORS, ("f_max",)) ** 2).sum().item()

    assert size(odd) > 2 * size(strong)
