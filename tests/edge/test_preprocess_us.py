import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.preprocess import UsPipeline
from edge.resample import resampler, weights
from firmware_bridge.types import Geometry
from models.spec import Input, SpecError, Step

BMODE = Geometry("bmode", lines=180, samples=287, dz_mm=0.1766, dx_mm=0.3532)
RF = Geometry("rf", lines=4, samples=400, dz_mm=0.09625, dx_mm=0.3)
WINDOW = {"depth0_mm": 0, "depth_mm": 50, "width_mm": 60, "lines": 128, "samples": 128}


def make(geometry: Geometry, *steps: Step, shape=(1, 1, 128, 128), kind="") -> UsPipeline:
    return UsPipeline(geometry, Input("image", shape, "us", steps, kind=kind))


def picture(geometry: Geometry, at_mm, offset_x_mm: float = 0.0) -> np.ndarray:
    """Brightness as a function of place (across from the middle, depth), on a probe's raster."""
    x = (np.arange(geometry.lines) + 0.5 - geometry.lines / 2) * geometry.dx_mm + offset_x_mm
    z = geometry.depth0_mm + (np.arange(geometry.samples) + 0.5) * geometry.dz_mm
    return np.clip(at_mm(x[:, None], z[None]), 0, 255).astype(np.uint8)


def smooth(x, z):
    return 120 + 60 * np.sin(x / 4) + 50 * np.cos(z / 3)


@settings(max_examples=60, deadline=None)
@given(
    n_in=st.integers(1, 60),
    n_out=st.integers(1, 60),
    start=st.floats(0, 0.4),
    stop=st.floats(0.6, 1),
)
def test_taps_equal_the_weight_matrix_and_keep_the_mean_level(n_in, n_out, start, stop):
    axis = (start * n_in, stop * n_in, n_out)
    matrix = weights(n_in, axis)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-5)
    x = np.random.default_rng(1).uniform(0, 255, (n_in, 5)).astype(np.float32)
    run, _ = resampler(x.shape, axis, (0, 5, 5))
    np.testing.assert_allclose(run(x), matrix @ x, rtol=1e-4, atol=1e-3)


def test_shrinking_averages_areas():
    matrix = weights(6, (0, 6, 2))
    np.testing.assert_allclose(matrix, [[1 / 3] * 3 + [0] * 3, [0] * 3 + [1 / 3] * 3], rtol=1e-6)


def test_growing_is_linear_and_never_leaves_the_picture():
    np.testing.assert_allclose(
        weights(2, (0, 2, 4)), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]], rtol=1e-6
    )


def test_the_same_size_is_the_same_picture():
    image = np.random.default_rng(1).integers(0, 256, (180, 287), np.uint8)
    pipe = make(BMODE, Step("resize", {"lines": 180, "samples": 287}), shape=(1, 1, 180, 287))
    np.testing.assert_array_equal(pipe.run(image)[0, 0], image)


@pytest.mark.parametrize(
    "other",
    [
        Geometry("bmode", 128, 512, dz_mm=0.11, dx_mm=0.5),
        Geometry("bmode", 256, 600, dz_mm=0.1, dx_mm=0.3, depth0_mm=-2.0),
        Geometry("bmode", 100, 100, dz_mm=0.6, dx_mm=0.7),
    ],
)
def test_another_probe_gives_the_same_picture(other):
    crop = Step("physical_crop", WINDOW)
    ours = make(BMODE, crop).run(picture(BMODE, smooth)).copy()
    theirs = make(other, crop).run(picture(other, smooth))
    assert np.abs(ours - theirs).mean() < 2.0
    assert ours.std() > 30


def test_a_window_may_be_off_centre():
    crop = Step("physical_crop", WINDOW | {"x0_mm": 0, "width_mm": 30, "depth_mm": 40})
    left = make(BMODE, crop).run(picture(BMODE, lambda x, z: 200 * (x < 0) + 0 * z))
    assert left[0, 0, :120].min() > 199.9


def test_normalise_uses_fixed_numbers():
    steps = (
        Step("resize", {"lines": 128, "samples": 128}),
        Step("normalise", {"mean": 50, "std": 25}),
    )
    out = make(BMODE, *steps).run(np.full((180, 287), 100, np.uint8))
    np.testing.assert_allclose(out, 2.0, rtol=1e-5)


def test_the_tensor_is_one_reused_buffer():
    pipe = make(BMODE, Step("physical_crop", WINDOW))
    first = pipe.run(np.zeros((180, 287), np.uint8))
    assert pipe.run(np.full((180, 287), 255, np.uint8)) is first
    assert first.min() > 254


def test_an_rf_line_becomes_its_envelope_without_the_converters_offset():
    rng = np.random.default_rng(1)
    rf = (rng.normal(0, 500, (4, 400)) + 700).astype(np.int16)
    pipe = make(RF, Step("rf_envelope"), shape=(1, 1, 4, 400), kind="rf")
    expected = np.abs(scipy.signal.hilbert(rf - rf.mean(axis=1, keepdims=True), axis=1))
    np.testing.assert_allclose(pipe.run(rf)[0, 0], expected, rtol=1e-3, atol=1.0)


def test_log_compression_puts_the_brightest_at_255_and_the_range_at_0():
    rf = np.zeros((4, 400), np.int16)
    rf[0, :3] = 10_000, 100, 1  # 0, -40, -80 dB
    pipe = make(RF, Step("log_compress", {"dynamic_range_db": 60}), shape=(1, 1, 4, 400))
    np.testing.assert_allclose(pipe.run(rf)[0, 0, 0, :3], [255, 85, 0], atol=1e-2)
    assert not pipe.run(np.zeros((4, 400), np.int16)).any()


def test_a_single_line_probe_can_be_cropped_in_depth():
    line = Geometry("rf", 1, 400, dz_mm=0.09625, dx_mm=0.0)
    crop = {"depth0_mm": 5, "depth_mm": 30, "lines": 1, "samples": 100}
    steps = (Step("rf_envelope"), Step("physical_crop", crop))
    out = make(line, *steps, shape=(1, 1, 1, 100)).run(np.ones((1, 400), np.int16))
    assert out.shape == (1, 1, 1, 100)


@pytest.mark.parametrize(
    ("geometry", "steps", "message"),
    [
        (RF, (), "wants bmode frames, the probe gives rf"),
        (
            BMODE,
            (Step("physical_crop", WINDOW | {"depth_mm": 60}),),
            "0..60 mm deep, the probe shows",
        ),
        (BMODE, (Step("physical_crop", WINDOW | {"width_mm": 80}),), "mm across"),
        (BMODE, (Step("physical_crop", WINDOW | {"depth_mm": -5}),), "physical_crop"),
        (BMODE, (Step("physical_crop", {}),), "missing"),
        (BMODE, (Step("blur"),), "no ultrasound step 'blur'; known"),
        (BMODE, (), r"steps give \(180, 287\), not \(1, 1, 128, 128\)"),
        (BMODE, (Step("normalise", {"mean": 0, "std": 0}),), "std must be positive"),
        (BMODE, (Step("log_compress", {"dynamic_range_db": 0}),), "no dynamic range"),
        (BMODE, (Step("resize", {"lines": 128, "samples": 0.5}),), "positive whole number"),
    ],
)
def test_what_does_not_fit_is_refused_at_start(geometry, steps, message):
    with pytest.raises(SpecError, match=message):
        make(geometry, *steps, kind="bmode")
