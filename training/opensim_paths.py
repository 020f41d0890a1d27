"""Muscle-tendon lengths and moment arms as OpenSim computes them, kept as JSON to compare with.

``python -m training.opensim_paths DATA OUT`` needs the ``opensim`` package; DATA is the folder of
recordings and models.  One file per model: for every sweep of one coordinate, the others held, the
angles in rad and for each muscle, in mm to 0.001 mm: ``length_mm`` and ``arm_mm`` as OpenSim
reports them; where these say otherwise, ``path_mm``, the length along OpenSim's own path points,
and ``slope_mm``, minus the slope of that length by central differences (where there is one: a
length may jump or kink).
"""

import argparse
import gzip
import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("length_mm", "path_mm", "arm_mm", "slope_mm")
TELLING_MM = {"path_mm": 0.002, "slope_mm": 0.05}
STEP_RAD = 1e-4
SMOOTH_MM = 1.0  # difference of the slopes on both sides


@dataclass(frozen=True)
class Sweep:
    """One coordinate through a range in degrees, others held in degrees, the rest at default."""

    coordinate: str
    first_deg: float
    last_deg: float
    steps: int
    held_deg: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Study:
    path: str  # of the model below DATA
    muscles: tuple[str, ...]
    sweeps: tuple[Sweep, ...]


STUDIES = {
    "arm26": Study(
        "arm26_reference/arm26.osim",
        ("TRIlong", "TRIlat", "TRImed", "BIClong", "BICshort", "BRA"),
        (
            *(
                Sweep("r_elbow_flex", 0, 130, 27, (("r_shoulder_elev", held),))
                for held in (0.0, 45.0, 90.0)
            ),
            *(
                Sweep("r_shoulder_elev", -80, 170, 26, (("r_elbow_flex", held),))
                for held in (0.0, 90.0)
            ),
        ),
    ),
    "gait2392": Study(
        "gait_emg_ik_id_sub06/model/gait2392.osim.gz",
        (
            "soleus_r", "med_gas_r", "lat_gas_r", "tib_ant_r", "per_long_r", "semimem_r",
            "bifemlh_r", "vas_lat_r", "rect_fem_r", "vas_med_r",
        ),
        (
            *(Sweep("ankle_angle_r", -40, 30, 15, (("knee_angle_r", k),)) for k in (0.0, -60.0)),
            *(Sweep("knee_angle_r", -120, 10, 27, (("hip_flexion_r", h),)) for h in (0.0, 60.0)),
            *(Sweep("hip_flexion_r", -20, 110, 14, (("knee_angle_r", k),)) for k in (0.0, -60.0)),
        ),
    ),
    "rajagopal": Study(
        "walk_emg_ik_id_moco/subject_walk_scaled.osim.gz",
        (
            "soleus_r", "gasmed_r", "gaslat_r", "tibant_r", "perlong_r", "semimem_r", "semiten_r",
            "bflh_r", "bfsh_r", "recfem_r", "vasint_r", "vaslat_r", "vasmed_r",
        ),
        (
            *(Sweep("ankle_angle_r", -40, 30, 15, (("knee_angle_r", k),)) for k in (0.0, 60.0)),
            *(Sweep("knee_angle_r", 0, 120, 25, (("hip_flexion_r", h),)) for h in (0.0, 60.0)),
            *(Sweep("hip_flexion_r", -20, 110, 14, (("knee_angle_r", k),)) for k in (0.0, 60.0)),
        ),
    ),
}  # fmt: skip


def angles_rad(sweep: Sweep) -> list[float]:
    """Steps of a sweep, rounded so that the stored angle is the angle that was set."""
    degrees = np.linspace(sweep.first_deg, sweep.last_deg, sweep.steps)
    return [round(math.radians(d), 9) for d in degrees]


def sample(study: Study, data: Path) -> dict[str, Any]:
    """Lengths and moment arms of a study, what the JSON holds."""
    import opensim

    opensim.Logger.setLevelString("Off")
    model = _load(data / study.path)
    state = model.initSystem()
    coordinates = model.getCoordinateSet()
    start = {c.getName(): c.getDefaultValue() for c in coordinates}
    muscles = {name: model.getMuscles().get(name) for name in study.muscles}
    sweeps = []
    for sweep in study.sweeps:
        held = {name: round(math.radians(deg), 9) for name, deg in sweep.held_deg}
        moved = coordinates.get(sweep.coordinate)

        q_rad = angles_rad(sweep)
        tables: dict[str, dict[str, list[float]]] = {
            what: {name: [] for name in muscles} for what in KINDS
        }
        for q in q_rad:
            around = []
            for step in (-STEP_RAD, STEP_RAD, 0.0):
                for name, value in {**start, **held, sweep.coordinate: q + step}.items():
                    coordinates.get(name).setValue(state, value, False)
                model.assemble(state)  # coordinates that follow others
                around.append({name: _path_mm(m, state) for name, m in muscles.items()})
            before, after, here = around
            for name, muscle in muscles.items():
                arm = 1000 * muscle.computeMomentArm(state, moved)
                left, right = before[name] - here[name], here[name] - after[name]
                smooth = abs(left - right) < SMOOTH_MM * STEP_RAD
                slope = (left + right) / (2 * STEP_RAD) if smooth else arm
                values = (1000 * muscle.getLength(state), here[name], arm, slope)
                for what, value in zip(KINDS, values, strict=True):
                    tables[what][name].append(round(value, 3))
        for extra, beside in (("path_mm", "length_mm"), ("slope_mm", "arm_mm")):
            tables[extra] = {
                name: values
                for name, values in tables[extra].items()
                if np.abs(np.subtract(values, tables[beside][name])).max() > TELLING_MM[extra]
            }
        sweeps.append({"coordinate": sweep.coordinate, "held_rad": held, "q_rad": q_rad, **tables})
    return {"model": study.path, "opensim": opensim.GetVersion(), "sweeps": sweeps}


def main(data: Path, out: Path) -> int:
    """Write ``paths_<study>.json`` for every study."""
    out.mkdir(parents=True, exist_ok=True)
    for name, study in STUDIES.items():
        text = json.dumps(sample(study, data), separators=(",", ":"))
        (out / f"paths_{name}.json").write_text(text + "\n")
    return 0


def _path_mm(muscle: Any, state: Any) -> float:
    """Length along the points of a path, each carried to the ground anew.

    With several surfaces on a path OpenSim's own sum uses places in the ground that it kept from an
    earlier round of wrapping, and is off by millimetres.
    """
    import opensim

    points = muscle.getGeometryPath().getCurrentPath(state)
    total, last, on = 0.0, None, None
    for i in range(points.getSize()):
        point = points.get(i)
        frame = point.getParentFrame().getTransformInGround(state)
        at = frame.shiftFrameStationToBase(point.getLocation(state)).to_numpy()
        wrapped = opensim.PathWrapPoint.safeDownCast(point)
        surface = wrapped.getWrapObject().getAbsolutePathString() if wrapped else None
        if surface is not None and surface == on:
            total += wrapped.getWrapLength(state)
        elif last is not None:
            total += float(np.linalg.norm(at - last))
        last, on = at, surface
    return 1000 * total


def _load(path: Path) -> Any:
    import opensim

    if path.suffix == ".gz":
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / path.stem
            plain.write_bytes(gzip.decompress(path.read_bytes()))
            model = opensim.Model(str(plain))
    else:
        model = opensim.Model(str(path))
    forces = model.getForceSet()  # the muscle set is empty until the model is valid
    for i in range(forces.getSize()):
        thelen = opensim.Thelen2003Muscle.safeDownCast(forces.get(i))
        if thelen is not None and thelen.getMinimumActivation() < 0.01:
            thelen.setMinimumActivation(0.01)  # old files have 0, which OpenSim 4 refuses
            thelen.setMinControl(0.01)
    return model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    raise SystemExit(main(args.data, args.out))
