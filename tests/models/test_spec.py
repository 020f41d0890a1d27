"""The contract of a model: what it says, what it refuses, and that old ones still load."""

import contextlib
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import SHIPPED, list_bundles
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec, SpecError, State, Step, spec_from_dict

IMAGE = Input("image", (1, 1, 8, 9), "us", (Step("window", {"depth_mm": 50.0}),), kind="bmode")
EMG = Input("emg", (1, 2), "emg", rate_hz=1000.0, hop=10, channels=("MG", "SOL"))
STATE = ModelSpec(
    "calf",
    (IMAGE, EMG),
    (Output("angle", "deg", -40, 40, max_sd=8.0), Output("moment", "N m")),
    10.0,
    sd="sd",
    states=(State("h", "h_next", (1, 4)),),
    maps="maps",
    map_names=("aponeurosis", "mg", "sol"),
)
TWIN = ModelSpec(
    "twin", (EMG,), (Output("act", "1"),), 2.0, delay_ms=20.0, ahead="ahead", ahead_ms=(10.0, 20.0)
)
ANGLE = Input("q", (1, 1), "angle", min=0.0, max=140.0)
LOAD = Input("m", (1, 1), "load", min=0.0, max=5.0)
ELBOW = ModelSpec(
    "elbow", (ANGLE, LOAD), (Output("torque", "N m"),), 10.0, states=(State("h", "h_next", (1, 4)),)
)
SEGMENTER = ModelSpec("seg", (IMAGE,), (), 10.0, values="", maps="maps", map_names=("mg", "sol"))


def changed(spec, **fields):
    """The spec's JSON with some fields replaced."""
    return json.dumps(json.loads(spec.to_json()) | fields)


@pytest.mark.parametrize("spec", [STATE, SEGMENTER, TWIN, ELBOW], ids=lambda spec: spec.name)
def test_json_gives_an_equal_spec_back(spec):
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_an_open_end_is_null_in_json():
    first, second = json.loads(STATE.to_json())["outputs"]
    assert first == {"name": "angle", "unit": "deg", "min": -40, "max": 40, "max_sd": 8.0}
    assert (second["min"], second["max"], second["max_sd"]) == (None, None, None)


@pytest.mark.parametrize(
    ("inputs", "driver"),
    [
        ((ANGLE,), "tick"),
        ((ANGLE, LOAD), "tick"),
        ((IMAGE, ANGLE), "us"),
        ((IMAGE,), "us"),
        ((ANGLE, IMAGE, EMG), "emg"),
    ],
)
def test_samples_drive_a_model_then_frames_then_ticks(inputs, driver):
    assert ModelSpec("m", inputs, (Output("y", "1"),), 10.0).driver == driver


def test_shapes_of_what_is_fed_and_of_what_is_given():
    assert STATE.input_shapes == {"image": (1, 1, 8, 9), "emg": (1, 2), "h": (1, 4)}
    assert list(STATE.output_shapes.items()) == [  # in the order of a network's results
        ("values", (1, 2)),
        ("sd", (1, 2)),
        ("maps", (1, 3, 8, 9)),
        ("h_next", (1, 4)),
    ]
    assert TWIN.output_shapes == {"values": (1, 1), "ahead": (1, 2)}
    assert SEGMENTER.output_shapes == {"maps": (1, 2, 8, 9)}


def test_a_spec_written_before_maps_and_doubt_still_loads():
    old = json.loads(STATE.to_json())
    del old["maps"], old["map_names"]
    for o in old["outputs"]:
        del o["max_sd"]
    spec = ModelSpec.from_json(json.dumps(old))
    assert (spec.maps, spec.map_names) == ("", ())
    assert all(o.max_sd == math.inf for o in spec.outputs)


def test_shipped_specs_load():
    for name in list_bundles():
        raw = json.loads((SHIPPED / name / "bundle.json").read_text())["spec"]
        assert ModelSpec.from_json(json.dumps(raw)).name == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "spec version 1 expected"),
        (changed(STATE, version=2), "export the model again"),
        (changed(STATE, colour="red"), "missing or unknown field.*colour"),
        (changed(STATE, inputs=[]), "no inputs"),
        (changed(STATE, period_ms=0), "period_ms must be positive"),
        (changed(STATE, sd=""), "max_sd needs a network that gives sd"),
        (changed(STATE, sd="values"), "output names repeat"),
        (changed(STATE, maps="sd"), "output names repeat"),
        (changed(STATE, values=""), "values must name their tensor"),
        (changed(STATE, map_names=[]), "maps and map_names go together"),
        (changed(STATE, maps=""), "maps and map_names go together"),
        (changed(STATE, map_names=["mg", "mg"]), "output names repeat"),
        (changed(SEGMENTER, maps="", map_names=[]), "neither outputs nor maps"),
        (changed(SEGMENTER, values="values"), "values and sd must be empty"),
        (STATE.to_json().replace("8.0", "0.0"), "max_sd must be positive"),
        (STATE.to_json().replace("8.0", "NaN"), "max_sd must be a finite number, is nan"),
        (STATE.to_json().replace("-40", "NaN"), "min must be a finite number, is nan"),
        (changed(STATE, name=""), "no name"),
        (changed(STATE, name="a\x1b[2J"), "printable characters"),
        (changed(STATE, name="a" * 201), "up to 200 printable"),
        (changed(STATE, name=7), "name must be"),
        (changed(STATE, wearer=None), "wearer must be"),
        (changed(STATE, period_ms="10"), "period_ms must be a finite number, is '10'"),
        (changed(STATE, period_ms=True), "period_ms must be a finite number, is True"),
        (changed(STATE, period_ms=math.inf), "period_ms must be a finite number, is inf"),
        (changed(STATE, period_ms=10**400), "period_ms must be a finite number"),
        (STATE.to_json().replace("-40", "1" * 400), "malformed"),
        (STATE.to_json().replace('"bmode"', '"b"'), "'b' is not one of bmode, rf"),
        (STATE.to_json().replace("50.0", '"50"'), "steps.args must be a finite number, is '50'"),
        (STATE.to_json().replace("window", "\\n"), "steps.op must be"),
        (changed(STATE, inputs="image"), "malformed"),
        (changed(STATE, states=[[1]]), "malformed"),
        (changed(STATE, states=[{"input": "h", "output": "g", "shape": [0]}]), "no tensor"),
        (changed(STATE, states=[{"input": "h", "output": "g", "shape": [1.5]}]), "whole number"),
        (changed(STATE, states=[{"input": "h", "output": "g", "shape": [1 << 20] * 2}]), "large"),
    ],
)
def test_refuses_a_spec_whose_parts_do_not_fit(text, says):
    with pytest.raises(SpecError, match=says):
        ModelSpec.from_json(text)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ([replace(ANGLE, shape=(1, 2))], r"angle has the shape \(1, 1\), not \(1, 2\)"),
        ([replace(ANGLE, max=math.inf)], "between which deg"),
        ([replace(LOAD, min=-math.inf), ANGLE], "between which kg"),
        ([replace(ANGLE, min=140.0)], "between which deg"),
        ([replace(ANGLE, hop=10)], "no steps, rate"),
        ([replace(ANGLE, source="torque")], "not one of us, emg, angle, load"),
        ([ANGLE, replace(ANGLE, name="q2")], "one angle input is enough"),
        ([LOAD], "a load alone has no time"),
        ([replace(EMG, min=0.0)], "only an angle or a load has min and max"),
    ],
)
def test_an_angle_and_a_load_are_single_numbers_with_the_range_they_were_validated_in(inputs, says):
    with pytest.raises(SpecError, match=says):
        ModelSpec.from_json(ModelSpec("m", tuple(inputs), (Output("y", "1"),), 10.0).to_json())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"delay_ms": -1.0}, "delay_ms"),
        ({"settle_ms": -1.0}, "settle_ms"),
        ({"sd": "sd"}, "leave out one"),
        ({"ahead": ""}, "go together"),
        ({"ahead_ms": []}, "go together"),
        ({"ahead_ms": [20.0, 10.0]}, "rise"),
        ({"ahead_ms": [0.0]}, "rise"),
        ({"ahead": "values"}, "repeat"),
    ],
)
def test_what_a_model_foresees_has_rising_times_and_a_tensor_of_its_own(fields, says):
    with pytest.raises(SpecError, match=says):
        ModelSpec.from_json(changed(TWIN, **fields))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=4,
    ),
    st.data(),
)
def test_whatever_stands_in_a_field_it_is_a_spec_or_a_spec_error(junk, data):
    raw = json.loads(STATE.to_json())
    place = raw
    while True:  # somewhere in the tree
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else
                                        range(len(place))))  # fmt: skip
        if not place[key] or not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = junk
    with contextlib.suppress(SpecError):
        spec = spec_from_dict(raw)
        assert spec_from_dict(json.loads(spec.to_json())) == spec


def test_maps_need_the_image_they_lie_over():
    emg_only = ModelSpec("m", (EMG,), (), 10.0, values="", maps="maps", map_names=("mg",))
    with pytest.raises(SpecError, match="it has no us input"):
        ModelSpec.from_json(emg_only.to_json())
