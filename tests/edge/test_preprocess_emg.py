import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.preprocess import EmgPipeline
from models.spec import Input, SpecError, Step

FS_HZ = 2000.0
CHAIN = (
    Step("bandpass", {"low_hz": 20, "high_hz": 450}),
    Step("notch", {"hz": 50}),
    Step("rectify"),
    Step("envelope", {"hz": 8}),
    Step("bin"),
    Step("log1p", {"gain": 0.1}),
    Step("window", {"hops": 3}),
)


def make(
    steps=CHAIN,
    shape=(1, 6),
    channels=("TA", "MG"),
    rate_hz=FS_HZ,
    hop=20,
    device=("MG", "x", "TA"),
):
    inp = Input("emg", shape, "emg", tuple(steps), rate_hz=rate_hz, hop=hop, channels=channels)
    return EmgPipeline(FS_HZ, device, inp)


def noise(samples: int, channels: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 200, (samples, channels)).astype(np.float32)


def drain(pipe: EmgPipeline) -> list[np.ndarray]:
    out = []
    while (step := pipe.next_step()) is not None:
        out.append(step.copy())
    return out


def feed(pipe: EmgPipeline, x: np.ndarray, cuts: list[int] | None = None) -> np.ndarray:
    out = []
    for part in np.split(x, sorted(cuts)) if cuts is not None else np.split(x, len(x) // 20):
        pipe.push(part)
        out += drain(pipe)
    return np.stack(out)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 1000), max_size=40), drain_late=st.booleans())
def test_any_chunking_gives_the_same_bits(cuts, drain_late):
    x = noise(1000)
    x[200:203, 0] = np.nan
    expected = feed(make(), x)
    pipe = make()
    if drain_late:
        for part in np.split(x, sorted(cuts)):
            pipe.push(part)
        found = np.stack(drain(pipe))
    else:
        found = feed(pipe, x, cuts)
    assert found.tobytes() == expected.tobytes()


def test_the_chain_equals_scipy_on_the_whole_signal():
    x = noise(4000, 1)
    inp = (*CHAIN[:5], Step("scale", {"gain": 0.5}))
    found = feed(make(inp, (1, 1), ("a",), device=("a",)), x)[:, 0, 0]
    band = scipy.signal.butter(2, (20, 450), "bandpass", fs=FS_HZ, output="sos")
    hum = scipy.signal.tf2sos(*scipy.signal.iirnotch(50, 30, FS_HZ))
    low = scipy.signal.butter(2, 8, fs=FS_HZ, output="sos")
    sos = np.concatenate([band, hum])
    state = scipy.signal.sosfilt_zi(sos) * x[0].astype(float)
    y, _ = scipy.signal.sosfilt(sos, x[:, 0].astype(float), zi=state)
    y = scipy.signal.sosfilt(low, np.abs(y)).reshape(-1, 20).mean(axis=1) * 0.5
    np.testing.assert_allclose(found, y, rtol=1e-6)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step("rectify"), lambda x: np.abs(x)),
        (Step("bin"), lambda x: x.mean(axis=0, keepdims=True)),
        (Step("rms"), lambda x: np.sqrt((x**2).mean(axis=0, keepdims=True))),
        (Step("scale", {"gain": 3}), lambda x: 3 * x),
        (Step("log1p", {"gain": 0.2}), lambda x: np.log1p(0.2 * np.maximum(x, 0))),
        (Step("clip", {"max": 50}), lambda x: np.clip(x, -50, 50)),
    ],
    ids=lambda v: getattr(v, "op", ""),
)
def test_each_step_does_what_it_says(step, expected):
    x = noise(20, 2)
    want = expected(x.astype(float))
    found = feed(make((step,), want.shape, ("a", "b"), device=("a", "b")), x)[0]
    np.testing.assert_allclose(found, want, rtol=1e-6)


def test_a_window_holds_the_last_hops_oldest_first():
    steps = (Step("bin"), Step("window", {"hops": 3}))
    x = np.repeat(np.arange(1, 6, dtype=np.float32), 20)[:, None]
    found = feed(make(steps, (1, 3), ("a",), device=("a",)), x)[:, 0]
    assert found.tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]


def test_channels_are_picked_by_name_in_the_order_of_the_spec():
    x = np.tile(np.float32([1, 2, 3]), (20, 1))
    assert feed(make((Step("bin"),), (1, 2)), x)[0].tolist() == [[3, 1]]


def test_an_electrodes_offset_leaves_no_transient():
    x = noise(2000)
    plain = feed(make(), x)
    assert np.abs(feed(make(), x + 50_000) - plain).max() < 0.5
    assert plain.max() > 1.0


def test_missing_samples_hold_the_last_good_value_and_are_counted():
    x = noise(200, 1)
    holed, held = x.copy(), x.copy()
    holed[33:36], holed[100] = np.nan, np.inf
    held[33:36], held[100] = x[32], x[99]
    one = {"steps": (Step("rectify"),), "shape": (20, 1), "channels": ("a",), "device": ("a",)}
    pipe = make(**one)
    np.testing.assert_array_equal(feed(pipe, holed), feed(make(**one), held))
    assert pipe.counters["bad_samples"] == 4


def test_only_the_channels_of_the_model_are_judged():
    x = noise(2000)
    x[:, 1] = np.nan
    pipe = make()
    feed(pipe, x)
    assert not pipe.unreliable
    assert pipe.counters["bad_samples"] == 0


@pytest.mark.parametrize("value", [0.0, 812.5, np.nan])
def test_a_constant_channel_is_dead_after_100_ms_and_alive_at_once(value):
    x = noise(1000)
    x[200:600, 2] = value  # TA: bit 0
    pipe = make()
    masks = []
    for part in np.split(x, 50):
        pipe.push(part)
        pipe.next_step()
        masks.append(pipe.dead_channels)
    assert masks[:20] == [0] * 20
    assert masks[21:30] == [1] * 9
    assert masks[30:] == [0] * 20
    assert pipe.counters["dead"] == sum(masks)


def test_clipped_peaks_are_called_saturated_and_clean_ones_are_not():
    t = np.arange(2000) / FS_HZ
    clean = np.float32(3000 * np.sin(2 * np.pi * 60 * t))[:, None]
    one = {"steps": (Step("rms"),), "shape": (1, 1), "channels": ("a",), "device": ("a",)}
    pipe = make(**one)
    feed(pipe, clean)
    assert not pipe.saturated
    pipe = make(**one)
    feed(pipe, np.clip(clean, -1500, 1500))
    assert pipe.saturated == 1
    assert pipe.unreliable


@pytest.mark.parametrize("hop", [1, 4, 20])
def test_drift_always_at_a_new_extreme_is_not_saturated(hop):
    x = np.arange(4000, dtype=np.float32)[:, None]
    pipe = make((Step("rms"),), (1, 1), ("a",), hop=hop, device=("a",))
    feed(pipe, x)
    assert not pipe.unreliable


def test_a_quiet_channel_of_a_coarse_converter_is_not_saturated():
    x = np.random.default_rng(3).integers(-1, 2, (2000, 1)).astype(np.float32) * 5
    pipe = make((Step("rms"),), (1, 1), ("a",), device=("a",))
    feed(pipe, x)
    assert not pipe.unreliable


def test_a_known_rail_needs_no_history():
    x = np.clip(noise(200, 1) * 10, -1000, 900)
    steps = (Step("limits", {"rail_uv": 900}), Step("rms"))
    pipe = make(steps, (1, 1), ("a",), device=("a",))
    feed(pipe, x)
    assert pipe.saturated == 1


def test_a_short_gap_keeps_the_timing():
    x = noise(400, 1)
    one = {"steps": (Step("rectify"),), "shape": (20, 1), "channels": ("a",), "device": ("a",)}
    pipe = make(**one)
    pipe.push(x[:130])
    pipe.gap(60)
    pipe.push(x[190:])
    found = np.concatenate(drain(pipe))
    expected = np.abs(x)
    expected[130:190] = np.abs(x[129])
    np.testing.assert_array_equal(found, expected)
    assert (pipe.counters["lost"], pipe.counters["filled"], pipe.counters["restarts"]) == (
        60,
        60,
        0,
    )


def test_after_a_long_gap_it_starts_again():
    x = noise(600)
    pipe = make()
    pipe.push(x[:150])
    drain(pipe)
    pipe.gap(1000)
    assert pipe.pending == 0
    np.testing.assert_array_equal(feed(pipe, x[200:]), feed(make(), x[200:]))
    assert (pipe.counters["lost"], pipe.counters["filled"], pipe.counters["restarts"]) == (
        1000,
        0,
        1,
    )


def test_an_unread_backlog_is_dropped_counted_and_survived():
    x = noise(20_000)
    pipe = make()
    for part in np.split(x, 100):
        pipe.push(part)
    assert pipe.pending <= 4 * FS_HZ
    assert pipe.counters["overflow"] > 0
    assert all(np.isfinite(s).all() for s in drain(pipe))
    pipe.push(x)  # longer than the whole ring
    assert np.isfinite(drain(pipe)).all()


def test_pending_counts_what_no_step_has_used_yet():
    pipe = make()
    pipe.push(noise(50))
    assert (pipe.pending, pipe.steps) == (50, 2)
    pipe.next_step()
    assert (pipe.pending, pipe.steps) == (30, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_hz": 1000.0}, "made for EMG at 1000 Hz, the amplifier gives 2000 Hz"),
        (
            {"channels": ("TA", "SOL")},
            r"listens to \['SOL'\], the amplifier has \['MG', 'x', 'TA'\]",
        ),
        ({"shape": (1, 5)}, r"steps give \(3, 2\), not \(1, 5\)"),
        ({"steps": (Step("hipass"),)}, "no EMG step 'hipass'; known"),
        ({"steps": (Step("bin"), Step("envelope", {"hz": 5}))}, "after the hop was reduced"),
        ({"steps": (Step("window", {"hops": 0}),)}, "hops must be a positive whole number"),
        ({"steps": (Step("limits", {"rail": 1}),)}, "known"),
    ],
)
def test_what_does_not_fit_is_refused_at_start(changes, message):
    with pytest.raises(SpecError, match=message):
        make(**changes)
