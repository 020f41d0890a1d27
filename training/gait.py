"""Walking and running of one person as trials of the right ankle (gait_emg_ik_id_sub06).

Nine muscles with EMG, four of them across the ankle; the other five have no moment arm about it and
only help to tell what is going on.  The load is what the ground bears: nothing is carried, so
``load_kg`` is 0, and the ground reaction force is among the features.  The ankle's moment is the
file's: OpenSim's sign, dorsiflexion > 0.

Steps with both feet on one belt are left out (``training.gait_steps``), so a recording is a list of
stretches of good time, with whole steps in them.
"""

from collections.abc import Sequence

import numpy as np

from models.muscle_set import muscle_set
from models.opensim_import import read_osim
from training.datasets import locate
from training.fit_nmm import Joint
from training.gait_conventions import check_conventions
from training.gait_recording import DATA, RECORDINGS, Gait, read_gait
from training.gait_steps import stretches, wrong
from training.joint_data import JointTrial
from training.joint_geometry import along, smooth, stretched
from training.trial_views import SHORTEST_S, cut, hide

MUSCLES = (
    "soleus_r", "med_gas_r", "lat_gas_r", "tib_ant_r", "semimem_r", "bifemlh_r", "vas_lat_r",
    "rect_fem_r", "vas_med_r",
)  # fmt: skip
ACROSS_ANKLE = MUSCLES[:4]
NEIGHBOURS: dict[str, tuple[str, ...]] = {
    "soleus_r": ("med_gas_r", "lat_gas_r"),  # the other heads of triceps surae
    "med_gas_r": ("lat_gas_r",),
    "lat_gas_r": ("med_gas_r",),
}
MOVING = (  # coordinates that these muscles cross
    "ankle_angle_r", "knee_angle_r", "hip_flexion_r", "hip_adduction_r", "hip_rotation_r",
    "subtalar_angle_r",
)  # fmt: skip
FEATURES = (
    "ankle_rad", "ankle_rad_s", "knee_rad", "knee_rad_s", "hip_rad", "hip_rad_s",
    "ground_up_n", "ground_forward_n", "ankle_nm",
)  # fmt: skip
RATE_HZ = 100.0
MOST_S = 8.0  # of a stretch: fits pad trials to the longest


def recordings(names: Sequence[str] = tuple(RECORDINGS)) -> dict[str, list[JointTrial]]:
    """Good stretches of each recording.  Raises DataMissing and ConventionError."""
    return {name: good_stretches(read_gait(name)) for name in names}


def good_stretches(g: Gait) -> list[JointTrial]:
    """The parts of a recording in which the ankle's moment can be believed."""
    whole = ankle_trial(g, MUSCLES, {m: m for m in MUSCLES}, RATE_HZ)
    found = stretches(wrong(g, RATE_HZ), round(SHORTEST_S * RATE_HZ), round(MOST_S * RATE_HZ))
    return [cut(whole, a, b, f"{g.name}-{a / RATE_HZ:.1f}s") for a, b in found]


def ankle_trial(
    g: Gait, muscles: Sequence[str], channels: dict[str, str], rate_hz: float
) -> JointTrial:
    """All of a recording, steps on the wrong belt included.

    ``channels`` names each muscle's column of EMG.  Envelopes below 0, which a filter leaves in
    quiet muscles, are 0.  Raises ConventionError.
    """
    check_conventions(g)
    moving = [c for c in MOVING if c in g.angles.columns]
    motion = {c: smooth(g.angles[c], rate_hz) for c in moving}
    ground_n, moment_nm = g.force_n(g.right), g.moments["ankle_angle_r_moment"]
    geometry = along(g.model, muscles, motion, "ankle_angle_r")
    geometry = stretched(geometry, muscle_set(g.model, muscles), moment_nm, rate_hz)
    seen = [x for c in MOVING[:3] for x in motion[c]]
    features = np.stack([*seen, ground_n[:, 1], ground_n[:, 0], moment_nm], 1)
    envelope = np.stack([g.emg[channels[m]] for m in muscles], 1).clip(min=0)
    return JointTrial(
        name=g.name,
        load_kg=0.0,
        rate_hz=rate_hz,
        features=features,
        angle_rad=motion["ankle_angle_r"].angle_rad,
        speed_rad_s=motion["ankle_angle_r"].speed_rad_s,
        moment_nm=moment_nm,
        length_mm=geometry.length_mm,
        arm_mm=geometry.arm_mm,
        path_mm_s=geometry.path_mm_s,
        envelope=envelope,
        truth=np.full_like(envelope, np.nan),
        features_per_kg=np.zeros_like(features),
        moment_per_kg=np.zeros_like(moment_nm),
    )


def hidden(t: JointTrial, muscle: str) -> JointTrial:
    """The trial as if ``muscle`` had no electrode; see ``trial_views.hide``."""
    return hide(t, MUSCLES, muscle)


def ankle(muscle: str = "soleus_r") -> Joint:
    """The joint as fits read it, when ``muscle`` is hidden: constants of gait2392, not scaled.

    A muscle like no other, such as tib_ant_r, has no neighbour.  Raises DataMissing.
    """
    model = read_osim(locate(DATA, "model/gait2392.osim.gz"))
    alike = {muscle: NEIGHBOURS[muscle]} if muscle in NEIGHBOURS else {}
    return Joint(MUSCLES, muscle_set(model, MUSCLES), alike)
