"""The device's step of the neural musculoskeletal model: what ``Nmm`` says of the same window."""

import math

import numpy as np
import pytest
import torch

from export.onnx import export_onnx, input_names
from firmware_bridge.types import Output
from models.causal_features import FILTER, end_of_quadratic, features
from models.elbow import MUSCLES, Segment, inverse_dynamics_nm, muscles, paths
from models.hill_joint import Geometry, activation, excitation, forces_n, moment_nm
from models.nmm import Nmm, NmmConfig
from models.nmm_doubt import BEYOND, Doubt, seen
from models.nmm_step import RUN, SPOKEN, NmmStep
from models.spec import Input, ModelSpec, State

RATE_HZ, WINDOW = 100.0, 64
LOADS_KG = (0.0, 2.0, 4.0)
BASE = torch.linspace(1, 7, 7) * torch.tensor([[1.0], [2.0], [4.0]])  # a row for each load
PER_KG = torch.full((7,), 2.0)
MEAN, SD = torch.tensor([1.0, 0.0, 0.0, 2.0, 3.0]), torch.tensor([0.5, 1.5, 4.0, 1.5, 4.0])


def motion_deg(n=150):
    """A bend and a stretch, with an encoder's noise."""
    t = torch.arange(n) / RATE_HZ
    noise = 0.1 * torch.randn(n, generator=torch.Generator().manual_seed(1))
    return 60 - 40 * torch.cos(2 * math.pi * 0.6 * t) + noise


@pytest.fixture
def model():
    torch.manual_seed(0)
    m = Nmm(NmmConfig(width=16, heads=2, blocks=2, hidden=16, window=WINDOW, causal=True),
            muscles(torch.zeros(())), RATE_HZ).eval()  # fmt: skip
    m.network.head.weight.data *= 4  # so that envelopes move
    m.person.set(delay_s=0.043, shape=-0.8, gain=torch.linspace(0.8, 1.3, 6))
    return m


@pytest.fixture
def doubt():
    known = torch.randn(4000, 5, generator=torch.Generator().manual_seed(2)) * SD + MEAN
    return Doubt(BASE, PER_KG, seen(known, LOADS_KG))


@pytest.fixture
def step(model, doubt):
    return NmmStep(model, MEAN, SD, Segment(), doubt).eval()


@torch.no_grad()
def run(step, angle_deg, load_kg):
    """Values and SD ``(n, 7)`` of a movement, and the states after it."""
    load = torch.as_tensor(load_kg, dtype=torch.float32).expand(len(angle_deg))
    states, said = tuple(step.start()), []
    for q, m in zip(angle_deg, load, strict=True):
        values, sd, *states = step(q.reshape(1, 1), m.reshape(1, 1), *states)
        said.append(torch.cat([values, sd]))
    values, sd = torch.stack(said, 1)
    return values, sd, states


def test_the_end_of_a_quadratic_is_found_exactly():
    t = torch.arange(1 - FILTER, 1, dtype=torch.float64) / RATE_HZ
    q, v, a = (0.3 + 2 * t - 5 * t**2) @ end_of_quadratic(FILTER, RATE_HZ)
    torch.testing.assert_close(torch.stack([q, v, a]), torch.tensor([0.3, 2.0, -10.0]).double())


def test_features_in_single_precision_are_those_in_double():
    angles = torch.deg2rad(motion_deg().double()).unfold(0, FILTER, 1)
    weights, load = end_of_quadratic(FILTER, RATE_HZ), angles.new_full((len(angles),), 2.0)
    exact = features(angles, load, weights, Segment())
    single = features(angles.float(), load.float(), weights.float(), Segment())
    torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-3)
    q, v, a, kg, nm = exact.T
    torch.testing.assert_close(nm, inverse_dynamics_nm(q, v, a, kg, Segment()))


@torch.no_grad()
def test_every_step_says_what_the_model_says_of_its_window(step, model):
    deg = motion_deg()
    values, _, _ = run(step, deg, 2.0)
    held = torch.deg2rad(torch.cat([deg[:1].expand(FILTER - 1), deg])).unfold(0, FILTER, 1)
    read = features(held, torch.full((len(held),), 2.0), step.weights, Segment())
    read = torch.cat([read[:1].expand(WINDOW - 1, 5), read])  # where it is for ever
    windows = read.unfold(0, WINDOW, 1).permute(0, 2, 1)
    length, arm = paths(windows[..., 0].T)
    g = Geometry(length, arm, -arm * windows[..., 1].T[..., None])
    whole = model((windows - MEAN) / SD, g, windows[..., 1].T)
    v, now = model.person(), Geometry(*(x[-1] for x in g))
    a = activation(excitation(whole.envelope, v, RATE_HZ)[-RUN:], v, RATE_HZ)[-1]
    wanted = moment_nm(forces_n(model.muscle, v, a, now), now) - v.damping_nm_s * windows[:, -1, 1]
    order = [MUSCLES.index(n) for n in SPOKEN]
    torch.testing.assert_close(values[:, 6], wanted, rtol=0, atol=1e-4)
    torch.testing.assert_close(values[:, :6], 100 * a[:, order], rtol=0, atol=1e-2)
    # What activation was before those samples is all that is left out.
    torch.testing.assert_close(values[:, 6], whole.moment_nm[-1], rtol=0, atol=0.2)
    torch.testing.assert_close(
        values[:, :6] / 100, whole.activation[-1][:, order], rtol=0, atol=6e-3
    )
    assert values[:, :6].std(0).min() > 0.5


def test_onnx_runtime_agrees_step_by_step(step, tmp_path):
    spec = ModelSpec(
        "elbow",
        (Input("angle", (1, 1), "angle", min=-5.0, max=135.0),
         Input("load", (1, 1), "load", min=0.0, max=5.0)),
        tuple(Output(n, "%") for n in "abcdef") + (Output("torque", "N m"),),
        period_ms=10.0,
        sd="sd",
        states=tuple(State(k, f"{k}_next", tuple(x.shape))
                     for k, x in step.start()._asdict().items()),
    )  # fmt: skip
    examples, states = [], step.start()
    with torch.no_grad():
        for q in motion_deg():
            given = (q.reshape(1, 1), torch.full((1, 1), 2.0), *states)
            examples.append({k: x.numpy() for k, x in zip(input_names(spec), given, strict=True)})
            states = step(*given)[2:]
    assert export_onnx(step, spec, examples, tmp_path / "elbow.onnx").relative < 1e-4


def test_after_a_start_the_joint_has_been_where_it_is_for_ever(step):
    still = torch.full((20,), 75.0)
    values, sd, states = run(step, still, 2.0)
    torch.testing.assert_close(values, values[:1].expand_as(values))
    torch.testing.assert_close(states[1], torch.deg2rad(still[: FILTER - 1])[None])


def test_what_was_before_the_history_is_forgotten(step):
    deg = motion_deg(WINDOW + FILTER + 30)
    cut = 20
    whole, doubts, _ = run(step, deg, 2.0)
    late, late_doubts, _ = run(step, deg[cut:], 2.0)
    after = step.settle_steps
    torch.testing.assert_close(late[after:], whole[cut + after :], rtol=0, atol=1e-3)
    torch.testing.assert_close(late_doubts[after:], doubts[cut + after :])
    assert (late[after // 4] - whole[cut + after // 4]).abs().max() > 1e-3


def test_people_side_by_side_are_people_one_by_one(step):
    deg, loads = torch.stack([motion_deg(40), motion_deg(40).flip(0)]), torch.tensor([[1.0], [4.0]])
    states = tuple(step.start(2))
    with torch.no_grad():
        for k in range(40):
            values, _, *states = step(deg[:, k : k + 1], loads, *states)
    for k in range(2):
        alone, _, _ = run(step, deg[k], float(loads[k]))
        torch.testing.assert_close(values[k], alone[-1], rtol=1e-4, atol=1e-4)


def test_strength_is_what_the_muscles_give_together(step):
    extends, flexes = step.strength_nm()
    assert -80 < extends < -20
    assert 40 < flexes < 120


def window(load_kg, motion=(1.0, 0.0, 0.0)):
    """A window that stands still, each sample of it alike."""
    return torch.tensor([*motion, load_kg, 0.0]).expand(1, WINDOW, 5).clone()


@pytest.mark.parametrize(
    ("load_kg", "times", "away_kg"),
    [(0.0, 1, 0), (2.0, 2, 0), (3.0, 3, 1), (2.5, 2.5, 0.5), (1.0, 1.5, 1), (5.0, 4, 1)],
)
def test_doubt_is_of_the_load_and_grows_with_the_distance_from_trained_ones(
    doubt, load_kg, times, away_kg
):
    wanted = torch.hypot(times * BASE[0], away_kg * PER_KG)
    torch.testing.assert_close(doubt(window(load_kg))[0], wanted)


def test_a_load_that_changed_is_doubted_until_the_window_has_forgotten_it(doubt):
    changed = window(2.0)
    changed[:, : WINDOW // 2, 3] = 0.0
    torch.testing.assert_close(doubt(changed)[0], torch.hypot(BASE[1], 2 * PER_KG))
    lighter = window(2.0)
    lighter[:, : WINDOW // 2, 3] = 4.0  # what it held before, it still thinks of
    torch.testing.assert_close(doubt(lighter)[0], torch.hypot(BASE[2], 2 * PER_KG))


def test_a_movement_beyond_training_is_doubted_by_how_far_it_is(doubt):
    fast = window(2.0)
    fast[:, 3, 1] = doubt.high[1] + 2 * doubt.sd[1]
    torch.testing.assert_close(doubt(fast)[0], BASE[1] * (1 + 2 * BEYOND))
    inside = window(2.0)
    inside[:, 3, 1] = doubt.high[1]
    torch.testing.assert_close(doubt(inside)[0], BASE[1])


def test_doubt_without_a_row_for_every_load_is_refused(doubt):
    where = seen(torch.randn(100, 5), LOADS_KG)
    with pytest.raises(ValueError, match="2 rows of doubt"):
        Doubt(BASE[:2], PER_KG, where)
    with pytest.raises(ValueError, match="3 rows"):
        Doubt(BASE, PER_KG, where._replace(loads_kg=torch.tensor([2.0, 0.0, 4.0])))


def test_inside_is_where_nearly_all_of_training_was():
    known = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (20_000, 5)))
    where = seen(known, (2.0,))
    torch.testing.assert_close(where.high, torch.full((3,), 0.99), rtol=0, atol=0.01)
    torch.testing.assert_close(where.low, -where.high, rtol=0, atol=0.02)
