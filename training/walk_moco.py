"""One stride of overground walking with a model of the person's own size (walk_emg_ik_id_moco).

The same form as ``training.gait``: the right ankle at 100 Hz, load_kg 0, forces as features.  Three
channels drive four muscles: both heads of gastrocnemius share one.

It can show that geometry, signs and moments agree in another model and another laboratory's files.
It cannot show that anything generalises: 1.35 s of one stride, nothing to test on, envelopes over
their own maxima in this stride rather than over a maximal effort, kinematics polished by residual
reduction, and the EMG's leg is not named (it follows the right ankle's moment).
"""

import numpy as np

from models.muscle_set import muscle_set
from models.opensim_import import read_osim
from models.osim import OsimModel
from training.datasets import locate
from training.fit_nmm import Joint
from training.gait import ankle_trial
from training.gait_recording import F64, ConventionError, Gait, Table, angle_table, table
from training.joint_data import JointTrial
from training.trial_views import hide

DATA = "walk_emg_ik_id_moco"
MUSCLES = ("soleus_r", "gasmed_r", "gaslat_r", "tibant_r")
CHANNELS = {
    "soleus_r": "soleus",
    "gasmed_r": "gastrocnemius",
    "gaslat_r": "gastrocnemius",
    "tibant_r": "tibialis_anterior",
}
RATE_HZ = 100.0


def read_walk(rate_hz: float = RATE_HZ) -> Gait:
    """The recording, every table at ``rate_hz`` on the kinematics' clock.

    Raises DataMissing, StoError, OsimError, and ConventionError where a table ends too early.
    """
    model = _model()
    angles = angle_table(locate(DATA, "coordinates.sto"), model)
    time_s = angles["time"]
    at_s = np.arange(time_s[0], time_s[-1], 1 / rate_hz)
    emg, moments, forces = (
        at(table(locate(DATA, file)), at_s)
        for file in ("electromyography.sto", "id_walk.sto", "grf_walk.mot")
    )
    return Gait(
        name="walk_moco",
        model=model,
        emg=emg,
        angles=at(angles, at_s),
        moments=moments,
        forces=forces,
        right="ground_force_r",
        left="ground_force_l",
    )


def at(t: Table, at_s: F64) -> Table:
    """A table at other times, straight between its samples.

    All of it was low-passed at 15 Hz or less, so nothing folds down at 100 Hz.
    Raises ConventionError where it does not reach.
    """
    own_s = t["time"]
    spare_s = np.diff(own_s).max()
    if at_s[0] < own_s[0] - spare_s or at_s[-1] > own_s[-1] + spare_s:
        raise ConventionError(
            f"{t.file}, column 'time': {own_s[0]:g} to {own_s[-1]:g} s do not reach over "
            f"{at_s[0]:g} to {at_s[-1]:g} s: another clock? shift it"
        )
    moved = {c: np.interp(at_s, own_s, x) for c, x in t.columns.items() if c != "time"}
    return Table(t.file, {"time": at_s, **moved})


def stride() -> JointTrial:
    """The stride.  Raises DataMissing and ConventionError."""
    return ankle_trial(read_walk(), MUSCLES, CHANNELS, RATE_HZ)


def hidden(t: JointTrial, muscle: str) -> JointTrial:
    """The stride as if ``muscle`` had no electrode; both heads of gastrocnemius had one."""
    return hide(t, MUSCLES, muscle)


def ankle() -> Joint:
    """The joint as fits read it when soleus is hidden.  Raises DataMissing."""
    return Joint(MUSCLES, muscle_set(_model(), MUSCLES), {"soleus_r": ("gasmed_r",)})


def _model() -> OsimModel:
    return read_osim(locate(DATA, "subject_walk_scaled.osim"))
