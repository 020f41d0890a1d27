"""Two seconds of an elbow in OpenSim with our muscle equations, to compare forward dynamics with.

OpenSim's ``DeGrooteFregly2016Muscle`` in arm26, under excitations held for 10 ms each; once with
rigid tendons and once with tendons that stretch.  Kept as JSON: ``python -m
training.opensim_forward`` makes it again.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from training.virtual_arm import ELBOW, SHOULDER, osim_text
from training.virtual_people import FLEXES, LOAD_M, MUSCLES

KEPT = Path(__file__).parents[1] / "bench" / "results" / "nmm" / "forward.json"
SECONDS, HOLD_S = 2.0, 0.01
CASES = (("rigid", 0.0), ("rigid", 2.0), ("elastic", 0.0), ("elastic", 2.0))
DAMPING_NM_S = 0.2
START_RAD = 0.5


def excitations(load_kg: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Flexors that come and go twice, extensors a little throughout: ``(200, 6)``."""
    t = np.arange(round(SECONDS / HOLD_S)) * HOLD_S
    flex = 0.03 + (0.04 + 0.06 * load_kg) * np.sin(np.pi * t) ** 2
    each = np.where(FLEXES, flex[:, None], 0.03)
    return np.asarray(np.round(each * np.linspace(0.8, 1.2, 6), 6))


def simulate(
    arm26: Path, tendon: str, load_kg: float, holds: int = round(SECONDS / HOLD_S)
) -> list[float]:
    """Angles in rad at the ends of the first ``holds``, beginning with the start."""
    import opensim as o

    o.Logger.setLevelString("error")
    o.Logger.removeFileSink()
    with tempfile.NamedTemporaryFile("w", suffix=".osim") as f:
        f.write(osim_text(arm26))
        f.flush()
        model = o.Model(f.name)
    shoulder = model.updCoordinateSet().get(SHOULDER)
    shoulder.set_default_value(0.0)
    shoulder.set_locked(True)
    model.finalizeConnections()
    o.DeGrooteFregly2016Muscle.replaceMuscles(model)
    muscles = [o.DeGrooteFregly2016Muscle.safeDownCast(model.getMuscles().get(n)) for n in MUSCLES]
    for m in muscles:
        m.set_ignore_tendon_compliance(tendon == "rigid")
        m.set_tendon_compliance_dynamics_mode("explicit")
        m.set_fiber_damping(0.0)
        m.set_activation_time_constant(0.015)
        m.set_deactivation_time_constant(0.060)
        m.set_activation_dynamics_smoothing(10.0)
        m.set_tendon_strain_at_one_norm_force(0.049)
        m.set_max_contraction_velocity(10.0)
        m.set_active_force_width_scale(1.0)
        m.set_passive_fiber_strain_at_one_norm_force(0.6)
    if load_kg:
        forearm = model.getBodySet().get("r_ulna_radius_hand")
        held = o.Body("load", load_kg, o.Vec3(0), o.Inertia(0, 0, 0))
        model.addBody(held)
        at = o.Vec3(0, -LOAD_M, 0)
        model.addJoint(o.WeldJoint("grip", forearm, at, o.Vec3(0), held, o.Vec3(0), o.Vec3(0)))
    damper = o.SpringGeneralizedForce(ELBOW)
    damper.setStiffness(0.0)
    damper.setViscosity(DAMPING_NM_S)
    model.addForce(damper)
    controller = o.PrescribedController()
    for m in muscles:
        controller.addActuator(m)
    model.addController(controller)
    u = excitations(load_kg)[:holds]
    for name, first in zip(MUSCLES, u[0], strict=True):
        controller.prescribeControlForActuator(name, o.Constant(float(first)))
    state = model.initSystem()
    elbow = model.getCoordinateSet().get(ELBOW)
    elbow.setValue(state, START_RAD)
    for m, first in zip(muscles, u[0], strict=True):
        m.setActivation(state, float(first))
    if tendon == "elastic":
        model.equilibrateMuscles(state)
    manager = o.Manager(model)
    manager.setIntegratorAccuracy(1e-7)
    manager.initialize(state)
    angles = [elbow.getValue(state)]
    for k, row in enumerate(u):
        functions = controller.upd_ControlFunctions()
        for i, value in enumerate(row):
            o.Constant.safeDownCast(functions.get(i)).setValue(float(value))
        state = manager.integrate((k + 1) * HOLD_S)
        angles.append(elbow.getValue(state))
    return [round(float(a), 7) for a in angles]


def main() -> None:
    """Make the kept angles again."""
    arm26 = Path(os.environ["SONOMYO_DATA"]) / "arm26_reference" / "arm26.osim"
    kept = [
        {"tendon": tendon, "load_kg": kg, "angle_rad": simulate(arm26, tendon, kg)}
        for tendon, kg in CASES
    ]
    KEPT.write_text(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
