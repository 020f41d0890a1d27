import numpy as np
import pytest

from training.datasets import DataMissing
from training.fit_nmm import fit, read_trial
from training.gait_recording import ConventionError, Table, table
from training.lift_back import (
    DATA,
    FEATURES,
    LUMBAR,
    MUSCLES,
    RATE_HZ,
    TRIALS,
    back,
    hidden,
    lift,
    lift_trial,
    locate,
)
from training.nmm_config import NmmConfig, NmmRun
from training.trial_views import time_split
from training.virtual_sensor import learn


@pytest.fixture(scope="module")
def tables():
    try:
        return [table(locate(DATA, f"squat5kg/{kind}.sto")) for kind in ("ik", "id", "emgFilt")]
    except DataMissing as e:
        pytest.skip(str(e))


@pytest.fixture(scope="module")
def trials(tables):
    return {name: lift(name) for name in TRIALS}


def changed(t, **columns):
    return Table(t.file, {**t.columns, **{c: f(t.columns[c]) for c, f in columns.items()}})


def test_shapes_units_and_signs(trials):
    for name, t in trials.items():
        n = len(t.angle_rad)
        assert 26 < n / RATE_HZ < 28
        assert t.features.shape == (n, len(FEATURES))
        assert t.envelope.shape == t.truth.shape == (n, len(MUSCLES))
        assert np.isfinite(t.features).all()
        assert np.isfinite(t.envelope).all()
        assert (t.features[:, FEATURES.index("load_kg")] == TRIALS[name]).all()
        assert -1 < t.angle_rad.min() < t.angle_rad.max() < 0.1
        assert 150 < t.moment_nm.max() < 300
        for m in ("iliocost_r", "longlumb_l"):  # extensors hold an extension moment
            column = t.envelope[:, MUSCLES.index(m)]
            assert np.corrcoef(column, t.moment_nm)[0, 1] > 0.85


def test_nothing_is_said_of_muscle_paths(trials):
    for t in trials.values():
        assert all(np.isnan(x).all() for x in (t.length_mm, t.arm_mm, t.path_mm_s))


def test_the_heavier_box_needs_more(trials):
    assert trials["stoop15kg"].moment_nm.max() > 1.3 * trials["squat5kg"].moment_nm.max()


def test_missing_samples_do_not_shift_what_follows(tables):
    angles, moments, emg = tables
    keep = np.random.default_rng(0).random(len(emg["time"])) > 0.2
    keep[[0, -1]] = True
    thinned = Table(emg.file, {c: x[keep] for c, x in emg.columns.items()})
    whole, less = (lift_trial("x", 5.0, angles, moments, e) for e in (emg, thinned))
    np.testing.assert_allclose(less.envelope, whole.envelope, atol=2e-3)


def test_wrong_conventions_are_named(tables):
    angles, moments, emg = tables
    cases = {
        "degrees taken for radians": ("ik", dict.fromkeys(LUMBAR, np.rad2deg)),
        "radians taken for degrees": ("ik", dict.fromkeys(LUMBAR, np.deg2rad)),
        "L5_S1_Flex_Ext.*turn the moment's sign": ("id", {LUMBAR[0]: np.negative}),
        "do not overlap": ("emg", {"time": lambda x: x - x[0]}),
        "a gap of 0.4": ("emg", {"time": lambda x: np.where(x > x[0] + 5, x + 0.4, x)}),
    }
    for message, (which, edits) in cases.items():
        given = [
            changed(t, **edits) if k == which else t
            for k, t in {"ik": angles, "id": moments, "emg": emg}.items()
        ]
        with pytest.raises(ConventionError, match=message):
            lift_trial("x", 5.0, *given)


def test_a_sensor_reads_a_muscle_that_it_no_longer_sees(trials):
    first, rest = time_split([trials["squat5kg"]])
    column = MUSCLES.index("longlumb_r")
    for features in (False, True):
        read = learn(first, MUSCLES, "longlumb_r", "pca", features)
        h = hidden(rest[0], "longlumb_r")
        assert np.isnan(h.envelope[:, column]).all()
        assert np.corrcoef(read(h), h.truth[:, column])[0, 1] > 0.9
        # Load alone must not carry a reading away when it differs from the only one seen.
        assert np.isfinite(read(hidden(trials["stoop15kg"], "longlumb_r"))).all()
    with pytest.raises(ValueError, match="longlumb_r is hidden"):
        learn([hidden(first[0], "longlumb_r")], MUSCLES, "longlumb_r", "pca")


def test_a_network_without_physics_learns_from_trials_without_geometry(trials):
    network = NmmConfig(
        inputs=len(FEATURES), muscles=len(MUSCLES), width=16, heads=2, blocks=1, hidden=16,
        window=64,
    )  # fmt: skip
    run = NmmRun(network=network, epochs=3, alone=1.0, other_loads=0.0, first_guess=False)
    fitted = fit([trials["squat5kg"]], back(), run)
    assert fitted.history[-1]["envelope"] < fitted.history[0]["envelope"]
    envelope, moment_nm = read_trial(fitted, trials["stoop15kg"])
    assert np.isfinite(envelope).all()
    assert np.isnan(moment_nm).all()  # nobody knows
