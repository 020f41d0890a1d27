"""Which model runs when, and on what: the angle of this tick, never of the one before."""

from dataclasses import replace

import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.config import Timing
from edge.estimate import Estimator, Sources
from edge.joint import NOTHING, Reading
from edge.joint_source import angle_of, fixed_load
from edge.turns import Turns
from firmware_bridge.types import Frame, Geometry

MS = 1_000_000
T0 = 10_000 * MS
SOURCES = Sources(Geometry("bmode", 4, 6, 0.2, 0.3), angle=True, load=True)
TIMING = Timing(max_angle_age_ms=50, max_load_age_ms=1500)


@pytest.fixture
def eye(goniometer):
    return Estimator(load_bundle(str(goniometer)), SOURCES)


@pytest.fixture
def arm(elbow):
    return Estimator(load_bundle(str(elbow)), SOURCES)


def frame(seq, brightness, t_ns):
    return Frame(t_ns, seq, np.full((4, 6), brightness, np.uint8))


def run(turns, tick, picture=None):
    """One tick; the places of the models in the order in which they ran."""
    order = []
    for k, e, joint in turns.of(tick, T0 + tick * 10 * MS):
        images = e.look(picture) if picture and e.uses_us else ()
        e.update(picture, images, (), joint)
        order.append(k)
    return order


def test_the_angle_of_a_tick_is_the_one_a_model_finds_in_that_tick(eye, arm):
    turns = Turns([arm, eye], TIMING, angle_of(eye, 1), fixed_load(2.0))
    for tick in range(5):
        t_ns = T0 + tick * 10 * MS - 4 * MS
        assert run(turns, tick, frame(tick, 20 * tick, t_ns)) == [1, 0]
        assert arm.values[1] == 2 * eye.values[1] == 20 * tick
        assert arm.t_ns == turns.joint.angle.t_ns == t_ns  # as old as the picture
    assert run(turns, 5, frame(4, 80, 0)) == [1, 0]  # no new picture: the angle keeps its age
    assert turns.joint.angle == Reading(40.0, T0 + 36 * MS)
    assert arm.values[0] == 0.0


def test_an_angle_in_fault_is_not_passed_on_and_the_last_good_one_grows_old(eye, arm):
    turns = Turns([eye, arm], TIMING, angle_of(eye, 1), fixed_load(2.0))
    run(turns, 0, frame(0, 100, T0))
    for tick in range(1, 6):
        run(turns, tick, frame(tick, 200, T0 + tick * 10 * MS))  # 100 deg: it says up to 99
        assert eye.fault
        assert turns.joint.angle == Reading(50.0, T0)
        assert arm.fault  # in tick 1 it has not settled; from then on the angle stands still
    run(turns, 6, frame(6, 200, T0 + 60 * MS))
    assert turns.joint.angle is None


@pytest.mark.parametrize(
    ("late_ms", "known"), [(0, True), (50, True), (51, False), (-3, True)], ids=str
)
def test_an_angle_counts_until_its_limit_at_the_tick_s_deadline(arm, late_ms, known):
    turns = Turns([arm], TIMING, lambda t: Reading(30.0, t - late_ms * MS), fixed_load(1.0))
    run(turns, 0)
    assert (turns.joint.angle is not None) == known


def test_a_load_counts_until_its_limit_and_none_is_none(arm):
    load = Reading(2.0, T0 - 1500 * MS)
    turns = Turns([arm], TIMING, lambda t: Reading(30.0, t), lambda _: load)
    run(turns, 0)
    assert turns.joint.load == load
    run(turns, 1)
    assert turns.joint.load is None
    turns = Turns([arm], TIMING, lambda _: NOTHING, lambda _: NOTHING)
    run(turns, 0)
    assert (turns.joint.angle, turns.joint.load) == (None, None)


def test_a_model_of_load_that_gives_the_angle_and_the_one_behind_it_have_the_same_load(eye, arm):
    eye.uses_load = True  # stands for a model of pictures and load
    loads = iter(Reading(float(k), T0) for k in range(9))
    turns = Turns([arm, eye], TIMING, angle_of(eye, 1), lambda _: next(loads))
    seen = [joint.load.value for _, _, joint in turns.of(0, T0)]
    assert seen == [0.0, 0.0]


def test_models_of_sensors_alone_are_given_nothing(eye):
    turns = Turns([eye, eye], replace(TIMING))
    assert [(k, joint) for k, _, joint in turns.of(0, T0)] == [(0, None), (1, None)]
    assert turns.joint is None
