"""Lifting a box with known load: trunk muscles, lumbar angle, L5/S1 moment (lift_back_emg_ik_id).

A person who lifted 5 kg from a squat and 15 kg from a stoop, 27 s each.  The recording's OpenSim
model is not part of the data, so nobody knows where its muscles pass: lengths, moment arms and path
speeds are NaN, and nothing that needs forces can be asked.  What can be asked is what envelopes say
of each other and what motion and load say of envelopes (``training.virtual_sensor``).  Load and
technique change together here: what differs between the two trials has two causes.

Signs are the file's: angles of six lumbar joints in rad, flexion < 0, their sum is the trunk's;
moments in N m, extension > 0.
"""

import numpy as np
import torch
from scipy.interpolate import make_interp_spline

from models.muscle import Muscle
from training.datasets import locate
from training.fit_nmm import Joint
from training.gait_recording import F64, ConventionError, Table, table
from training.joint_data import JointTrial
from training.joint_geometry import smooth
from training.trial_views import hide

DATA = "lift_back_emg_ik_id"
TRIALS = {"squat5kg": 5.0, "stoop15kg": 15.0}  # load in kg
MUSCLES = (
    "rectabd_r", "rectabd_l", "iliocost_r", "iliocost_l", "longlumb_r", "longlumb_l",
    "longthor_r", "longthor_l",
)  # fmt: skip
LUMBAR = tuple(f"{j}_Flex_Ext" for j in ("L5_S1", "L4_L5", "L3_L4", "L2_L3", "L1_L2", "L1_T12"))
FEATURES = (
    "lumbar_rad", "lumbar_rad_s", "pelvis_tilt_rad", "pelvis_tilt_rad_s", "arms_rad",
    "arms_rad_s", "load_kg", "l5s1_nm",
)  # fmt: skip
RATE_HZ = 50.0
MOTION_HZ = 4.0  # half of what 14.9 Hz can hold is noise by then
MOST_FLEXION_RAD = 1.6
LONGEST_GAP_S = 0.02  # of the EMG


def lift(name: str) -> JointTrial:
    """One of ``TRIALS`` at 50 Hz, seconds since its start.

    Raises DataMissing, StoError and ConventionError.
    """
    tables = [table(locate(DATA, f"{name}/{kind}.sto")) for kind in ("ik", "id", "emgFilt")]
    return lift_trial(name, TRIALS[name], *tables)


def lift_trial(name: str, load_kg: float, angles: Table, moments: Table, emg: Table) -> JointTrial:
    """The tables as a trial, over the time that all three cover; every row at its own time stamp.

    EMG loses single samples on the way, and kinematics do not come quite evenly.
    Raises ConventionError for tables of different clocks, angles in degrees or a turned moment.
    """
    at_s = _common_clock(angles, moments, emg)
    lumbar = np.sum([_at(angles, c, at_s) for c in LUMBAR], axis=0)
    moment_nm = np.interp(at_s, moments["time"], moments[LUMBAR[0]])
    _check(angles, moments, lumbar, moment_nm)
    arms = 0.5 * (_at(angles, "arm_flex_r", at_s) + _at(angles, "arm_flex_l", at_s))
    moving = (lumbar, _at(angles, "pelvis_tilt", at_s), arms)
    motion = [smooth(x, RATE_HZ, MOTION_HZ) for x in moving]
    load = np.full(len(at_s), load_kg)
    features = np.stack([*(x for m in motion for x in m), load, moment_nm], 1)
    envelope = np.stack([np.interp(at_s, emg["time"], emg[m]) for m in MUSCLES], 1)
    unknown = np.full_like(envelope, np.nan)
    return JointTrial(
        name=name,
        load_kg=load_kg,
        rate_hz=RATE_HZ,
        features=features,
        angle_rad=motion[0].angle_rad,
        speed_rad_s=motion[0].speed_rad_s,
        moment_nm=moment_nm,
        length_mm=unknown,
        arm_mm=unknown,
        path_mm_s=unknown,
        envelope=envelope.clip(min=0),
        truth=unknown,
        features_per_kg=np.zeros_like(features),
        moment_per_kg=np.zeros_like(moment_nm),
    )


def hidden(t: JointTrial, muscle: str) -> JointTrial:
    """The trial as if ``muscle`` had no electrode; see ``trial_views.hide``."""
    return hide(t, MUSCLES, muscle)


def back() -> Joint:
    """For fits that learn envelopes only (``alone`` of 1, no first guess): no muscle is known."""
    unknown = torch.full((len(MUSCLES),), torch.nan)
    return Joint(MUSCLES, Muscle(*(unknown,) * len(Muscle._fields)), {})


def _common_clock(*tables: Table) -> F64:
    start, stop = max(t["time"][0] for t in tables), min(t["time"][-1] for t in tables)
    if stop - start < 1.0:
        spans = "; ".join(f"{t.file}: {t['time'][0]:.2f} to {t['time'][-1]:.2f} s" for t in tables)
        raise ConventionError(f"column 'time': {spans} do not overlap: shift them to one clock")
    emg = tables[-1]
    if (gap := float(np.diff(emg["time"]).max())) > LONGEST_GAP_S:
        raise ConventionError(
            f"{emg.file}, column 'time': a gap of {gap:.3f} s: cut the trial there"
        )
    return np.arange(start, stop, 1 / RATE_HZ)


def _at(t: Table, column: str, at_s: F64) -> F64:
    start = t["time"][0]  # Unix seconds leave a spline few digits
    return np.asarray(make_interp_spline(t["time"] - start, t[column], k=3)(at_s - start))


def _check(angles: Table, moments: Table, lumbar: F64, moment_nm: F64) -> None:
    where = f"{angles.file}, columns {LUMBAR[0]} to {LUMBAR[-1]}"
    deepest = float(np.abs(lumbar).max())
    if deepest > MOST_FLEXION_RAD:
        raise ConventionError(
            f"{where}: {deepest:.1f} rad in all: degrees taken for radians? turn them into rad"
        )
    if np.ptp(lumbar) < 0.1:
        raise ConventionError(
            f"{where} move by {np.ptp(lumbar):.3f} rad in all: radians taken for degrees?"
        )
    likeness = float(np.corrcoef(lumbar, moment_nm)[0, 1])
    if likeness > 0 or np.median(moment_nm) < 0:
        raise ConventionError(
            f"{moments.file}, column {LUMBAR[0]!r}: median {np.median(moment_nm):.0f} N m, "
            f"correlation with the angle {likeness:.2f}; who bends down (angle < 0) has to be held "
            "up (moment > 0): wrong sign convention? turn the moment's sign"
        )
