"""The budget is kept: layers that hurt stay in full precision, and only they."""

import numpy as np
import pytest
from onnx import numpy_helper

from calibration.ranges import ranges_of
from export.budget import measure
from export.precision import REST, fp16, int8, material
from export.quantize import integer_layers, layers, named, quantised
from export.streams import OrtNetwork, steps_of
from tests.fakes.nets import pictures, step


def made(make=pictures, budget=1.0, spoilt=""):
    """Material of a network, in which one layer may have a channel that drowns all others."""
    model, spec, learn = make()
    model = named(model)
    if spoilt:
        node = next(n for n in model.graph.node if n.name == spoilt)
        weight = next(i for i in model.graph.initializer if i.name == node.input[1])
        w = numpy_helper.to_array(weight).copy()
        w[:, 0, 0, 0] = 400 * np.abs(w).max()  # every other weight is a rounding error beside it
        weight.CopyFrom(numpy_helper.from_array(w, weight.name))
    rows = steps_of(OrtNetwork(model), spec, [learn])
    budgets = {o.name: budget for o in spec.outputs}
    return material(model, spec, budgets, rows, [learn], [make(seed=7)[2]])


@pytest.mark.parametrize("target", ["cpu", "trt"])
def test_with_a_wide_budget_every_layer_is_lowered(target):
    m = made(budget=5.0)
    c = int8(m, target, say=lambda _: None)
    assert c.kept
    assert list(c.lowered) == layers(m.model)
    assert c.fell_back == ()
    assert 0 < c.share <= 1
    assert c.ranges in ("minmax", "percentile", "entropy")


def test_the_layer_that_hurts_falls_back_and_the_others_do_not():
    first = next(n.name for n in named(pictures()[0]).graph.node if n.op_type == "Conv")
    bad = layers(made().model)[0]
    assert bad != first
    m = made(spoilt=bad)
    ranges = ranges_of(m.model, m.rows)
    alone = {
        n: max(o.rms for o in measure(OrtNetwork(quantised(m.model, ranges, "trt", [n])), m.spec,
                                      m.learn, m.learn_full))
        for n in layers(m.model)
    }  # fmt: skip
    good = min(alone, key=lambda n: alone[n])
    assert alone[bad] > 1.5 * alone[good]
    said = []
    # Some of the budget is kept for recordings that it was not calibrated with.
    c = int8(made(budget=1.5 * alone[good], spoilt=bad), "trt", "minmax", said.append)
    assert (c.lowered, c.fell_back) == ((good,), (bad,))
    assert c.share <= 1
    assert integer_layers(c.model, layers(m.model)) == [good]
    assert any(bad in text for text in said)


def test_a_budget_that_nothing_keeps_lowers_nothing():
    m = made(budget=1e-9)
    c = int8(m, "cpu", "minmax", lambda _: None)
    assert not c.lowered
    assert not c.kept
    assert c.share == 0  # it is full precision


def test_the_budget_is_judged_on_what_did_not_calibrate():
    m = made(budget=5.0)
    c = int8(m, "cpu", "minmax", lambda _: None)
    judged = OrtNetwork(c.model)({"image": m.judge[0].inputs["image"][0]})["values"]
    full = m.judge_full[0].values[0]
    assert np.abs(judged - full).max() <= max(o.worst for o in c.off) + 1e-6


@pytest.mark.parametrize("make", [pictures, step])
def test_halves_are_tried_layer_by_layer_and_the_rest_as_one(make):
    c = fp16(made(make, budget=1.0), lambda _: None)
    assert c.kept
    assert REST in c.lowered
    none = fp16(made(make, budget=1e-12), lambda _: None)
    assert not none.kept
