import torch

from models.calf import (
    Ankle,
    ankle_moment_nm,
    moment_arm_mm,
    neutral_path_mm,
    passive_moment_nm,
    path_mm,
)
from models.muscle import Muscle, equilibrium

ANGLES = torch.linspace(-25, 25, 51, dtype=torch.float64)


def test_the_moment_arm_is_the_slope_of_the_path():
    q = ANGLES.clone().requires_grad_()
    for ankle in (Ankle(), Ankle(arm_mm=43.0, arm_peak_deg=12.0)):
        length_mm = path_mm(ankle, q, 430.0)
        per_rad = torch.rad2deg(torch.autograd.grad(length_mm.sum(), q)[0])
        torch.testing.assert_close(-per_rad, moment_arm_mm(ankle, ANGLES))


def test_the_achilles_moment_arm_is_about_5_cm_and_grows_into_plantarflexion():
    r = moment_arm_mm(Ankle(), torch.tensor([-15.0, 0.0, 20.0], dtype=torch.float64))
    assert 40 < r[0] < 46
    assert abs(r[1] - 50) < 1e-9
    assert 52 < r[2] < 55
    assert (torch.diff(moment_arm_mm(Ankle(), ANGLES[:45])) > 0).all()


def test_the_path_at_right_angles_is_the_neutral_one_and_shortens_into_plantarflexion():
    length_mm = path_mm(Ankle(), ANGLES, 430.0)
    assert abs(length_mm[25] - 430) < 1e-9
    assert (torch.diff(length_mm) < 0).all()


def test_relaxed_fascicles_are_at_optimal_length_at_the_angle_asked_for():
    columns = zip((50, 0.35, 387, 1300, 0.05), (41, 0.42, 281, 2600, 0.04), strict=True)
    muscle = Muscle(*(torch.tensor(c, dtype=torch.float64) for c in columns))
    optimum_deg = torch.tensor([-3.0, 2.0], dtype=torch.float64)
    neutral_mm = neutral_path_mm(Ankle(), muscle, optimum_deg)
    at_optimum = path_mm(Ankle(), optimum_deg, neutral_mm)
    relaxed = equilibrium(muscle, torch.zeros(2, dtype=torch.float64), at_optimum)
    torch.testing.assert_close(relaxed.fascicle_mm, muscle.l_opt_mm)


def test_the_passive_ankle_pushes_back_from_both_ends():
    m = passive_moment_nm(Ankle(), torch.tensor([-35.0, -20.0, 0.0, 30.0, 40.0]))
    assert m[0] > 5
    assert abs(m[1] - 1) < 0.01
    assert abs(m[2]) < 0.1
    assert abs(m[3] + 1) < 0.01
    assert m[4] < -4


def test_forces_add_up_to_a_moment_over_their_arm():
    q = torch.zeros(2, dtype=torch.float64)
    force_n = torch.tensor([[0, 0, 0], [1000, 500, 2000]], dtype=torch.float64)
    moment_nm = ankle_moment_nm(Ankle(), q, force_n)
    torch.testing.assert_close(moment_nm[1] - moment_nm[0], q[0] + 3500 * 0.050)
