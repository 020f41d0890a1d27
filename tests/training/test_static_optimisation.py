"""Static optimisation against SciPy's general optimiser; copies copy."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from models import elbow
from models.hill_joint import Geometry, bent, forces_n
from models.muscle import A_MIN
from models.physiology import Physiology, Values
from training.joint_data import elbow_trial
from training.static_optimisation import best_shift, copied, earlier, static_optimisation
from training.virtual_measure import measured_of


@pytest.fixture(scope="module")
def trial():
    return elbow_trial(measured_of("V6")[4])


@pytest.fixture(scope="module")
def person():
    return Values(*(v.detach() for v in Physiology(6).double()()))


def test_activations_make_the_moment_and_are_the_smallest_that_do(trial, person):
    muscle = elbow.muscles(torch.zeros((), dtype=torch.float64))
    activation, missing = static_optimisation(trial, muscle, person)
    a = bent(torch.from_numpy(activation), person.shape).numpy()  # as force follows it
    assert (a >= A_MIN - 1e-9).all()
    assert (a <= 1).all()
    np.testing.assert_allclose(missing, 0, atol=0.02)
    for k in range(100, 1100, 200):  # SciPy on single instants

        def net(x, k=k):
            return _moment(trial, person, muscle, x, k)

        wanted = net(a[k])
        best = minimize(
            lambda x: (x**2).sum(), np.full(6, 0.2), bounds=[(A_MIN, 1)] * 6, method="SLSQP",
            constraints={"type": "eq", "fun": lambda x, net=net, w=wanted: net(x) - w},
        )  # fmt: skip
        assert (a[k] ** 2).sum() <= best.fun + 1e-6
        np.testing.assert_allclose(a[k], best.x, atol=5e-3)


def _moment(trial, person, muscle, x, k):
    linear = person._replace(shape=torch.tensor(-0.01, dtype=torch.float64))
    g = Geometry(*(torch.from_numpy(v[k]) for v in
                   (trial.length_mm, trial.arm_mm, trial.path_mm_s)))  # fmt: skip
    return float((forces_n(muscle, linear, torch.from_numpy(x), g) * g.arm_mm).sum()) / 1000


def test_the_best_shift_is_the_delay_that_was_put_in(trial):
    late = np.concatenate([np.repeat(trial.truth[:1], 7, 0), trial.truth[:-7]])
    assert best_shift([trial], [late]) == 7
    np.testing.assert_array_equal(earlier(late, 7)[:-7], trial.truth[:-7])


def test_a_copy_is_the_mean_of_the_neighbours_and_leaves_the_rest(trial):
    names = elbow.MUSCLES
    said = copied(trial, names, {"BRA": ("BIClong", "BICshort"), "TRImed": ("TRIlat",)})
    np.testing.assert_array_equal(said[:, 5], trial.envelope[:, 3:5].mean(1))
    np.testing.assert_array_equal(said[:, 2], trial.envelope[:, 1])
    np.testing.assert_array_equal(said[:, :2], trial.envelope[:, :2])
    assert np.isnan(trial.envelope[:, 5]).all()  # the trial itself is not touched
