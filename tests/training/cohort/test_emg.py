import dataclasses

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from models.spec import SpecError
from training.cohort.emg import (
    ISI_CV,
    MIN_RATE_HZ,
    UNITS,
    envelope,
    firing_rate_hz,
    motor_units,
    muscle_uv,
    potentials_uv,
    raw_emg_uv,
    spike_times_s,
)
from training.cohort.participant import Electrodes, participant

FS_HZ = 1000.0


@pytest.fixture(scope="module")
def pool():
    return motor_units(200.0, np.random.default_rng(1))


def wearing(crosstalk=(0.0, 0.0), noise_uv=0.0, hum_uv=0.0, gain_uv=(200.0, 200.0)):
    electrodes = Electrodes(gain_uv, crosstalk, noise_uv, hum_uv)
    return dataclasses.replace(participant(5), electrodes=electrodes)


def held(level, seconds=10):
    return np.full(int(seconds * FS_HZ), level)


def test_small_units_join_first_and_many_of_them_early(pool):
    assert np.all(np.diff(pool.threshold) > 0)
    assert pool.threshold[UNITS // 2] < 0.2  # exponential: half of them by a fifth of the drive
    assert pool.threshold[-1] < 1


def test_a_unit_starts_at_its_least_rate_and_rises_in_a_line_to_its_peak(pool):
    drive = np.linspace(0, 1, 1001)
    for unit in (0, 60, 99):
        rate = firing_rate_hz(pool, unit, drive)
        on = rate > 0
        assert not on[drive < pool.threshold[unit]].any()
        assert rate[on][0] == pytest.approx(MIN_RATE_HZ, abs=0.1)
        assert rate[-1] == pool.peak_hz[unit]
        rising = rate[on & (rate < pool.peak_hz[unit])]
        np.testing.assert_allclose(np.diff(rising, 2), 0, atol=1e-9)


def test_intervals_are_gaussian_around_the_rate():
    times = spike_times_s(held(20.0, seconds=300), FS_HZ, np.random.default_rng(2))
    intervals = np.diff(times)
    assert np.mean(intervals) == pytest.approx(1 / 20, rel=0.01)
    assert np.std(intervals) / np.mean(intervals) == pytest.approx(ISI_CV, rel=0.05)
    assert scipy.stats.kstest((intervals * 20 - 1) / ISI_CV, "norm").pvalue > 0.01


def test_a_silent_unit_fires_not_and_resumes():
    rate = np.concatenate([held(20.0), held(0.0), held(20.0)])
    times = spike_times_s(rate, FS_HZ, np.random.default_rng(3))
    assert not ((times > 10) & (times < 20)).any()
    assert np.sum(times > 20) == pytest.approx(200, abs=3)


def test_action_potentials_have_the_energy_they_were_given(pool):
    t_s = np.arange(-0.03, 0.03, 1e-5)
    for unit in (0, 50, 99):
        wave = potentials_uv(pool, np.array(unit), t_s)
        assert np.sum(wave**2) * 1e-5 == pytest.approx(pool.amplitude_uv[unit] ** 2, rel=1e-6)


def test_the_sum_is_that_of_every_potential_at_its_spike(pool):
    drive = held(0.03, seconds=2)
    found = muscle_uv(pool, drive, FS_HZ, np.random.default_rng(4))
    rng = np.random.default_rng(4)  # the same draws, one unit after the other
    t_s = np.arange(len(drive)) / FS_HZ
    slow = np.zeros(len(drive))
    for unit in range(UNITS):
        for spike_s in spike_times_s(firing_rate_hz(pool, unit, drive), FS_HZ, rng):
            slow += potentials_uv(pool, np.array(unit), t_s - spike_s)
    np.testing.assert_allclose(found, slow, atol=0.02)


def test_full_excitation_has_the_rms_of_the_persons_electrodes():
    p = wearing(gain_uv=(300.0, 120.0))
    rms = np.std(raw_emg_uv(p, held(1.0, seconds=20), FS_HZ, seed=1), axis=0)
    np.testing.assert_allclose(rms, p.electrodes.gain_uv, rtol=0.1)


@pytest.mark.parametrize("level", [0.2, 0.6, 1.0])
def test_the_spectrum_is_that_of_surface_emg(level):
    raw = raw_emg_uv(participant(3), held(level, seconds=20), FS_HZ, seed=1)
    hz, power = scipy.signal.welch(raw, FS_HZ, nperseg=1024, axis=0)
    cumulated = np.cumsum(power, axis=0) / np.sum(power, axis=0)
    for channel in range(2):
        median_hz = hz[np.searchsorted(cumulated[:, channel], 0.5)]
        assert 60 < median_hz < 130  # bipolar electrodes over limb muscles
        assert cumulated[hz < 400, channel][-1] > 0.98


def test_the_envelope_rises_with_excitation():
    p = participant(7)
    levels = [0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9]
    means = [
        envelope(raw_emg_uv(p, held(e), FS_HZ, seed=2), FS_HZ, np.arange(2, 8, 0.1)).mean(axis=0)
        for e in levels
    ]
    assert np.all(np.diff(means, axis=0) > 0)
    # Nearly a line: the pool adds up to neither a step nor a late explosion.
    assert np.all(np.array(means)[5] > 0.3 * np.array(means)[-1])


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_crosstalk_is_the_persons_share_of_the_other_muscle(share):
    drive = held(0.5)
    own = raw_emg_uv(wearing(), drive, FS_HZ, seed=1).astype(float)
    heard = raw_emg_uv(wearing(crosstalk=(share, 0.1)), drive, FS_HZ, seed=1)
    np.testing.assert_allclose(heard[:, 0] - own[:, 0], share * own[:, 1], atol=0.01)
    np.testing.assert_allclose(heard[:, 1] - own[:, 1], 0.1 * own[:, 0], atol=0.01)


def test_at_rest_there_are_noise_and_mains_alone():
    p = wearing(noise_uv=3.0, hum_uv=2.0)
    raw = raw_emg_uv(p, held(0.0, seconds=20), FS_HZ, seed=1)
    hz, power = scipy.signal.periodogram(raw, FS_HZ, axis=0)
    assert np.all(hz[np.argmax(power, axis=0)] == 50)
    np.testing.assert_allclose(np.std(raw, axis=0), np.sqrt(3.0**2 + 2.0**2 / 2), rtol=0.05)


def test_the_same_seed_is_the_same_recording_and_another_is_not():
    p, drive = participant(9), held(0.4, seconds=2)
    first = raw_emg_uv(p, drive, FS_HZ, seed=1)
    np.testing.assert_array_equal(first, raw_emg_uv(p, drive, FS_HZ, seed=1))
    again = raw_emg_uv(p, drive, FS_HZ, seed=2)
    other = raw_emg_uv(participant(10), drive, FS_HZ, seed=1)
    for x in (again, other):
        assert abs(np.corrcoef(first[:, 0], x[:, 0])[0, 1]) < 0.2


def test_the_envelope_of_a_tone_is_its_mean_size_without_delay():
    t_s = np.arange(0, 10, 1 / FS_HZ)
    slow = 1 + 0.5 * np.sin(2 * np.pi * 1.0 * t_s)  # well below 4 Hz: passes whole
    tone = 100 * slow * np.sin(2 * np.pi * 120 * t_s)
    at_s = np.arange(2, 8, 0.01)
    found = envelope(tone[:, None], FS_HZ, at_s)[:, 0]
    expected = 2 / np.pi * 100 * np.interp(at_s, t_s, slow)
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_the_envelope_halves_power_at_4_hz():
    t_s = np.arange(0, 20, 1 / FS_HZ)
    tone = (1 + 0.5 * np.sin(2 * np.pi * 4.0 * t_s)) * np.sin(2 * np.pi * 120 * t_s)
    at_s = np.arange(5, 15, 0.01)
    ripple = envelope(tone[:, None], FS_HZ, at_s)[:, 0]
    assert np.std(ripple) / np.mean(ripple) == pytest.approx(
        0.5 / np.sqrt(2) / np.sqrt(2), rel=0.03
    )


def test_the_envelope_ignores_movement_and_sees_the_band():
    t_s = np.arange(0, 10, 1 / FS_HZ)
    drift = 1000 * np.sin(2 * np.pi * 1.0 * t_s)
    at_s = np.arange(3, 7, 0.1)
    assert envelope(drift[:, None], FS_HZ, at_s).max() < 5


def test_wrong_questions_are_refused():
    with pytest.raises(ValueError, match="within 0..1"):
        raw_emg_uv(participant(1), np.array([0.1, 1.2]), FS_HZ, seed=1)
    with pytest.raises(ValueError, match="within 0..1"):
        raw_emg_uv(participant(1), np.array([0.1, np.nan]), FS_HZ, seed=1)
    with pytest.raises(SpecError, match="450"):
        raw_emg_uv(participant(1), held(0.1), 500.0, seed=1)
    with pytest.raises(ValueError, match="of a recording of"):
        envelope(np.zeros((1000, 2)), FS_HZ, np.array([0.5, 1.5]))
