import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.block_filter import BlockFilter
from edge.filters import design
from models.spec import SpecError, Step

FS_HZ = 2000.0
STEPS = [
    Step("highpass", {"hz": 10, "order": 4}),
    Step("bandpass", {"low_hz": 20, "high_hz": 450}),
    Step("notch", {"hz": 50}),
    Step("envelope", {"hz": 5}),
]


def run_blocks(block: BlockFilter, x: np.ndarray) -> np.ndarray:
    out = []
    for part in x.reshape(-1, *block.x.shape):
        block.x[...] = part
        out.append(block.run().copy())
    return np.concatenate(out)


@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.op)
@pytest.mark.parametrize("hop", [1, 7, 20])
def test_equals_sosfilt_on_the_whole_signal(step, hop):
    x = np.random.default_rng(1).normal(0, 300, (hop * 200, 3))
    sos = design(step, FS_HZ)
    expected = scipy.signal.sosfilt(sos, x, axis=0)
    np.testing.assert_allclose(
        run_blocks(BlockFilter(sos, hop, 3), x), expected, rtol=1e-9, atol=1e-9
    )


def test_a_cascade_equals_its_filters_one_after_the_other():
    x = np.random.default_rng(2).normal(0, 300, (4000, 1))
    parts = [design(s, FS_HZ) for s in STEPS]
    expected = x
    for sos in parts:
        expected = scipy.signal.sosfilt(sos, expected, axis=0)
    found = run_blocks(BlockFilter(np.concatenate(parts), 20, 1), x)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(level=st.floats(-1e5, 1e5), hz=st.floats(1, 100), order=st.integers(1, 4))
def test_a_settled_high_pass_does_not_ring_on_an_electrodes_offset(level, hz, order):
    block = BlockFilter(design(Step("highpass", {"hz": hz, "order": order}), FS_HZ), 20, 1)
    block.settle(np.array([level]))
    found = run_blocks(block, np.full((200, 1), level))
    assert np.abs(found).max() <= 1e-6 * max(1.0, abs(level))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Step("highpass", {"hz": 1000}), "1000 Hz does not hold"),
        (Step("bandpass", {"low_hz": 450, "high_hz": 20}), "does not hold"),
        (Step("notch", {"hz": -50}), "does not hold"),
        (Step("envelope", {"hz": 5, "order": 1.5}), "order must be a positive whole number"),
        (Step("envelope", {}), r"missing \['hz'\]"),
        (Step("envelope", {"hz": 5, "herz": 6}), r"unknown arguments \['herz'\]"),
        (Step("envelope", {"hz": float("nan")}), "hz must be finite"),
    ],
)
def test_a_filter_that_cannot_be_built_says_why(step, message):
    with pytest.raises(SpecError, match=message):
        design(step, FS_HZ)
