"""Muscle curves as OpenSim's own classes compute them, kept as JSON to compare with.

``python -m training.opensim_curves`` needs the ``opensim`` package.  Each row names the file of
``models/`` and its function, the function's arguments in columns, and OpenSim's value.
"""

import importlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

KEPT = Path(__file__).parents[1] / "bench" / "results" / "nmm" / "curves.json"
STRETCH = (0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.5, 1.7)  # of a fibre, over its optimal length
SPEED = (-1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0)
TENDON = (1.0, 1.01, 1.02, 1.03, 1.049)
THELEN_STRAIN = 0.04
# Tension over F_max by tendons of these lengths; inside 0..0.95 of the greatest active force
# Thelen's equation holds, beyond it OpenSim goes on by a line and ours does not.
THELEN_TENDON = (1.005, 1.01, 1.02, 1.024, 1.03, 1.042)
DECIMALS = 12

Row = dict[str, Any]


def sample() -> list[Row]:
    """Every curve of the three models."""
    import opensim as o

    o.Logger.setLevelString("error")
    o.Logger.removeFileSink()
    return [*_de_groote(o), *_millard(o), *_thelen(o)]


def errors() -> dict[str, float]:
    """Greatest difference of our curves from the kept ones, by the model's file."""
    worst: dict[str, float] = {}
    for row in json.loads(KEPT.read_text("utf-8")):
        curve = getattr(importlib.import_module(f"models.{row['model']}"), row["curve"])
        got = curve(*(torch.tensor(x, dtype=torch.float64) for x in row["arguments"]))
        off = float((got - torch.tensor(row["values"], dtype=torch.float64)).abs().max())
        worst[row["model"]] = max(worst.get(row["model"], 0.0), off)
    return worst


def _de_groote(o: Any) -> list[Row]:
    m = o.DeGrooteFregly2016Muscle()
    m.finalizeFromProperties()
    return [
        _row("muscle", "active_force_length", m.calcActiveForceLengthMultiplier, STRETCH),
        _row("muscle", "passive_force_length", m.calcPassiveForceMultiplier, STRETCH),
        _row("muscle", "force_velocity", m.calcForceVelocityMultiplier, SPEED),
        _row("muscle", "tendon_force", m.calcTendonForceMultiplier, TENDON),
    ]


def _millard(o: Any) -> list[Row]:
    active = o.ActiveForceLengthCurve()
    active.setMinValue(0.0)  # as the muscle with damping has it
    passive, speed, tendon = (
        o.FiberForceLengthCurve(), o.ForceVelocityCurve(), o.TendonForceLengthCurve()
    )  # fmt: skip
    return [
        _row("millard", "active_force_length", active.calcValue, STRETCH),
        _row("millard", "passive_force_length", passive.calcValue, STRETCH),
        _row("millard", "force_velocity", speed.calcValue, SPEED),
        _row("millard", "tendon_force", tendon.calcValue, TENDON),
    ]


def _thelen(o: Any) -> list[Row]:
    """OpenSim shows these curves only in a muscle at work: one between the ground and a sledge."""
    f_max_n, l_opt_m, l_slack_m = 1000.0, 0.1, 0.2
    model, origin = o.Model(), o.Vec3(0)
    sledge = o.Body("sledge", 1, origin, o.Inertia(1, 1, 1))
    rail = o.SliderJoint("rail", model.getGround(), sledge)
    m = o.Thelen2003Muscle("m", f_max_n, l_opt_m, l_slack_m, 0.0)
    m.set_FmaxTendonStrain(THELEN_STRAIN)
    m.addNewPathPoint("from", model.getGround(), origin)
    m.addNewPathPoint("to", sledge, origin)
    model.addBody(sledge)
    model.addJoint(rail)
    model.addForce(m)
    state = model.initSystem()

    def put(fibre: float, tendon: float, activation: float) -> None:
        rail.getCoordinate().setValue(state, fibre * l_opt_m + tendon * l_slack_m)
        m.setActivation(state, activation)
        m.setStateVariableValue(state, m.getAbsolutePathString() + "/fiber_length", fibre * l_opt_m)
        model.realizeDynamics(state)

    active, passive, tension = [], [], []
    for n in STRETCH:
        put(n, TENDON[0], 0.5)
        active.append(m.getActiveForceLengthMultiplier(state))
        passive.append(m.getPassiveForceMultiplier(state))
    for x in TENDON:
        put(1.0, x, 0.5)
        tension.append(m.getTendonForce(state) / f_max_n)
    at, speed = [], []
    for x, a, n in itertools.product(THELEN_TENDON, (0.3, 0.6, 1.0), (0.8, 1.0, 1.2)):
        put(n, x, a)
        f_l = m.getActiveForceLengthMultiplier(state)
        force = m.getTendonForce(state) / f_max_n - m.getPassiveForceMultiplier(state)
        if 0 < force < 0.95 * a * f_l * 1.4:
            at.append((force, a, f_l))
            speed.append(m.getNormalizedFiberVelocity(state))
    forces, *rest = zip(*at, strict=True)
    return [
        _kept("thelen", "active_force_length", [STRETCH], active),
        _kept("thelen", "passive_force_length", [STRETCH], passive),
        _kept("thelen", "tendon_force", [TENDON], tension),
        _kept("thelen", "velocity", [forces, *rest], speed),
        _kept("thelen", "active_force", [speed, *rest], forces),
    ]


def _row(model: str, curve: str, function: Any, x: tuple[float, ...]) -> Row:
    return _kept(model, curve, [x], [function(v) for v in x])


def _kept(model: str, curve: str, arguments: Any, values: Sequence[float]) -> Row:
    columns = [np.round(a, DECIMALS).tolist() for a in arguments]
    value = np.round(values, DECIMALS).tolist()
    return {"model": model, "curve": curve, "arguments": columns, "values": value}


def main() -> None:
    """Make the kept values again."""
    KEPT.write_text("[\n" + ",\n".join(json.dumps(row) for row in sample()) + "\n]\n")


if __name__ == "__main__":
    main()
