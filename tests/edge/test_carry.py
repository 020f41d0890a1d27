"""Values of later ticks: only as far as every model sees, and only where they are plausible."""

import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.carry import Carry, foreseen
from edge.estimate import Estimator, Sources
from firmware_bridge.types import Chunk, Geometry

SOURCES = Sources(Geometry("bmode", lines=4, samples=6, dz_mm=0.2, dx_mm=0.3), 1000.0, ("TA",))


@pytest.fixture
def fed(seer):
    e = Estimator(load_bundle(str(seer)), SOURCES)

    def feed(value):
        chunk = Chunk(20_000_000, 0, 1000.0, np.full((10, 1), value, np.float32))
        e.update(None, (), e.hear(chunk))
        return e

    return feed


def test_a_row_for_each_tick_with_a_straight_line_between_what_the_model_says(fed):
    e = fed(7.0)
    np.testing.assert_allclose(Carry([e], 10.0).look([True])[:, 0], [14.0, 17.5, 21.0])
    np.testing.assert_allclose(
        Carry([e], 5.0).look([True])[:, 0], [10.5, 14, 15.75, 17.5, 19.25, 21]
    )
    assert Carry([e], 40.0).look([True]) is None


def test_it_counts_from_the_data_and_not_from_the_tick(fed):
    carry = Carry([fed(7.0)], 10.0)
    assert carry.look([False]).tolist() == [[17.5], [21.0]]
    assert carry.look([False]).tolist() == [[21.0]]
    assert carry.look([False]) is None
    assert len(carry.look([True])) == 3


def test_a_model_that_does_not_look_ahead_ends_it_for_all(fed, brightness):
    other = Estimator(load_bundle(str(brightness)), SOURCES)
    assert Carry([fed(7.0), other], 10.0).look([True, True]) is None
    assert Carry([], 10.0).look([]) is None


def test_beyond_what_is_plausible_or_seen_the_last_of_it_stays(fed):
    ahead = Carry([fed(4500.0)], 10.0).look([True])
    assert [foreseen(ahead, k) for k in (1, 2, 50)] == [9000.0] * 3
    assert foreseen(Carry([fed(7.0)], 10.0).look([True]), 9) == 21.0
    assert foreseen(Carry([fed(6000.0)], 10.0).look([True]), 1) is None
    assert foreseen(ahead, 0) is None
    assert foreseen(None, 1) is None


def test_a_model_that_failed_foresees_nothing(fed):
    e = fed(7.0)
    e.fail()
    assert foreseen(Carry([e], 10.0).look([False]), 1) is None


def test_a_model_that_waits_says_how_old_its_values_are(fed):
    assert fed(7.0).t_ns == 15_000_000
