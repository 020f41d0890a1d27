"""Synergies against constructed mixtures, and the deep muscle of a made-up person."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from calibration.physiology import identify
from models import elbow
from models.hill_joint import Geometry, activation, excitation, forces_n, moment_nm
from models.physiology import Physiology, Values
from training.joint_data import elbow_trial
from training.synergy import CHEAPER, effort, extrapolate, factorise, nmf
from training.virtual_measure import measured_of

RNG = np.random.default_rng(5)
COURSES = np.abs(np.sin(np.linspace(0, 9, 400)[:, None] * [1.0, 1.7])) ** 2
MIX = np.array([[0.6, 0.3, 0.1, 0.0], [0.0, 0.2, 0.3, 0.5]])


def test_nmf_finds_a_mixture_of_two_and_its_weights_sum_to_one():
    c, w, vaf = nmf(COURSES @ MIX, 2)
    assert vaf > 0.999
    assert (c >= 0).all()
    assert (w >= 0).all()
    np.testing.assert_allclose(w.sum(1), 1.0)
    np.testing.assert_allclose(c @ w, COURSES @ MIX, atol=0.02)


def test_as_few_synergies_as_explain_the_envelopes():
    for method in ("nmf", "pca"):
        assert len(factorise(COURSES @ MIX, method).weights) == 2
        one = COURSES[:, :1] @ [[0.6, 0.3, 0.1, 0.2]]
        assert len(factorise(one + 0.001 * RNG.random((400, 4)), method).weights) == 1


@pytest.mark.parametrize("method", ["nmf", "pca"])
def test_courses_of_new_data_rebuild_it(method):
    found = factorise(COURSES @ MIX, method)
    new = COURSES[::-1] @ MIX
    courses = found.courses(new)
    if method == "nmf":
        rebuilt = courses @ found.weights * found.top
    else:
        rebuilt = (courses[:, :-1] @ found.weights + found.mean) * found.top
        assert (courses[:, -1] == 1).all()  # the offset's course
    np.testing.assert_allclose(rebuilt, new, atol=0.02)


def test_one_muscle_has_no_synergy():
    with pytest.raises(ValueError, match="at least two measured muscles"):
        factorise(np.ones((10, 1)), "nmf")


BRA = elbow.MUSCLES.index("BRA")


@pytest.fixture(scope="module")
def made_up():
    """A usual person's two movements, every muscle a mixture of two time courses.

    Brachialis is 0.5 of the first and 0.3 of the second, and has no electrode.
    """
    mixes = np.array([[0.05, 0.1, 0.05, 0.45, 0.35, 0.5], [0.3, 0.25, 0.35, 0.1, 0.15, 0.3]])
    values = Values(*(v.detach() for v in Physiology(6).double()()))
    muscle = elbow.muscles(torch.zeros((), dtype=torch.float64))
    made = []
    for m, beats in zip(measured_of("V6")[3:5], ((1.0, 1.7), (1.3, 0.8)), strict=True):
        t = elbow_trial(m)
        at = np.arange(len(t.angle_rad))[:, None] / 100
        truth = np.sin(np.array(beats) * at) ** 2 @ mixes
        g = Geometry(*(torch.from_numpy(x) for x in (t.length_mm, t.arm_mm, t.path_mm_s)))
        a = activation(excitation(torch.from_numpy(truth), values, 100.0), values, 100.0)
        net = moment_nm(forces_n(muscle, values, a, g), g).numpy()
        envelope = truth.copy()
        envelope[:, BRA] = np.nan
        damping = float(values.damping_nm_s) * t.speed_rad_s
        made.append(replace(t, envelope=envelope, truth=truth, moment_nm=net - damping))
    return made, muscle


def brachialis(trials):
    """Which muscles have an electrode, and the truth of the one that has none."""
    measured = [i != BRA for i in range(6)]
    return measured, np.concatenate([t.truth[:, BRA] for t in trials])


@pytest.mark.parametrize("method", ["nmf", "pca"])
def test_of_a_known_person_the_mixture_of_a_deep_muscle_is_found(made_up, method):
    trials, muscle = made_up
    measured, truth = brachialis(trials)
    synergies = factorise(np.concatenate([t.envelope[:, measured] for t in trials]), method)
    courses = [synergies.courses(t.envelope[:, measured]) for t in trials]
    wanted, *_ = np.linalg.lstsq(np.concatenate(courses), truth, rcond=None)
    efforts = [effort(t, c) for t, c in zip(trials, courses, strict=True)]
    known = ("f_max", "l_opt", "l_slack", "gain", "shape")
    found = identify(efforts, muscle, elbow.MUSCLES, 100.0, known, signed=method == "pca")
    np.testing.assert_allclose(found.weights[:, 0], wanted, rtol=0.1)
    said = np.concatenate(courses) @ found.weights[:, 0]
    assert np.sqrt(np.mean((said - truth) ** 2)) < 0.05 * np.ptp(truth)


@pytest.mark.parametrize("method", ["nmf", "pca"])
def test_of_an_unknown_person_its_course_is_found_and_its_size_leans_to_nothing(made_up, method):
    """What the effort of an unmeasured muscle costs is saved by making the muscles stronger."""
    trials, muscle = made_up
    measured, truth = brachialis(trials)
    found = extrapolate(trials, muscle, elbow.MUSCLES, method)
    assert found.measured.tolist() == measured
    said = np.concatenate([found(t) for t in trials])
    assert np.corrcoef(said[:, BRA], truth)[0, 1] > 0.98
    assert 0.2 < said[:, BRA].mean() / truth.mean() < 1.0
    shown = np.concatenate([t.envelope[:, measured] for t in trials])
    np.testing.assert_array_equal(said[:, measured], shown)  # what was measured stays
    cheaper = extrapolate(trials, muscle, elbow.MUSCLES, method, allowed_activity=CHEAPER)
    again = np.concatenate([cheaper(t) for t in trials])
    assert said[:, BRA].mean() < again[:, BRA].mean() < 1.2 * truth.mean()
