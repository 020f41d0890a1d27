"""Elbows that bend in OpenSim: simulations whose every muscle is known, made once and kept.

OpenSim's arm26 with Millard muscles on stretching tendons, perturbed to a simulated person, holds a
load and follows a movement by feed-forward and feedback through its muscles' excitations.  What is
kept is what OpenSim computes: angle, its derivatives, inverse dynamics, excitation, activation,
tendon force.  ``opensim`` is needed to make the trials, not to read them.
"""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from training.virtual_people import (
    EVERYBODY,
    F64,
    FLEXES,
    LOAD_M,
    LOADS_KG,
    MUSCLES,
    RATE_HZ,
    TEMPOS_S,
    Habits,
    Person,
    movement,
    person,
    shares,
    wandering,
)

KEPT = Path(__file__).parent / "virtual" / "arm.npz"
FOREARM, ELBOW, SHOULDER = "r_ulna_radius_hand", "r_elbow_flex", "r_shoulder_elev"
STIFF_NM, DAMP_NM_S = 15.0, 1.5  # of the feedback: per rad, per rad/s
_FIELDS = {"angle_rad": 1, "speed_rad_s": 1, "acceleration_rad_s2": 1, "moment_nm": 1,
           "excitation": 6, "activation": 6, "force_n": 6}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One trial at 100 Hz: ``(n,)``, and ``(n, 6)`` in the order of ``MUSCLES``."""

    person: str
    load_kg: float
    tempo_s: float
    angle_rad: F64
    speed_rad_s: F64
    acceleration_rad_s2: F64
    moment_nm: F64  # inverse dynamics of the forearm and the load: muscles less joint damping
    excitation: F64
    activation: F64
    force_n: F64  # of the tendons


def load_trials(path: Path = KEPT) -> list[Trial]:
    """The kept trials, ordered by person, load, tempo.  Raises ValueError for another file."""
    with np.load(path) as f:
        if set(f.files) != {"values", "low", "step", "keys"}:
            raise ValueError(f"{path} holds no trials: make it with training.virtual_arm")
        values = f["values"] * f["step"][..., None] + f["low"][..., None]
        keys = f["keys"]
    return [_trial(EVERYBODY[int(p)], kg, s, v) for (p, kg, s), v in zip(keys, values, strict=True)]


def keep_trials(trials: list[Trial], path: Path = KEPT) -> None:
    """Write trials as 16-bit steps of each row's range: a relative error of 8e-6."""
    rows = np.stack([_rows(t) for t in trials])
    low, high = rows.min(2), rows.max(2)
    step = np.maximum(high - low, 1e-12) / 65535
    values = np.round((rows - low[..., None]) / step[..., None]).astype(np.uint16)
    keys = np.array([(EVERYBODY.index(t.person), t.load_kg, t.tempo_s) for t in trials])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, values=values, low=low, step=step, keys=keys)


def simulate(arm26: Path, who: Person, load_kg: float, tempo_s: float) -> Trial:
    """Run one trial in OpenSim; ``arm26`` is OpenSim's own file."""
    import opensim

    arm = _Arm(opensim, arm26, who, load_kg)
    seed = 1000 * EVERYBODY.index(who.name) + 10 * round(load_kg) + TEMPOS_S.index(tempo_s)
    angle, speed, acceleration = movement(seed, tempo_s)
    wander = wandering(np.random.default_rng(seed + 1), len(angle), who.habits.wander)
    rows = []
    arm.begin(angle[0])
    for k in range(len(angle)):
        rows.append(arm.read())
        wanted_nm = arm.inverse_dynamics_nm(angle[k], speed[k], acceleration[k])
        wanted_nm += STIFF_NM * (angle[k] - rows[-1][0]) + DAMP_NM_S * (speed[k] - rows[-1][1])
        u = arm.share_out(who.habits, wanted_nm, load_kg, wander[k])
        rows[-1][4:10] = u
        arm.advance(u)
    return _trial(who.name, load_kg, tempo_s, np.array(rows).T)


def simulate_all(arm26: Path) -> list[Trial]:
    """Every person with every load at every tempo; some minutes."""
    return [
        simulate(arm26, person(name), kg, tempo_s)
        for name in EVERYBODY for kg in LOADS_KG for tempo_s in TEMPOS_S
    ]  # fmt: skip


def osim_text(arm26: Path) -> str:
    """arm26 with Millard muscles, whose force falls with speed alike at every activation.

    Current OpenSim wants activations and controls of at least 0.01.  What is Thelen's own of the
    muscles' constants, OpenSim leaves unread.
    """
    text = arm26.read_text().replace("Thelen2003Muscle", "Millard2012EquilibriumMuscle")
    text = re.sub(r"<minimum_activation>[^<]*", "<minimum_activation>0.01", text)
    return re.sub(r"<min_control>[^<]*", "<min_control>0.01", text)


class _Arm:
    """The simulation of one person with one load."""

    def __init__(self, opensim: Any, arm26: Path, who: Person, load_kg: float):
        import tempfile

        opensim.Logger.setLevelString("error")
        opensim.Logger.removeFileSink()
        self._o = opensim
        with tempfile.NamedTemporaryFile("w", suffix=".osim") as f:
            f.write(osim_text(arm26))
            f.flush()
            self._model = opensim.Model(f.name)
        self._scale(who, load_kg)
        self._model.finalizeConnections()
        self._bare = opensim.Model(self._model)  # bodies alone, as OpenSim's tool does it
        self._bare.updForceSet().clearAndDestroy()
        self._bare.updControllerSet().clearAndDestroy()
        self._bare_state = self._bare.initSystem()
        self._solver = opensim.InverseDynamicsSolver(self._bare)
        self._state = self._model.initSystem()
        self._elbow = self._model.getCoordinateSet().get(ELBOW)
        self._grid = np.linspace(0, 2.3, 60)
        self._arms_m = self._moment_arms()

    def _scale(self, who: Person, load_kg: float) -> None:
        o, m, b = self._o, self._model, who.body
        shoulder = m.updCoordinateSet().get(SHOULDER)
        shoulder.set_default_value(0.0)
        shoulder.set_locked(True)
        forearm = m.updBodySet().get(FOREARM)
        inertia = forearm.get_inertia()
        forearm.set_mass(forearm.get_mass() * b.forearm)
        forearm.set_inertia(o.Vec6(*(inertia.get(i) * b.forearm for i in range(6))))
        self.muscles = [
            o.Millard2012EquilibriumMuscle.safeDownCast(m.updMuscles().get(name))
            for name in MUSCLES
        ]
        for i, muscle in enumerate(self.muscles):
            muscle.set_max_isometric_force(muscle.get_max_isometric_force() * b.f_max[i])
            muscle.set_optimal_fiber_length(muscle.get_optimal_fiber_length() * b.l_opt[i])
            muscle.set_tendon_slack_length(muscle.get_tendon_slack_length() * b.l_slack[i])
            muscle.set_activation_time_constant(b.rise_s)
            muscle.set_deactivation_time_constant(b.fall_s)
        if load_kg:
            held = o.Body("load", load_kg, o.Vec3(0), o.Inertia(1e-5, 1e-5, 1e-5))
            m.addBody(held)
            at = o.Vec3(0, -LOAD_M, 0)
            m.addJoint(o.WeldJoint("grip", forearm, at, o.Vec3(0), held, o.Vec3(0), o.Vec3(0)))
        damper = o.SpringGeneralizedForce(ELBOW)
        damper.setStiffness(0.0)
        damper.setViscosity(b.damping_nm_s)
        m.addForce(damper)
        self._controller = o.PrescribedController()
        for muscle in self.muscles:
            self._controller.addActuator(muscle)
        m.addController(self._controller)
        for name in MUSCLES:
            self._controller.prescribeControlForActuator(name, o.Constant(0.01))

    def begin(self, angle_rad: float) -> None:
        self._elbow.setValue(self._state, angle_rad)
        self._model.equilibrateMuscles(self._state)
        self._manager = self._o.Manager(self._model)
        self._manager.setIntegratorAccuracy(1e-5)
        self._manager.initialize(self._state)
        self._steps = 0

    def advance(self, u: F64) -> None:
        """Hold excitations for one sample."""
        functions = self._controller.upd_ControlFunctions()
        for i, value in enumerate(u):
            self._o.Constant.safeDownCast(functions.get(i)).setValue(float(value))
        self._steps += 1
        self._state = self._manager.integrate(self._steps / RATE_HZ)

    def read(self) -> list[float]:
        """The row of ``_FIELDS`` at the present state; excitations still to be decided."""
        s, e = self._state, self._elbow
        self._model.realizeAcceleration(s)
        q, v, a = e.getValue(s), e.getSpeedValue(s), e.getAccelerationValue(s)
        activations = [m.getActivation(s) for m in self.muscles]
        forces = [m.getActuation(s) for m in self.muscles]
        return [q, v, a, self.inverse_dynamics_nm(q, v, a), *[0.0] * 6, *activations, *forces]

    def inverse_dynamics_nm(self, q: float, v: float, a: float) -> float:
        """OpenSim's, of the bodies alone."""
        s = self._bare_state
        elbow = self._bare.getCoordinateSet().get(ELBOW)
        elbow.setValue(s, q, False)
        elbow.setSpeedValue(s, v)
        self._bare.realizeVelocity(s)
        udot = self._o.Vector(2, 0.0)
        udot[1] = a
        return float(self._solver.solve(s, udot)[1])

    def share_out(self, h: Habits, wanted_nm: float, load_kg: float, wander: F64) -> F64:
        """Excitations that would give the moment if held, with the person's co-contraction."""
        s = self._state
        arms = np.array([np.interp(self._elbow.getValue(s), self._grid, r) for r in self._arms_m])
        speed = self._elbow.getSpeedValue(s)
        able_nm = abs(arms) * [
            m.get_max_isometric_force() * m.getActiveForceLengthMultiplier(s)
            * m.getForceVelocityMultiplier(s) * m.getCosPennationAngle(s) for m in self.muscles
        ]  # fmt: skip
        passive_nm = sum(
            r * m.getPassiveFiberForceAlongTendon(s)
            for r, m in zip(arms, self.muscles, strict=True)
        )
        wanted_nm -= passive_nm
        base = h.cocontraction + h.stiffens * load_kg + h.hurries * abs(speed)
        flex, extend = _given_by(h, able_nm, speed, wander)
        other_nm = np.interp(base, EFFORTS, extend if wanted_nm > 0 else flex)
        mine = flex if wanted_nm > 0 else extend
        effort = np.interp(abs(wanted_nm) + other_nm, mine, EFFORTS)
        efforts = np.where((wanted_nm > 0) == FLEXES, effort, base)
        u = [shares(h, efforts[i : i + 1], _closing(i, speed), wander)[0, i] for i in range(6)]
        return np.array(u)

    def _moment_arms(self) -> list[F64]:
        arms = np.empty((6, len(self._grid)))
        for k, q in enumerate(self._grid):
            self._elbow.setValue(self._state, q)
            for i, muscle in enumerate(self.muscles):
                arms[i, k] = muscle.getGeometryPath().computeMomentArm(self._state, self._elbow)
        return list(arms)


EFFORTS = np.linspace(0, 1, 41)


def _given_by(h: Habits, able_nm: F64, speed: float, wander: F64) -> tuple[F64, F64]:
    """Moment of the flexors and of the extensors at ``EFFORTS``."""
    e = np.stack([shares(h, EFFORTS, _closing(i, speed), wander)[:, i] for i in range(6)], 1)
    each = e * able_nm
    return each[:, FLEXES].sum(1), each[:, ~FLEXES].sum(1)


def _closing(i: int, speed: float) -> float:
    """How fast a muscle's side of the elbow shortens."""
    return speed if FLEXES[i] else -speed


def _rows(t: Trial) -> F64:
    return np.concatenate([np.atleast_2d(getattr(t, name).T) for name in _FIELDS])


def _trial(name: str, load_kg: float, tempo_s: float, rows: F64) -> Trial:
    parts: dict[str, F64] = {}
    at = 0
    for field, n in _FIELDS.items():
        parts[field] = rows[at] if n == 1 else rows[at : at + n].T
        at += n
    return Trial(name, float(load_kg), float(tempo_s), **parts)


def main() -> None:
    """Make the kept trials again: ``python -m training.virtual_arm``."""
    keep_trials(simulate_all(Path(os.environ["SONOMYO_DATA"]) / "arm26_reference" / "arm26.osim"))


@cache
def trials_of(name: str) -> tuple[Trial, ...]:
    """The kept trials of one person."""
    return tuple(t for t in load_trials() if t.person == name)


if __name__ == "__main__":
    main()
