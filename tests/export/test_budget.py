"""A budget is in the output's own unit, and an error beyond it is never rounded away."""

import numpy as np
import pytest

from export.budget import (
    BudgetError,
    default_budget,
    off,
    parse_budget,
    worst_share,
)
from export.streams import Played, Stream
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec

SPEC = ModelSpec(
    "m", (Input("image", (1, 1, 8, 8), "us"),),
    (Output("ankle_angle", "deg", -50, 50), Output("torque", "N m", -50, 250)), period_ms=16,
)  # fmt: skip


def played(values):
    return [Played(np.asarray(values, np.float32), None, None)]


def stream(n, truth=None):
    return [Stream("s", {"image": np.zeros((n, 1, 1, 8, 8), np.float32)}, truth)]


def test_outputs_may_be_named_with_their_unit():
    assert parse_budget("ankle_angle_deg=0.5, torque=1", SPEC) == {
        "ankle_angle": 0.5, "torque": 1.0,
    }  # fmt: skip
    assert parse_budget("torque_nm=2", SPEC) == {"torque": 2.0}


@pytest.mark.parametrize("text", ["angle=1", "torque", "torque=", "torque=-1", "torque=nan", "=2"])
def test_what_cannot_be_meant_is_refused_with_the_names_there_are(text):
    with pytest.raises(BudgetError, match="ankle_angle_deg"):
        parse_budget(text, SPEC)


def test_by_default_a_tenth_of_the_models_own_error_else_of_the_range():
    assert default_budget(SPEC, {"ankle_angle": 1.6}) == pytest.approx(
        {"ankle_angle": 0.16, "torque": 1.5}
    )


def test_an_output_without_error_and_without_range_needs_a_number():
    open_ended = ModelSpec("m", SPEC.inputs, (Output("x", "V"),), period_ms=10)
    with pytest.raises(BudgetError, match="--budget x=NUMBER"):
        default_budget(open_ended, {})


def test_errors_are_in_the_unit_and_by_output():
    full = np.tile([[10.0, 100.0]], (200, 1))
    other = full + [[0.5, 0.0]]
    other[0, 1] += 20
    angle, torque = off(SPEC, stream(200), played(full), played(other))
    assert (angle.output, angle.unit) == ("ankle_angle", "deg")
    assert angle.rms == pytest.approx(0.5)
    assert torque.worst == pytest.approx(20)
    assert torque.rms == pytest.approx(20 / np.sqrt(200))
    assert worst_share([angle, torque], {"ankle_angle": 0.5, "torque": 10}) == pytest.approx(1)


def test_a_value_that_is_no_number_is_infinitely_far_off():
    full = np.zeros((5, 2))
    other = full.copy()
    other[3, 0] = np.nan
    angle, torque = off(SPEC, stream(5), played(full), played(other))
    assert angle.rms == np.inf
    assert worst_share([angle, torque], {"ankle_angle": 1e9, "torque": 1.0}) == np.inf


def test_lost_r2_is_against_the_truth_where_somebody_knows_it():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(4000, 2)).astype(np.float32)
    full = truth + rng.normal(size=truth.shape) * 0.5  # R2 0.75
    other = full + rng.normal(size=truth.shape) * 0.1  # R2 0.74
    known = off(SPEC, stream(4000, truth), played(full), played(other))
    assert known[0].r2_loss == pytest.approx(0.01, abs=0.005)
    nobody = off(SPEC, stream(4000), played(full), played(other))
    assert nobody[0].r2_loss == pytest.approx(0.01 / 1.25, abs=0.001)


def test_a_doubt_that_changes_is_an_error_of_its_own():
    """``max_sd`` makes states FAULT: a network that doubts less is not the same network."""
    spec = ModelSpec("m", SPEC.inputs, (Output("angle", "deg", -50, 50, max_sd=10),),
                     period_ms=16, sd="sd")  # fmt: skip
    sure, unsure = np.full((50, 1), 1.0, np.float32), np.full((50, 1), 9.0, np.float32)
    full, other = ([Played(np.zeros((50, 1), np.float32), sd, None)] for sd in (unsure, sure))
    angle, doubt = off(spec, stream(50), full, other)
    assert (angle.rms, doubt.output, doubt.rms) == (0.0, "angle_sd", 8.0)
    budget = default_budget(spec, {})
    assert budget["angle_sd"] == pytest.approx(0.5)
    assert worst_share([angle, doubt], budget) == pytest.approx(16)
    assert parse_budget("angle_sd=3", spec) == {"angle_sd": 3.0}
