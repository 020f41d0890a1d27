"""The chain before LFADS: the paper's against scipy, the device's against itself in pieces."""

import os

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from edge.preprocess import EmgPipeline
from training.emg import HIGHPASS_HZ, EmgChain, Scale
from training.readers import GAIT_CHANNELS, gait_emg

FS = 1000.0


def emg(seconds=2.0, channels=3, fs=FS):
    return 50 * np.random.default_rng(1).standard_normal((round(seconds * fs), channels))


def test_the_papers_chain_is_notch_high_pass_rectify_resample_abs():
    x = emg()
    found = EmgChain(FS, 60.0).bins(x)
    for hz in (60, 120, 240, 300, 420):  # the paper's five
        b, a = scipy.signal.iirnotch(hz, hz / 2, FS)
        x = scipy.signal.filtfilt(b, a, x, axis=0, padlen=9)
    b, a = scipy.signal.butter(4, HIGHPASS_HZ, "highpass", fs=FS)
    x = np.abs(scipy.signal.filtfilt(b, a, x, axis=0))
    x = np.abs(scipy.signal.resample_poly(x, 1, 2, axis=0))
    middle = slice(200, -200)  # the two differ in how they begin and end
    np.testing.assert_allclose(found[middle], x[middle], rtol=1e-3, atol=1e-3)


@given(cuts=st.lists(st.integers(1, 400), min_size=1, max_size=6))
def test_the_devices_chain_gives_the_same_bits_in_any_pieces(cuts):
    x = emg(0.8).astype(np.float32)
    chain, names = EmgChain(FS), ["a", "b", "c"]
    whole = chain.bins(x, "device")
    pipeline = EmgPipeline(FS, names, chain.input(names))
    found = []
    for part in np.split(x, np.cumsum(cuts)[np.cumsum(cuts) < len(x)]):
        pipeline.push(part)
        while (row := pipeline.next_step()) is not None:
            found.append(row.copy().ravel())
    np.testing.assert_array_equal(np.array(found), whole.astype(np.float32))


def test_the_devices_chain_is_scipys_causal_filters():
    x = emg()
    found = EmgChain(FS).bins(x, "device")
    y = x - 0.0
    for hz in (50, 100, 200, 250, 350):
        sos = scipy.signal.tf2sos(*scipy.signal.iirnotch(hz, hz / 2, FS))
        y = scipy.signal.sosfilt(sos, y, axis=0)
    sos = scipy.signal.butter(4, HIGHPASS_HZ, "highpass", fs=FS, output="sos")
    y = np.abs(scipy.signal.sosfilt(sos, y, axis=0))
    y = y.reshape(-1, 2, 3).mean(1)
    np.testing.assert_allclose(found[500:], y[500:], rtol=1e-3, atol=1e-2)


@pytest.mark.skipif(not os.environ.get("SONOMYO_DATA"), reason="SONOMYO_DATA names no recordings")
def test_both_chains_tell_the_same_story_of_thirteen_muscles():
    g = gait_emg()
    chain = EmgChain(g.fs_hz)
    slow = scipy.signal.butter(4, 20, fs=500, output="sos")
    paper, device = (
        scipy.signal.sosfiltfilt(slow, chain.bins(g.emg_uv, how), axis=0)
        for how in ("paper", "device")
    )
    n = min(map(len, (paper, device)))
    alike = [np.corrcoef(paper[: n - 1, k], device[1:n, k])[0, 1] for k in range(13)]
    assert len(GAIT_CHANNELS) == 13
    assert min(alike) > 0.95


def test_mains_hum_is_taken_out_and_muscle_stays():
    x = emg(4.0, 1)
    t = np.arange(len(x)) / FS
    hum = 200 * np.sin(2 * np.pi * 50 * t)[:, None]
    chain = EmgChain(FS, 50.0)
    clean, dirty = chain.bins(x), chain.bins(x + hum)
    middle = slice(400, -400)  # the notch rings for a second
    assert np.abs(dirty - clean)[middle].mean() < 0.05 * clean.mean()
    assert chain.bins(hum)[middle].mean() < 0.01 * 200


@pytest.mark.parametrize(("fs", "say"), [(1024.0, "bins of 2 ms"), (500.0 / 4, "bins of 2 ms")])
def test_a_rate_that_does_not_fit_is_refused_with_a_remedy(fs, say):
    with pytest.raises(ValueError, match=say):
        EmgChain(fs)


def test_what_is_no_number_is_refused():
    x = emg()
    x[7, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        EmgChain(FS).bins(x)


def test_every_channel_comes_out_about_one():
    bins = np.abs(emg(20.0)) * [1, 10, 100]
    bins[5] *= 1e6  # one artefact decides nothing
    found = Scale.of(bins).apply(bins)
    np.testing.assert_allclose(np.quantile(found, 0.95, axis=0), 1.0, rtol=1e-3)
    assert found.max() < 3


def test_a_flat_channel_has_no_scale():
    with pytest.raises(ValueError, match=r"channels \[1\]"):
        Scale.of(np.stack([np.arange(50.0), np.zeros(50)], 1))


def test_a_window_holds_the_last_bins_and_moves_several_at_a_time():
    x = emg(1.0).astype(np.float32)
    chain, names = EmgChain(FS), ["a", "b", "c"]
    one_by_one = chain.bins(x, "device").astype(np.float32)
    pipeline = EmgPipeline(FS, names, chain.window(names, bins=20, hop_bins=5))
    pipeline.push(x)
    windows = []
    while (window := pipeline.next_step()) is not None:
        windows.append(window[0].copy())
    assert len(windows) == len(one_by_one) // 5
    for k in (3, 10, 50):
        np.testing.assert_array_equal(windows[k], one_by_one[5 * k - 15 : 5 * k + 5])


def test_steps_that_do_not_fill_a_window_are_refused():
    with pytest.raises(ValueError, match="do not fill"):
        EmgChain(FS).window(["a"], bins=100, hop_bins=3)
