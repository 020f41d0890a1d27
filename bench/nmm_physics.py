"""Muscle curves, paths, dynamics and speed beside OpenSim: the physics half of ``bench.nmm``."""

import json
import statistics
import time
from typing import Any

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from scipy.signal import butter, sosfiltfilt

from bench.nmm_paths import path_errors
from bench.part import Part, number
from models import elbow
from models.hill_joint import Geometry, forces_n
from models.physiology import Physiology, Values
from models.roll import Drive, roll
from training import opensim_curves
from training.datasets import locate
from training.opensim_forward import DAMPING_NM_S, HOLD_S, KEPT, START_RAD, excitations
from training.sto import read_sto
from training.virtual_arm import load_trials, osim_text
from training.virtual_measure import segment_of

F64 = torch.float64
TURNS = 5
STATES = 20_000  # of the elbow, evaluated at once
CALLS = 300  # of OpenSim

TARGETS = {  # of ``numbers``: what is more is wrong
    "curve_err": 1e-6,
    "length_mm": 0.5,
    "moment_arm_mm": 1.0,
    "id_rmse_nm": 0.05,
    "forward_deg": 1.0,
    "gradient_err": 1e-6,
}
LEAST_SPEEDUP = 50.0
CURVES = {"muscle": "De Groote and Fregly's", "thelen": "Thelen's", "millard": "Millard's"}


def physics_part() -> Part:
    """Everything that has a right answer.  Raises DataMissing."""
    curves = opensim_curves.errors()
    paths = path_errors()
    reference_nm, kept_nm = arm26_error_nm(), kept_error_nm()
    forward = forward_errors_deg()
    gradient = gradient_error()
    rows = [
        *((f"{title} muscle curves: greatest error", f"{curves[name]:.1e}", "<= 1e-6")
          for name, title in CURVES.items()),
        *paths.rows,
        ("inverse dynamics, arm26 reference: RMSE, N m", number(reference_nm, 4), "<= 0.05"),
        ("inverse dynamics, simulated arms with loads: RMSE, N m", number(kept_nm, 4), ""),
        *((f"forward, 2 s, {n}: RMSE, deg", number(v, 3), "<= 1") for n, v in forward.items()),
        ("gradients beside finite differences: greatest relative error", f"{gradient:.1e}",
         "<= 1e-6"),
    ]  # fmt: skip
    numbers = {
        "curve_err": max(curves.values()), "curve_err_by_model": curves, **paths.numbers,
        "id_rmse_nm": reference_nm, "id_simulated_nm": kept_nm,
        "forward_deg": max(forward.values()), "forward_deg_by_case": forward,
        "gradient_err": gradient,
    }  # fmt: skip
    wrong = tuple(
        f"physics: {name} is {numbers[name]:.3g}, wanted is at most {most:g}"
        for name, most in TARGETS.items()
        if not numbers[name] <= most  # nor what is no number
    )
    return Part("physics beside OpenSim 4.6", ("measured", "wanted"), rows, numbers, wrong)


def arm26_error_nm() -> float:
    """RMSE of our elbow moment from OpenSim's inverse dynamics of its own reference motion."""
    folder = locate("arm26_reference", "arm26.osim").parent
    motion = read_sto(folder / "arm26_InverseKinematics.mot")
    wanted = read_sto(folder / "std_arm26_InverseDynamics.sto")["r_elbow_flex_moment"]

    def derivatives(name: str) -> list[torch.Tensor]:
        smooth = sosfiltfilt(butter(4, 6 / 60, output="sos"), np.deg2rad(motion[name]))
        spline = make_interp_spline(motion["time"], smooth, k=5)
        return [torch.from_numpy(spline(motion["time"], k)) for k in (0, 1, 2)]

    q, v, a = derivatives("r_elbow_flex")
    got = elbow.inverse_dynamics_nm(q, v, a, swing=elbow.Swing(*derivatives("r_shoulder_elev")))
    return float(np.sqrt(np.mean((got.numpy() - wanted) ** 2)))


def kept_error_nm() -> float:
    """RMSE over all simulated trials, 0 to 4 kg, forearms of other masses."""
    errors = []
    for t in load_trials():
        q, v, a = (
            torch.from_numpy(np.ascontiguousarray(x))
            for x in (t.angle_rad, t.speed_rad_s, t.acceleration_rad_s2)
        )
        got = elbow.inverse_dynamics_nm(q, v, a, t.load_kg, segment_of(t.person))
        errors.append(got.numpy() - t.moment_nm)
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def forward_errors_deg() -> dict[str, float]:
    """RMSE of the angle after the same excitations for 2 s, by tendon and load."""
    kept = json.loads(KEPT.read_text("utf-8"))
    found = {}
    for case in kept:
        kg, elastic = case["load_kg"], case["tendon"] == "elastic"
        drive = Drive(elbow.muscles(torch.zeros((), dtype=F64)), kg, DAMPING_NM_S)
        got = roll(drive, excitations(kg), HOLD_S, START_RAD, elastic)
        off = np.rad2deg(got - np.array(case["angle_rad"]))
        found[f"{case['tendon']} tendons, {kg:g} kg"] = float(np.sqrt(np.mean(off**2)))
    return found


def gradient_error() -> float:
    """Moment's slopes in angle, speed, activation and parameters beside central differences."""
    generator = torch.Generator().manual_seed(1)
    person = Physiology(6).double()
    base = person()
    x = torch.cat([torch.rand(8, generator=generator, dtype=F64), *(v.reshape(-1) for v in base)])
    x = x.detach()

    def moment(z: torch.Tensor) -> torch.Tensor:
        q, v, a, rest = z[0] * 2.0, z[1] * 4.0 - 2.0, z[2:8], z[8:]
        parts = []
        for value in base:
            parts.append(rest[: value.numel()].reshape(value.shape))
            rest = rest[value.numel() :]
        length, arm = elbow.paths(q)
        g = Geometry(length, arm, -arm * v)
        return (forces_n(elbow.muscles(q), Values(*parts), a, g) * arm).sum() / 1000

    exact = torch.func.grad(moment)(x)
    step = 1e-6
    eye = torch.eye(len(x), dtype=F64) * step
    rough = torch.stack([(moment(x + e) - moment(x - e)) / (2 * step) for e in eye])
    return float(((exact - rough).abs() / (exact.abs() + 1e-2)).max())


def speed_part() -> Part:
    """Time of one muscle's force: ours, with its gradient, and OpenSim's, turn by turn."""
    ours, with_gradient = [], []
    theirs = _opensim()
    their_s: list[float] = []
    for _ in range(TURNS):
        ours.append(_our_s(False))
        with_gradient.append(_our_s(True))
        if theirs:
            their_s.append(theirs())
    mine, grad = statistics.median(ours), statistics.median(with_gradient)
    rows = [
        (f"ours, {STATES} elbows at once", number(1e6 * mine, 3)),
        ("the same with gradients", number(1e6 * grad, 3)),
    ]
    numbers: dict[str, Any] = {"muscle_us": 1e6 * mine, "muscle_with_gradient_us": 1e6 * grad,
                               "speedup_vs_opensim": None}  # fmt: skip
    wrong: tuple[str, ...] = ()
    if their_s:
        other = statistics.median(their_s)
        rows += [("OpenSim's Python call", number(1e6 * other, 1)),
                 (f"ratio (wanted: {LEAST_SPEEDUP:g} or more)", f"{other / mine:.0f}")]  # fmt: skip
        numbers |= {"opensim_us": 1e6 * other, "speedup_vs_opensim": other / mine,
                    "speedup_with_gradient": other / grad}  # fmt: skip
        if other < LEAST_SPEEDUP * mine:
            wrong = (f"speed: {other / mine:.0f} times OpenSim's, wanted is {LEAST_SPEEDUP:g}",)
    else:
        rows.append(("OpenSim is not installed: pip install 'sonomyo[opensim]'", ""))
    return Part("one muscle, path and force, one thread", ("us",), rows, numbers, wrong)


def _our_s(gradient: bool) -> float:
    q = torch.linspace(0.1, 2.2, STATES).requires_grad_(gradient)
    values = Values(*(v.detach() for v in Physiology(6)()))
    a = torch.full((STATES, 6), 0.3)
    start = time.perf_counter()
    length, arm = elbow.paths(q)
    force = forces_n(elbow.muscles(q), values, a, Geometry(length, arm, -arm))
    if gradient:
        torch.autograd.backward(force.sum())
    return (time.perf_counter() - start) / STATES / 6


def _opensim() -> Any:
    """A timed loop over states of arm26 in OpenSim; None where it is not installed."""
    try:
        import opensim as o
    except ImportError:
        return None
    import tempfile

    o.Logger.setLevelString("error")
    o.Logger.removeFileSink()
    with tempfile.NamedTemporaryFile("w", suffix=".osim") as f:
        f.write(osim_text(locate("arm26_reference", "arm26.osim")))
        f.flush()
        model = o.Model(f.name)
    model.finalizeConnections()
    o.DeGrooteFregly2016Muscle.replaceMuscles(model)
    muscles = [
        o.DeGrooteFregly2016Muscle.safeDownCast(model.getMuscles().get(n)) for n in elbow.MUSCLES
    ]
    for m in muscles:
        m.set_ignore_tendon_compliance(True)
    state = model.initSystem()
    coordinate = model.getCoordinateSet().get("r_elbow_flex")

    def run() -> float:
        start = time.perf_counter()
        for q in np.linspace(0.1, 2.2, CALLS):
            coordinate.setValue(state, float(q), False)
            coordinate.setSpeedValue(state, 1.0)
            for m in muscles:
                m.setActivation(state, 0.3)
            model.realizeDynamics(state)
            for m in muscles:
                m.getActuation(state)
        return (time.perf_counter() - start) / CALLS / 6

    return run
