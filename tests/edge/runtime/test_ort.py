"""ONNX Runtime behind the engine's three methods."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper

from edge.bundle import file_hash, load_bundle
from edge.runtime import EngineError, open_engine


def test_it_runs_in_place_on_its_own_buffers(adder):
    e = open_engine(load_bundle(str(adder)))
    into, out = e.inputs["emg"], e.outputs["values"]
    for x in (1.5, -2.0):
        into[...] = x
        e.inputs["h"][...] = 10
        e.run()
        assert e.outputs["values"] is out
        assert out[0, 0] == 10 + x


def test_warming_up_leaves_no_trace(adder):
    e = open_engine(load_bundle(str(adder)))
    e.inputs["h"][...] = 7
    assert e.warm_up() > 0
    assert not any(a.any() for a in (*e.inputs.values(), *e.outputs.values()))


def test_closing_twice_is_fine(adder):
    e = open_engine(load_bundle(str(adder)))
    e.close()
    e.close()
    assert open_engine(load_bundle(str(adder))).warm_up() > 0  # and another may be opened


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"values": "elsewhere"}, "do not belong together"),
        ({"outputs": [{"name": "a", "unit": "1"}, {"name": "b", "unit": "1"}]}, "the spec wants"),
        ({"states": []}, "the spec wants inputs"),
    ],
)
def test_a_network_that_is_not_what_its_spec_says_is_refused(adder, change, says):
    index = json.loads((adder / "bundle.json").read_text())
    index["spec"] |= change
    (adder / "bundle.json").write_text(json.dumps(index))
    with pytest.raises(EngineError, match=says):
        open_engine(load_bundle(str(adder)))


def test_a_network_of_unknown_operators_is_refused_with_its_name(adder):
    graph = helper.make_graph([helper.make_node("NoSuch", ["emg"], ["values"])], "g", [], [])
    onnx.save(helper.make_model(graph), adder / "model.onnx")
    index = json.loads((adder / "bundle.json").read_text())
    index["files"]["model.onnx"] = file_hash(adder / "model.onnx")
    (adder / "bundle.json").write_text(json.dumps(index))
    with pytest.raises(EngineError, match=r"cannot load .*model\.onnx"):
        open_engine(load_bundle(str(adder)))


def test_two_engines_of_one_bundle_do_not_share_buffers(adder):
    a, b = (open_engine(load_bundle(str(adder))) for _ in range(2))
    a.inputs["emg"][...] = 1
    assert not np.any(b.inputs["emg"])
