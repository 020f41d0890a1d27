"""What is wrong with a recording is found, named, and refused or warned of."""

import os

import numpy as np
import pytest

from training.emg_checks import EmgUnfit, examine, passed, pattern, rate_off, swapped
from training.emg_testbed import FS_HZ, bed
from training.readers import GAIT_CHANNELS, KNEE_CHANNELS, gait_emg, knee_recording

NAMES = ("TA", "GM", "SO", "VM")


@pytest.fixture(scope="module")
def good():
    return bed("gait", 6.0, len(NAMES), seed=2).emg_uv


def spoil_dead(x):
    x[4000:4400, 1] = x[4000, 1]


def spoil_flat(x):
    x[:, 1] = 0


def spoil_missing(x):
    x[5000, 1] = np.nan


def spoil_saturated(x):
    x[:, 1] = np.clip(x[:, 1], *np.quantile(x[:, 1], [0.02, 0.98]))


def spoil_hum(x):
    x[:, 1] += 400 * np.sin(2 * np.pi * 50 * np.arange(len(x)) / FS_HZ)


def spoil_copy(x):
    x[:, 1] = 1.3 * x[:, 3]


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (spoil_dead, "dead"),
        (spoil_flat, "dead"),
        (spoil_missing, "missing"),
        (spoil_saturated, "saturated"),
        (spoil_hum, "hum"),
        (spoil_copy, "copy"),
    ],
)
def test_each_defect_is_named_with_its_channel_and_a_remedy(good, spoil, kind):
    x = good.copy()
    spoil(x)
    (found,) = examine(x, FS_HZ, NAMES)
    assert (found.kind, found.channels[0]) == (kind, "GM")
    assert found.fatal
    with pytest.raises(EmgUnfit, match="GM"):
        passed(examine(x, FS_HZ, NAMES))


def test_good_emg_passes(good):
    assert passed(examine(good, FS_HZ, NAMES)) == []


@pytest.mark.skipif(not os.environ.get("SONOMYO_DATA"), reason="SONOMYO_DATA names no recordings")
def test_recordings_of_people_pass():
    g = gait_emg()
    assert passed(examine(g.emg_uv, g.fs_hz, GAIT_CHANNELS)) == []
    r = knee_recording("N05_sitting")
    assert passed(examine(r.emg_uv, r.fs_hz, KNEE_CHANNELS)) == []


def test_everything_is_told_at_once(good):
    x = good.copy()
    spoil_dead(x)
    x[3, 3] = np.inf
    with pytest.raises(EmgUnfit) as told:
        passed(examine(x, FS_HZ, NAMES))
    assert {f.kind for f in told.value.findings} == {"dead", "missing"}


def test_exchanged_cables_are_noticed_and_a_fair_recording_is_not():
    envelopes = bed("gait", 40.0, 6, seed=3).activation
    reference = pattern(envelopes[:10000])
    names = ("a", "b", "c", "d", "e", "f")
    later = envelopes[10000:]
    assert swapped(later, reference, names) == []
    (found,) = swapped(later[:, [0, 4, 2, 3, 1, 5]], reference, names)
    assert (found.kind, found.channels, found.fatal) == ("swapped", ("b", "e"), False)


def test_a_lead_that_is_off_is_weak_beside_the_others(good):
    off = good.copy()
    off[:, 1] = 0.5 * np.random.default_rng(1).standard_normal(len(off))
    (found,) = examine(off, FS_HZ, NAMES)
    assert (found.kind, found.channels, found.fatal) == ("weak", ("GM",), False)


def test_a_clock_that_tells_another_rate():
    assert rate_off(20_000, 20.1, 1000.0) is None
    assert "1000.0" in str(rate_off(20_000, 20.0, 2000.0))
    assert rate_off(100, 0.2, 1000.0) is None  # chunks arrive in bursts


def test_names_must_fit_the_columns(good):
    with pytest.raises(ValueError, match="names"):
        examine(good, FS_HZ, NAMES[:2])
