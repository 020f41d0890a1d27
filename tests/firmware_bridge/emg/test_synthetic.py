import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.emg import open_emg
from firmware_bridge.emg.electrodes import BLOCK_S, DROPOUT_S, Electrodes, Sound
from firmware_bridge.types import DeviceError
from firmware_bridge.wearer import truth

FS_HZ = 1000.0
NOISY = Sound(hum_uv=50, drift_uv=300, pop_hz=3, dropout_hz=2, clip_uv=1500)
WHOLE = Electrodes(FS_HZ, ("MG", "TA"), 7, NOISY).take(3000)


@given(st.lists(st.integers(1, 700), min_size=1, max_size=20))
@settings(deadline=None, max_examples=25)
def test_the_signal_does_not_depend_on_how_it_is_taken(sizes):
    electrodes = Electrodes(FS_HZ, ("MG", "TA"), 7, NOISY)
    parts, taken = [], 0
    for size in sizes:
        size = min(size, 3000 - taken)
        parts.append(electrodes.take(size))
        taken += size
    np.testing.assert_array_equal(np.concatenate(parts), WHOLE[:taken])


def test_another_seed_is_another_signal():
    other = Electrodes(FS_HZ, ("MG", "TA"), 8, NOISY).take(3000)
    assert not np.array_equal(other, WHOLE, equal_nan=True)


def test_the_envelope_follows_the_known_activation():
    electrodes = Electrodes(FS_HZ, ("MG", "TA", "SOL"), 1, Sound())
    signal = electrodes.take(24_000).astype(float)
    activation = electrodes.activation(0, 24_000)
    wearer = truth(np.arange(24_000) / FS_HZ, seed=1)
    np.testing.assert_array_equal(
        activation.T, [wearer.activation, wearer.activation_ta] + [wearer.activation]
    )
    rms = np.sqrt((signal.reshape(-1, 200, 3) ** 2).mean(axis=1))
    level = 400 * np.sqrt((activation.reshape(-1, 200, 3) ** 2).mean(axis=1))
    for channel in range(3):
        assert np.corrcoef(rms[:, channel], level[:, channel])[0, 1] > 0.97
        assert rms[:, channel].mean() == pytest.approx(level[:, channel].mean(), rel=0.1)
    assert abs(np.corrcoef(signal[:, 0], signal[:, 2])[0, 1]) < 0.1  # each electrode its own noise


def test_the_blocks_it_is_made_in_leave_no_seam():
    signal = Electrodes(4000.0, ("MG",), 1, Sound(noise_uv=0)).take(100_000)[:, 0].astype(float)
    power = (signal.reshape(-1, round(BLOCK_S * 4000)) ** 2).mean(axis=0)  # by place in the block
    assert power[:2].mean() == pytest.approx(power.mean(), rel=0.25)


def spectrum(signal):
    power = np.abs(np.fft.rfft(signal * np.hanning(len(signal)))) ** 2
    return np.fft.rfftfreq(len(signal), 1 / FS_HZ), power


def test_power_lies_in_the_band_of_surface_emg():
    hz, power = spectrum(Electrodes(FS_HZ, ("MG",), 1, Sound(noise_uv=0)).take(16_000)[:, 0])
    assert power[(hz > 20) & (hz < 450)].sum() > 0.9 * power.sum()
    assert power[hz < 5].sum() < 0.002 * power.sum()


@pytest.mark.parametrize("hum_hz", [50.0, 60.0])
def test_hum_stands_on_the_mains_and_its_odd_harmonics(hum_hz):
    quiet = Sound(emg_uv=0, noise_uv=0.1, hum_uv=20, hum_hz=hum_hz)
    signal = Electrodes(FS_HZ, ("TA",), 1, quiet).take(4000)[:, 0]
    hz, power = spectrum(signal)
    assert sorted(hz[np.argsort(power)[-9:]].round(-1)) == sorted(
        [hum_hz, 3 * hum_hz, 5 * hum_hz] * 3
    )
    assert np.sqrt(2 * np.mean(signal**2)) == pytest.approx(
        20 * np.sqrt(1 + 0.09 + 0.0225), rel=0.02
    )


def test_drift_is_slow_and_as_large_as_asked():
    signal = Electrodes(FS_HZ, ("TA",), 1, Sound(0, 0, drift_uv=500)).take(60_000)[:, 0]
    assert 300 < np.abs(signal).max() <= 500
    assert np.abs(np.diff(signal)).max() < 500 * 2 * np.pi * 0.7 / FS_HZ


def test_a_pop_jumps_and_dies_away():
    signal = Electrodes(FS_HZ, ("TA",), 2, Sound(0, 0, pop_hz=0.3, pop_uv=2000)).take(30_000)[:, 0]
    jumps = np.flatnonzero(np.abs(np.diff(signal)) > 1500)
    assert 3 <= len(jumps) <= 20  # 9 on average
    alone = [j for j in jumps if np.abs(jumps - j)[jumps != j].min() > 800 and j < 29_000]
    assert alone
    for j in alone:
        assert abs(signal[j + 700]) < 0.02 * abs(signal[j + 1]) + 20


def test_contact_is_lost_for_a_while_and_saturation_is_flat():
    signal = Electrodes(FS_HZ, ("TA",), 1, Sound(dropout_hz=0.5, clip_uv=100)).take(20_000)[:, 0]
    lost = np.isnan(signal)
    starts = np.flatnonzero(np.diff(lost.astype(int)) == 1)
    assert 3 <= len(starts) <= 20  # 10 on average
    assert lost.sum() <= (len(starts) + 1) * (DROPOUT_S * FS_HZ + 1)
    assert lost[starts[0] + 1 : starts[0] + 1 + int(DROPOUT_S * FS_HZ) - 1].all()
    assert np.nanmax(np.abs(signal)) == 100
    assert (np.abs(signal) == 100).sum() > 50


def test_the_device_plays_the_electrodes_in_real_time_and_knows_the_truth():
    emg = open_emg(
        "synthetic:?fs_hz=1000&channels=MG,TA&seed=7&hum_uv=50&drift_uv=300&pop_hz=3"
        "&dropout_hz=2&clip_uv=1500"
    )
    chunks = []
    while sum(len(c.data) for c in chunks) < 150:
        if chunk := emg.read(0.05):
            chunks.append(chunk)
    emg.close()
    data = np.concatenate([c.data for c in chunks])
    np.testing.assert_array_equal(data, WHOLE[: len(data)])
    assert emg.counters == {"nan_samples": int(np.isnan(data).any(axis=1).sum())}
    start_ns = {c.t_ns - (c.seq + len(c.data)) * 1_000_000 for c in chunks}
    assert len(start_ns) == 1  # time is the sample number: no drift
    assert [c.seq for c in chunks] == [0, *np.cumsum([len(c.data) for c in chunks])[:-1]]
    np.testing.assert_array_equal(
        np.concatenate([emg.truth(c) for c in chunks])[:, 1],
        truth(np.arange(len(data)) / 1000.0, seed=7).activation_ta,
    )
    assert (emg.live, emg.fs_hz, emg.channels) == (False, 1000.0, ("MG", "TA"))


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("synthetic:?channels=VL", r"no channel \['VL'\]; known: \['MG', 'LG', 'SOL', 'TA'\]"),
        ("synthetic:?seed=-1", "from 0 up"),
        ("synthetic:?hum=3", "unknown parameter .*'hum_uv'"),
        ("synthetic:?hum_uv=-3", "from 0 up"),
        ("synthetic:?fs_hz=50", "100 at least"),
        ("synthetic:fs_hz=1000", "synthetic:"),
    ],
)
def test_an_address_that_cannot_open_names_the_remedy(address, remedy):
    with pytest.raises(DeviceError, match=remedy):
        open_emg(address)
