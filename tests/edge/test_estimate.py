"""Values depend only on what went in: not on when, and not on how it was cut."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle import load_bundle
from edge.estimate import KEEP_STEPS, MAX_STEPS, Estimator, Sources
from edge.runtime import open_engine
from firmware_bridge.types import UNKNOWN_NS, Chunk, Frame, Geometry
from models.spec import SpecError, Step

GEOMETRY = Geometry("bmode", lines=4, samples=6, dz_mm=0.2, dx_mm=0.3)
HOP = 10
SOURCES = Sources(GEOMETRY, 1000.0, ("MG", "TA"))


def frame(seq, brightness, t_ns=0):
    return Frame(t_ns, seq, np.full((4, 6), brightness, np.uint8))


def see(e, f):
    return e.update(f, e.look(f), [])


def hear(e, *chunks):
    return e.update(None, (), [hop for c in chunks for hop in e.hear(c)])


def chunk(seq, data, t_ns=0):
    return Chunk(t_ns, seq, 1000.0, np.asarray(data, np.float32).reshape(-1, 2))


def ramp(n):
    """n samples of two channels; TA alternates its sign."""
    ta = np.arange(1, n + 1) * (-1.0) ** np.arange(n)
    return np.stack([np.zeros(n), ta], axis=1).astype(np.float32)


def test_nothing_is_known_before_the_first_datum(brightness):
    e = Estimator(load_bundle(str(brightness)), SOURCES)
    assert e.update(None, (), []) is False
    assert np.isnan(e.values).all()
    assert e.t_ns == UNKNOWN_NS


def test_a_frame_is_inferred_once_and_carries_its_time(brightness):
    e = Estimator(load_bundle(str(brightness)), SOURCES)
    assert see(e, frame(3, 40, t_ns=111))
    assert e.values[0] == 40
    assert e.t_ns == 111
    assert see(e, frame(3, 99, t_ns=222)) is False  # the same frame again
    assert e.values[0] == 40


def test_a_recurrent_model_advances_once_per_complete_hop(adder):
    e = Estimator(load_bundle(str(adder)), SOURCES)
    data = ramp(25)
    assert hear(e, chunk(0, data[:9], 9)) is False
    assert hear(e, chunk(9, data[9:25], 25_000_000))
    assert e.values[0] == np.mean(np.arange(1, 11)) + np.mean(np.arange(11, 21))
    # 5 samples of the last chunk are not yet part of a step: the value is that much older.
    assert e.t_ns == 25_000_000 - 5_000_000


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_any_cutting_of_the_same_samples_gives_the_same_bits(adder, sizes, random):
    data = np.random.default_rng(0).normal(0, 50, (sum(sizes), 2)).astype(np.float32)
    whole = Estimator(load_bundle(str(adder)), SOURCES)
    for k in range(0, len(data), 100):
        hear(whole, chunk(k, data[k : k + 100]))
    cut, at, waiting = Estimator(load_bundle(str(adder)), SOURCES), 0, []
    for n in sizes:
        waiting.append(chunk(at, data[at : at + n]))
        at += n
        if random.random() < 0.6:
            hear(cut, *waiting)
            waiting = []
    hear(cut, *waiting)
    assert whole.values.tobytes() == cut.values.tobytes()


def test_a_backlog_longer_than_a_stall_is_cut_and_counted(adder):
    e = Estimator(load_bundle(str(adder)), SOURCES)
    n = MAX_STEPS + 5
    hear(e, chunk(0, np.full((HOP * n, 2), 2.0), t_ns=10**9))
    assert e.dropped_hops == n - KEEP_STEPS
    assert e.values[0] == 2.0 * KEEP_STEPS  # its past began again
    assert e.t_ns == 10**9  # and it is up to date
    assert not hear(e)


def test_a_hop_without_one_good_sample_is_a_fault(adder):
    e = Estimator(load_bundle(str(adder)), SOURCES)
    hear(e, chunk(0, ramp(HOP)))
    assert not e.fault
    hear(e, chunk(HOP, np.full((HOP, 2), np.nan)))
    assert e.fault
    hear(e, chunk(2 * HOP, ramp(HOP)))
    assert not e.fault


def test_lost_samples_keep_the_timing_of_the_hops(adder):
    e = Estimator(load_bundle(str(adder)), SOURCES)
    hear(e, chunk(0, np.full((8, 2), 5.0)))
    hear(e, chunk(13, np.full((7, 2), 5.0)))  # 5 lost: held at the last good value
    assert e.values[0] == 10.0
    assert e.emg.counters["lost"] == 5


def test_a_network_that_gives_nan_is_a_fault_and_recovers(adder):
    e = Estimator(load_bundle(str(adder)), SOURCES)
    e.engine.inputs["h"][...] = np.nan
    hear(e, chunk(0, ramp(10)))
    assert e.fault
    hear(e, chunk(10, ramp(10)))
    assert not e.fault
    assert np.isfinite(e.values).all()


def test_one_bad_hop_of_several_in_a_tick_is_not_hidden_by_the_next(adder):
    e = Estimator(load_bundle(str(adder)), SOURCES)
    missing = ramp(HOP)
    missing[:, 1] = np.nan
    assert hear(e, chunk(0, missing), chunk(HOP, ramp(HOP)))
    assert e.fault
    hear(e, chunk(2 * HOP, ramp(HOP)))
    assert not e.fault
    e.engine.inputs["h"].fill(np.nan)
    hear(e, chunk(3 * HOP, ramp(HOP)), chunk(4 * HOP, ramp(HOP)))
    assert e.fault


def test_a_model_that_waits_is_in_doubt_as_long_as_it_speaks_of_a_bad_hop(seer):
    e = Estimator(load_bundle(str(seer)), SOURCES)  # 5 ms late, a hop is 10 ms
    bad = ramp(HOP)
    bad[:, 1] = np.nan
    found = []
    for k, data in enumerate([ramp(HOP), bad, ramp(HOP), ramp(HOP)]):
        hear(e, chunk(k * HOP, data))
        found.append(e.fault)
    assert found == [False, True, True, False]


def test_a_model_that_settles_is_in_doubt_at_first_and_after_it_forgot(adder):
    bundle = load_bundle(str(adder))
    bundle = replace(bundle, spec=replace(bundle.spec, settle_ms=20.0))
    e = Estimator(bundle, SOURCES)
    found = []
    for k in range(5):
        if k == 3:
            e.engine.inputs["h"].fill(np.nan)
        hear(e, chunk(k * HOP, ramp(HOP)))
        found.append(e.fault)
    assert found == [True, True, False, True, True]


@pytest.mark.parametrize(("brightness", "sd"), [(3, 1.44), (2, np.inf), (1, 0.0), (0, np.nan)])
def test_a_picture_that_the_network_itself_doubts_is_a_fault(doubter, brightness, sd):
    e = Estimator(load_bundle(str(doubter)), SOURCES)
    see(e, frame(0, 100))
    assert not e.fault
    see(e, frame(1, brightness))
    assert e.fault
    np.testing.assert_allclose(e.sd, [sd], atol=0.01)  # what it said is still sent and recorded
    assert e.values[0] == brightness
    see(e, frame(2, 100))
    assert not e.fault


def test_maps_travel_beside_the_values(doubter):
    e = Estimator(load_bundle(str(doubter)), SOURCES)
    see(e, frame(0, 100))
    assert e.engine.outputs[e.spec.maps].shape == (1, len(e.spec.map_names), 4, 6)
    assert (e.engine.outputs[e.spec.maps] == 100).all()


def test_a_bundle_that_only_draws_maps_is_no_model_for_the_daemon(mapper):
    bundle = load_bundle(str(mapper))
    engine = open_engine(bundle)  # it runs where maps are wanted
    assert engine.outputs["seen"].shape == (1, 2, 4, 6)
    with pytest.raises(SpecError, match=r"estimates no state: take it out of models = \[...\]"):
        Estimator(bundle, SOURCES)


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        (Sources(None, 1000.0, ("TA",)), "set rig.probe"),
        (Sources(Geometry("rf", 4, 6, 0.2, 0.3), 0.0, ()), "wants bmode frames"),
        (Sources(Geometry("bmode", 5, 6, 0.2, 0.3), 0.0, ()), r"\(5, 6\)"),
    ],
)
def test_a_rig_that_does_not_fit_an_image_model_is_refused(brightness, sources, says):
    with pytest.raises(SpecError, match=says):
        Estimator(load_bundle(str(brightness)), sources)


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        (Sources(GEOMETRY, 0.0, ()), "set rig.emg"),
        (Sources(None, 2000.0, ("TA",)), "1000 Hz, the amplifier gives 2000 Hz"),
        (Sources(None, 1000.0, ("MG",)), r"listens to \['TA'\]"),
    ],
)
def test_a_rig_that_does_not_fit_an_emg_model_is_refused(adder, sources, says):
    with pytest.raises(SpecError, match=says):
        Estimator(load_bundle(str(adder)), sources)


@pytest.mark.parametrize(
    "steps",
    [
        (Step("rectify"), Step("bin"), Step("window", {"hops": 1 << 60})),
        (Step("highpass", {"hz": 1e-300, "order": 4}), Step("rectify"), Step("bin")),
    ],
)
def test_preparation_that_cannot_be_computed_is_a_spec_error_not_a_crash(adder, steps):
    bundle = load_bundle(str(adder))
    spec = replace(bundle.spec, inputs=(replace(bundle.spec.inputs[0], steps=steps),))
    with pytest.raises(SpecError, match="'emg' cannot be prepared like this .*: export it again"):
        Estimator(replace(bundle, spec=spec), SOURCES)
