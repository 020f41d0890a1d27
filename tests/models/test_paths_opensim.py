"""Muscle paths of whole models against lengths and moment arms that OpenSim computed."""

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from models.muscle import equilibrium
from models.muscle_set import muscle_set
from models.opensim_import import read_osim
from models.osim import OsimError
from models.paths import Paths

DATA = os.environ.get("SONOMYO_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="SONOMYO_DATA does not name a folder with models")
KEPT = Path(__file__).parents[2] / "bench/results/nmm"
STUDIES = ("arm26", "gait2392", "rajagopal")
F64 = torch.float64


@cache
def kept(study):
    return json.loads((KEPT / f"paths_{study}.json").read_text())


@cache
def model_of(study):
    return read_osim(Path(DATA) / kept(study)["model"])


def differences(study):
    """(muscle, coordinate) -> largest difference from OpenSim of length and moment arm, mm."""
    worst = {}
    for sweep in kept(study)["sweeps"]:
        names = list(sweep["length_mm"])
        paths = Paths(model_of(study), names, [sweep["coordinate"]], sweep["held_rad"])
        length, arm = paths.lengths_and_arms_mm(torch.tensor(sweep["q_rad"], dtype=F64)[:, None])
        expected_length = {**sweep["length_mm"], **sweep["path_mm"]}
        expected_arm = {**sweep["arm_mm"], **sweep["slope_mm"]}
        for i, name in enumerate(names):
            key = name, sweep["coordinate"]
            off = (
                np.abs(length[:, i].numpy() - expected_length[name]).max(),
                np.abs(arm[:, i, 0].numpy() - expected_arm[name]).max(),
            )
            worst[key] = tuple(map(max, worst.get(key, (0, 0)), off))
    return worst


@needs_data
@pytest.mark.parametrize("study", STUDIES)
def test_lengths_and_moment_arms_are_those_of_opensim(study):
    for key, (length_mm, arm_mm) in differences(study).items():
        assert length_mm < 0.1, key
        if key == ("TRIlong", "r_shoulder_elev"):  # two surfaces whose turns settle slowly
            assert arm_mm < 4.1
        elif key == ("BIClong", "r_shoulder_elev"):  # at the edge of an ellipsoid
            assert arm_mm < 0.5
        else:
            assert arm_mm < 0.1, key


@needs_data
def test_where_two_surfaces_share_a_path_opensim_adds_up_old_places():
    """OpenSim 4.6 reports a length that its own path points contradict; these are what we match."""
    sweep = next(s for s in kept("rajagopal")["sweeps"] if s["coordinate"] == "knee_angle_r")
    at = sweep["q_rad"].index(0.0)
    reported, along_points = (sweep[k]["gaslat_r"][at] for k in ("length_mm", "path_mm"))
    ours = Paths(model_of("rajagopal"), ["gaslat_r"], ["knee_angle_r"])
    (length,) = ours.lengths_mm(torch.zeros(1, dtype=F64))
    assert along_points - reported > 7
    assert length.item() == pytest.approx(along_points, abs=0.01)


@needs_data
def test_the_elbow_of_arm26():
    """Values computed by hand from the file's points, which know of no OpenSim."""
    paths = Paths(model_of("arm26"), ["BRA", "TRIlat"], ["r_elbow_flex"])
    q = torch.deg2rad(torch.arange(0.0, 121.0, 30.0, dtype=F64))[:, None]
    length, arm = paths.lengths_and_arms_mm(q)
    expected = {
        "BRA": ([147.3, 140.0, 132.9, 122.4, 110.0], [15.1, 13.0, 16.7, 22.7, 23.5]),
        "TRIlat": ([166.6, 178.8, 190.8, 201.3, 211.7], [-20.1, -24.1, -21.2, -19.9, -19.7]),
    }
    for i, (lengths, arms) in enumerate(expected.values()):
        assert length[:, i].tolist() == pytest.approx(lengths, abs=0.06)
        assert arm[:, i, 0].tolist() == pytest.approx(arms, abs=0.06)


SCENES = {
    "arm26": (("TRIlong", "BIClong", "BRA"), ("r_elbow_flex", "r_shoulder_elev")),
    "gait2392": (("vas_lat_r", "rect_fem_r", "soleus_r"), ("knee_angle_r", "hip_flexion_r")),
    "rajagopal": (("gaslat_r", "vaslat_r", "bfsh_r"), ("knee_angle_r", "ankle_angle_r")),
}


def scene(study, n=40):
    """Paths of a study and angles ``(n, 2)`` within its ranges."""
    muscles, coordinates = SCENES[study]
    paths = Paths(model_of(study), muscles, coordinates)
    ranges = [model_of(study).coordinate(c).range for c in coordinates]
    low, high = torch.tensor(ranges, dtype=F64).T
    share = torch.rand(n, 2, dtype=F64, generator=torch.Generator().manual_seed(4))
    return paths, low + share * (high - low)


@needs_data
@pytest.mark.parametrize("study", STUDIES)
def test_moment_arms_are_the_slope_of_length(study):
    paths, q = scene(study)
    arms = paths.moment_arms_mm(q)
    for c in range(2):
        step = torch.zeros(2, dtype=F64)
        step[c] = 1e-6
        slope = (paths.lengths_mm(q + step) - paths.lengths_mm(q - step)) / 2e-6
        torch.testing.assert_close(arms[..., c], -slope, atol=1e-3, rtol=0)


@needs_data
@pytest.mark.parametrize("study", STUDIES)
def test_moment_arms_can_be_differentiated(study):
    paths, q = scene(study, 8)
    (slope,) = torch.autograd.grad(paths.moment_arms_mm(q.requires_grad_())[..., 0].sum(), q)
    step = torch.tensor([1e-6, 0.0], dtype=F64)
    moved = [paths.moment_arms_mm(q.detach() + s)[..., 0].sum(-1) for s in (step, -step)]
    torch.testing.assert_close(slope[:, 0], (moved[0] - moved[1]) / 2e-6, atol=1e-2, rtol=1e-5)


@needs_data
@pytest.mark.parametrize("study", STUDIES)
def test_single_precision_stays_single_and_close(study):
    paths, q = scene(study)
    length, arm = paths.lengths_and_arms_mm(q)
    length32, arm32 = paths.lengths_and_arms_mm(q.float())
    assert length32.dtype == arm32.dtype == torch.float32
    torch.testing.assert_close(length32.double(), length, atol=1e-3, rtol=0)
    torch.testing.assert_close(arm32.double(), arm, atol=0.02, rtol=0)


@needs_data
@pytest.mark.parametrize("study", STUDIES)
def test_nothing_becomes_nan_even_beyond_the_range(study):
    paths, _ = scene(study)
    q = torch.linspace(-7, 7, 57, dtype=F64)
    q = torch.cartesian_prod(q, q[::8]).requires_grad_()
    length = paths.lengths_mm(q)
    (slope,) = torch.autograd.grad(length.sum(), q)
    assert length.isfinite().all()
    assert slope.isfinite().all()


@needs_data
def test_any_batch_and_any_mode():
    paths, q = scene("arm26", 6)
    arms = paths.moment_arms_mm(q)
    assert arms.shape == (6, 3, 2)
    torch.testing.assert_close(paths.moment_arms_mm(q[0]), arms[0])
    torch.testing.assert_close(paths.moment_arms_mm(q.reshape(2, 3, 2)), arms.reshape(2, 3, 3, 2))
    torch.testing.assert_close(torch.func.vmap(paths.moment_arms_mm)(q), arms)
    with torch.no_grad():
        torch.testing.assert_close(paths.moment_arms_mm(q), arms)
    with torch.inference_mode():
        torch.testing.assert_close(paths.moment_arms_mm(q), arms)
    with pytest.raises(ValueError, match="the last dimension holds"):
        paths.lengths_mm(q[:, :1])


@needs_data
def test_order_is_the_callers():
    both = ("r_shoulder_elev", "r_elbow_flex")
    one = Paths(model_of("arm26"), ["BRA", "TRIlong", "BIClong"], both)
    other = Paths(model_of("arm26"), ["BIClong", "BRA", "TRIlong"], both[::-1])
    q = torch.tensor([0.4, 1.1], dtype=F64)
    torch.testing.assert_close(one.lengths_mm(q)[[2, 0, 1]], other.lengths_mm(q.flip(0)))
    held = Paths(model_of("arm26"), ["BIClong"], both[1:], {"r_shoulder_elev": 0.4})
    torch.testing.assert_close(held.lengths_mm(q[1:]), other.lengths_mm(q.flip(0))[:1])


@needs_data
def test_the_patella_follows_the_knee():
    model = model_of("rajagopal")
    with pytest.raises(OsimError, match="'knee_angle_r_beta' follows 'knee_angle_r'; name that"):
        Paths(model, ["vaslat_r"], ["knee_angle_r_beta"])
    arm = Paths(model, ["vaslat_r"], ["knee_angle_r"]).moment_arms_mm(torch.tensor([0.5]))
    assert -60 < arm.item() < -30  # extends


@needs_data
def test_muscles_of_the_model_balance_on_its_paths():
    model, names = model_of("arm26"), ["BIClong", "BRA", "TRIlat"]
    muscles = muscle_set(model, names, F64)
    assert muscles.l_opt_mm.tolist() == pytest.approx([115.7, 85.8, 113.8])
    assert muscles.f_max_n.tolist() == pytest.approx([624.3, 987.26, 624.3])
    assert muscles.tendon_strain.tolist() == [0.033] * 3
    length = Paths(model, names, ["r_elbow_flex"]).lengths_mm(torch.tensor([1.5], dtype=F64))
    found = equilibrium(muscles, torch.full((3,), 0.5, dtype=F64), length)
    assert (found.residual.abs() < 1e-9).all()
    assert (found.force_n > 100).all()


@needs_data
@pytest.mark.opensim
@pytest.mark.parametrize("study", STUDIES)
def test_the_kept_numbers_are_those_of_opensim(study):
    pytest.importorskip("opensim", reason="the OpenSim package is not installed")
    from training.opensim_paths import STUDIES as ALL
    from training.opensim_paths import sample

    whole = ALL[study]
    again = sample(replace(whole, sweeps=whole.sweeps[:1]), Path(DATA))["sweeps"][0]
    first = kept(study)["sweeps"][0]
    assert again["q_rad"] == first["q_rad"]
    for what in ("length_mm", "arm_mm"):
        for name, values in first[what].items():
            np.testing.assert_allclose(again[what][name], values, atol=0.002, err_msg=name)
