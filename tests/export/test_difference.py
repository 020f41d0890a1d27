"""Differences in bits, of the largest output, and in units."""

import numpy as np
import pytest

from export.difference import difference
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec, State

SPEC = ModelSpec(
    "m",
    (Input("image", (1, 1, 4, 4), "us"),),
    (Output("angle", "deg"), Output("torque", "N m")),
    10.0,
    sd="sd",
    states=(State("h", "h_next", (1, 3)),),
    maps="maps",
    map_names=("muscle", "edge"),
)
TWIN = ModelSpec(
    "twin",
    (Input("image", (1, 1, 4, 4), "us"),),
    (Output("angle", "deg"), Output("torque", "N m")),
    10.0,
    ahead="ahead",
    ahead_ms=(5.0, 10.0, 15.0),
)


def results(spec=SPEC, **changes):
    shapes = {"values": (1, 2), "sd": (1, 2), "h_next": (1, 3), "maps": (1, 2, 4, 4)}
    if spec is TWIN:
        shapes = {"values": (1, 2), "ahead": (1, 6)}
    found = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    for name, (at, value) in changes.items():
        found[name][at] = value
    return found


def test_equal_results_have_the_same_bits():
    found = difference(SPEC, [(results(), results())])
    assert (found.relative, found.ulps, str(found)) == (0.0, 0, "the same bits")


def test_each_output_is_told_in_its_own_unit_and_the_worst_example_counts():
    other = [
        results(values=((0, 0), 1.5), sd=((0, 1), 3.0), maps=((0, 1, 2, 2), 0.75)),
        results(values=((0, 0), 0.75), h_next=((0, 2), 1.125)),
    ]
    found = difference(SPEC, [(results(), o) for o in other])
    assert dict(found.by_output) == {
        "angle": (0.5, "deg"),
        "torque": (0.0, "N m"),
        "angle SD": (0.0, "deg"),
        "torque SD": (2.0, "N m"),
        "h_next": (0.125, "state"),
        "maps of muscle": (0.0, "probability"),
        "maps of edge": (0.25, "probability"),
    }
    assert found.relative == 2.0
    assert str(found).startswith("at most 2 of the largest output (angle 0.5 deg, torque 0 N m")


def test_what_is_foreseen_counts_with_its_output_at_every_time():
    found = difference(TWIN, [(results(TWIN), results(TWIN, ahead=((0, 5), 4.0)))])
    assert found.by_output["torque ahead"] == (3.0, "N m")
    assert found.by_output["angle ahead"] == (0.0, "deg")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_a_number_on_one_side_is_never_small(value):
    found = difference(SPEC, [(results(), results(values=((0, 0), value)))])
    assert not found.relative <= 1e9
    both = results(values=((0, 0), value))
    assert difference(SPEC, [(both, both)]).ulps == 0


def test_the_next_number_is_one_ulp_away_across_zero_as_well():
    one = np.float32(1)
    assert difference(None, [({"y": one}, {"y": np.nextafter(one, np.float32(2))})]).ulps == 1
    tiny = np.float32(1e-45)
    assert difference(None, [({"y": tiny}, {"y": -tiny})]).ulps == 2


def test_outputs_of_other_shapes_are_infinitely_far():
    a, b = {"y": np.zeros((1, 2), np.float32)}, {"y": np.zeros((2,), np.float32)}
    assert difference(None, [(a, b)]).relative == np.inf
