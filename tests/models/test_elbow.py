"""The elbow against OpenSim's numbers for arm26, its gradients against finite differences."""

import json

import numpy as np
import pytest
import torch
from scipy.interpolate import make_interp_spline
from scipy.signal import butter, sosfiltfilt

from models.elbow import (
    MUSCLES,
    RANGE_RAD,
    Segment,
    Swing,
    inverse_dynamics_nm,
    paths,
    pendulum,
)
from training.datasets import DataMissing, locate
from training.opensim_forward import KEPT
from training.sto import read_sto
from training.virtual_arm import load_trials
from training.virtual_measure import segment_of

ANGLES = torch.linspace(*RANGE_RAD, 131, dtype=torch.float64)


def test_moment_arms_are_opensims_to_a_tenth_of_a_millimetre():
    # OpenSim 4.6, arm26, at 0, 45, 90 deg.
    _, r = paths(torch.deg2rad(torch.tensor([0.0, 45.0, 90.0], dtype=torch.float64)))
    for name, expected in {
        "BIClong": (9.4, 34.0, 48.8), "BRA": (15.1, 12.5, 22.7), "TRIlat": (-20.1, -23.0, -19.9),
    }.items():  # fmt: skip
        got = r[:, MUSCLES.index(name)]
        torch.testing.assert_close(got, torch.tensor(expected).double(), rtol=0, atol=0.25)


def test_a_moment_arm_is_the_slope_of_its_length_everywhere():
    q = ANGLES.clone().requires_grad_()
    length_mm, arm_mm = paths(q)
    for i in range(6):
        slope = torch.autograd.grad(length_mm[:, i].sum(), q, retain_graph=True)[0]
        torch.testing.assert_close(-slope, arm_mm[:, i], rtol=0, atol=1e-6)


def test_gradients_of_moment_arms_are_those_of_finite_differences():
    q = ANGLES[5:-5:10].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: paths(x)[1], q, atol=1e-4)


def test_single_precision_is_good_to_a_micrometre_and_knows_no_nan():
    q = ANGLES.float().requires_grad_()
    for got, exact in zip(paths(q), paths(ANGLES), strict=True):
        assert (got.double() - exact).abs().max() < 2e-3
    (paths(q)[0].sum() + paths(q)[1].sum()).backward()
    assert torch.isfinite(q.grad).all()


def test_inverse_dynamics_are_opensims_on_simulated_arms_of_other_masses_with_loads():
    for trial in load_trials()[::7]:
        motion = [
            torch.from_numpy(np.ascontiguousarray(x))
            for x in (trial.angle_rad, trial.speed_rad_s, trial.acceleration_rad_s2)
        ]
        got = inverse_dynamics_nm(*motion, trial.load_kg, segment_of(trial.person))
        np.testing.assert_allclose(got, trial.moment_nm, atol=5e-3)  # 16-bit accelerations


def test_inverse_dynamics_of_the_arm26_reference_with_its_swinging_shoulder():
    try:
        folder = locate("arm26_reference", "arm26.osim").parent
    except DataMissing as e:
        pytest.skip(str(e))
    motion = read_sto(folder / "arm26_InverseKinematics.mot")
    wanted = read_sto(folder / "std_arm26_InverseDynamics.sto")["r_elbow_flex_moment"]

    def derivatives(degrees):
        smooth = sosfiltfilt(butter(4, 6 / 60, output="sos"), np.deg2rad(degrees))
        spline = make_interp_spline(motion["time"], smooth, k=5)
        return [torch.from_numpy(spline(motion["time"], k)) for k in (0, 1, 2)]

    swing = Swing(*derivatives(motion["r_shoulder_elev"]))
    got = inverse_dynamics_nm(*derivatives(motion["r_elbow_flex"]), swing=swing).numpy()
    assert np.sqrt(np.mean((got - wanted) ** 2)) < 0.05


def test_forward_undoes_inverse():
    q, v, a = (torch.linspace(-1, 2, 7, dtype=torch.float64) * k for k in (1, 3, 20))
    heavy = Segment(2.0, 0.2, (0.03, 0.002, 0.03))
    nm = inverse_dynamics_nm(q, v, a, 3.0, heavy)
    body = pendulum(torch.full_like(q, 3.0), heavy)
    torch.testing.assert_close(body.acceleration_rad_s2(q, nm), a)


def test_a_hanging_arm_weighs_nothing_and_a_level_one_all_its_weight():
    still = torch.zeros(2, dtype=torch.float64)
    q = torch.tensor([0.0, np.pi / 2], dtype=torch.float64)
    nm = inverse_dynamics_nm(q, still, still, 2.0)
    level = 9.8066 * (1.534315 * 0.181479 + 2.0 * 0.3)
    assert abs(nm[0]) < 0.02 * level
    assert abs(nm[1] - level) < 0.02 * level


def test_the_kept_forward_simulations_are_there():
    assert {(c["tendon"], c["load_kg"]) for c in json.loads(KEPT.read_text())} >= {
        ("rigid", 0.0), ("elastic", 2.0),
    }  # fmt: skip
