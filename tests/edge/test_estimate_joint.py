"""Models of joint angle and load: a step a tick, and no past beyond a hole."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.estimate import Estimator, Sources
from edge.evenness import SPAN
from edge.joint import Joint, Reading
from firmware_bridge.types import UNKNOWN_NS, Chunk
from models.spec import SpecError

MS = 1_000_000
SOURCES = Sources(None, 1000.0, ("TA",), angle=True, load=True)


@pytest.fixture
def arm(elbow):
    return Estimator(load_bundle(str(elbow)), SOURCES)


def at(tick, angle=None, load=2.0):
    """What a tick knows: an angle of 3 ms before it, a load of a second before."""
    t_ns = (100 + tick) * 10 * MS
    return Joint(
        tick,
        None if angle is None else Reading(angle, t_ns - 3 * MS),
        None if load is None else Reading(load, t_ns - 1000 * MS),
    )


def step(e, joint):
    return e.update(None, (), (), joint)


def test_it_steps_once_a_tick_and_is_as_old_as_its_angle(arm):
    assert step(arm, at(0, 30.0))
    assert step(arm, at(1, 35.0))
    assert arm.values.tolist() == [5.0, 70.0]
    assert arm.t_ns == at(1, 35.0).angle.t_ns  # and not as the load, which holds
    assert arm.load_used_ns == at(1).load.t_ns
    assert step(arm, at(2, 35.0))  # an angle that stands still is a step like any other
    assert arm.values.tolist() == [0.0, 70.0]


def test_it_settles_from_nothing(arm):
    faults = []
    for tick in range(4):
        step(arm, at(tick, 30.0))
        faults.append(arm.fault)
    assert faults == [True, True, False, False]


@pytest.mark.parametrize("hole", [at(5), at(5, 30.0, load=None)], ids=["angle", "load"])
def test_without_angle_or_load_it_stands_still_and_begins_again_from_nothing(arm, hole):
    for tick in range(5):
        step(arm, at(tick, 30.0 + tick))
    held, t_ns = arm.values.copy(), arm.t_ns
    assert not step(arm, hole)
    assert arm.values.tolist() == held.tolist()
    assert arm.t_ns == t_ns  # it grows old, which is what flags it
    faults = []
    for tick in range(6, 9):
        assert step(arm, at(tick, 50.0))
        faults.append((arm.values[0], arm.fault))
    assert faults == [(50.0, True), (0.0, True), (0.0, False)]


def test_a_skipped_tick_is_a_hole_too(arm):
    for tick in (0, 1, 2, 4):
        step(arm, at(tick, 30.0))
    assert arm.values[0] == 30.0
    assert arm.fault


def test_a_step_that_failed_is_a_hole_too(arm):
    for tick in range(4):
        step(arm, at(tick, 30.0))
    arm.fail()
    step(arm, at(4, 30.0))
    assert arm.values[0] == 30.0
    assert arm.fault


def stalled(e, held):
    """Faults of 60 ticks, 2 deg each; from 30 on ``held`` of them have the angle of 29 again."""
    faults = []
    for tick in range(60):
        of = 29 if 30 <= tick < 30 + held else tick
        assert step(e, replace(at(tick), angle=at(of, 20.0 + 2.0 * of).angle))
        faults.append(e.fault)
    return faults


def test_an_angle_that_is_read_twice_is_let_pass(arm):
    assert not any(stalled(arm, 1)[2:])
    assert arm.uneven_steps == 0


@pytest.mark.parametrize("held", [2, 3, 4])
def test_an_encoder_that_stalls_is_a_fault_until_the_model_has_settled_again(arm, held):
    faults = np.flatnonzero(stalled(arm, held)).tolist()
    last = 30 + held - 1 + SPAN - 1  # the last that is compared with an angle that was held
    settles = 2
    # Tick 30 cannot be told from one whose angle is read twice.
    assert faults == [0, 1, *range(31, last + 1 + settles)]
    assert arm.uneven_steps == last - 30


def test_a_load_may_be_repeated_for_ever(arm):
    for tick in range(40):
        step(arm, replace(at(tick, 30.0), load=at(0).load))
    assert not arm.fault


def test_a_model_of_samples_may_be_given_one_angle_for_many_steps(lifter):
    """It is not told that its angles are a step apart."""
    index = json.loads((lifter / "bundle.json").read_text())
    index["spec"]["inputs"][1]["source"] = "angle"
    (lifter / "bundle.json").write_text(json.dumps(index))
    e = Estimator(load_bundle(str(lifter)), SOURCES)
    for tick in range(6):
        chunk = Chunk((tick + 1) * 10 * MS, tick * 10, 1000.0, np.ones((10, 1), np.float32))
        assert e.update(None, (), e.hear(chunk), replace(at(tick), angle=at(0, 3.0).angle))
        assert not e.fault
    assert e.uneven_steps == 0


@pytest.mark.parametrize(
    ("angle", "load"), [(-0.1, 2.0), (140.1, 2.0), (30.0, 5.1), (30.0, -1.0), (np.nan, 2.0)]
)
def test_outside_the_range_it_was_validated_in_is_a_fault_and_no_history(arm, angle, load):
    for tick in range(4):
        step(arm, at(tick, 30.0))
    assert not arm.fault
    assert not step(arm, at(4, angle, load))
    assert arm.fault
    faults = []
    for tick in range(5, 8):
        step(arm, at(tick, 30.0))
        faults.append(arm.fault)
    assert faults == [True, True, False]


@pytest.mark.parametrize("angle", [0.0, 140.0])
def test_the_ends_of_the_range_belong_to_it(arm, angle):
    assert step(arm, at(0, angle))


def test_nothing_is_known_before_the_first_angle(arm):
    assert not step(arm, at(0))
    assert np.isnan(arm.values).all()
    assert arm.t_ns == arm.angle_used_ns == UNKNOWN_NS


def test_samples_drive_a_model_that_also_takes_a_load(lifter):
    e = Estimator(load_bundle(str(lifter)), SOURCES)

    def hear(seq, joint, n=10):
        chunk = Chunk((seq + n) * MS, seq, 1000.0, np.full((n, 1), 4.0, np.float32))
        return e.update(None, (), e.hear(chunk), joint)

    assert hear(0, at(0, load=2.0))
    assert e.values[0] == 8.0
    assert not hear(10, at(1, load=3.0), n=5)  # half a hop: the load waits for the other half
    assert e.load_used_ns == at(0).load.t_ns
    assert hear(15, at(2, load=3.0), n=5)
    assert (e.values[0], e.t_ns) == (12.0, 20 * MS)
    assert not hear(20, at(3, load=None))  # the hop is of a time without load: it is gone
    assert not e.update(None, (), (), at(4))
    assert hear(30, at(5))
    assert e.t_ns == 40 * MS


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        (Sources(load=True), "elbow takes a joint angle: set rig.angle"),
        (Sources(angle=True), "elbow takes a load: set rig.load"),
    ],
)
def test_a_rig_that_does_not_say_it_is_refused(elbow, sources, says):
    with pytest.raises(SpecError, match=says):
        Estimator(load_bundle(str(elbow)), sources)
