"""What counts as the same answer, between engines that are nothing but a few numbers."""

import numpy as np
import pytest

from export.engine_compare import STEPS, compare, seeded_inputs
from models.spec import Input
from tests.fakes.bundles import SPEC, calf


class Leaky:
    """h_next = leak h + load; the values are h_next.  ``spoil``: what it says in the last step."""

    def __init__(self, leak=0.5, spoil=None):
        self.inputs = {n: np.zeros(s, np.float32) for n, s in
                       (("image", (1, 1, 8, 8)), ("load", (1, 1)), ("h", (1, 2)))}  # fmt: skip
        self.outputs = {n: np.zeros((1, 2), np.float32) for n in ("values", "h_next")}
        self.leak, self.spoil, self.steps = leak, spoil, 0
        self.inputs["h"].fill(9)  # of whoever used it before

    def run(self):
        self.steps += 1
        h = self.leak * self.inputs["h"] + self.inputs["load"]
        self.outputs["h_next"][...] = self.outputs["values"][...] = h
        if self.spoil is not None and self.steps == STEPS:
            self.outputs["values"][0, 1] = self.spoil


@pytest.fixture
def bundle(tmp_path):
    return calf(tmp_path / "calf")


def test_engines_that_are_alike_do_not_differ(bundle):
    found = compare(bundle, Leaky(), Leaky())
    assert found.relative == {"values": 0.0, "h_next": 0.0}
    assert found.worst == {"angle": 0.0, "torque": 0.0}
    assert found.steps == STEPS
    assert not found.beyond(0.0)


def test_each_engine_goes_on_from_what_it_said_itself(bundle):
    """An error in the state is small in one step, and grows."""
    found = compare(bundle, Leaky(0.98), Leaky(0.981))
    one_step = 0.001
    assert found.relative["values"] > 10 * one_step
    assert found.beyond(0.01) == ["values", "h_next"]


def test_the_worst_is_told_in_each_outputs_unit(bundle):
    exact = compare(bundle, Leaky(0.0), Leaky(0.0, spoil=100.0))
    assert exact.worst["angle"] == 0
    assert 95 <= exact.worst["torque"] <= 100
    assert exact.relative["values"] > 10


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_never_close(bundle, wrong):
    assert compare(bundle, Leaky(), Leaky(spoil=wrong)).beyond(1e9) == ["values"]
    assert compare(bundle, Leaky(spoil=wrong), Leaky()).beyond(1e9) == ["values"]
    assert not compare(bundle, Leaky(spoil=wrong), Leaky(spoil=wrong)).beyond(0.0)


def test_seeded_inputs_are_the_same_every_time_and_keep_to_the_spec():
    first, again = (list(seeded_inputs(SPEC.inputs)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert all(np.array_equal(a[n], b[n]) for n in a)
        assert a["image"].shape == (1, 1, 8, 8)
        assert a["image"].dtype == np.float32
        assert 0 <= a["load"][0, 0] <= 5
    angle = Input("q", (1, 1), "angle", min=-20.0, max=-10.0)
    assert all(-20 <= x["q"][0, 0] <= -10 for x in seeded_inputs((angle,)))
    large = [np.abs(x["image"]).max() for x in first]
    assert max(large) > 10  # some steps are
