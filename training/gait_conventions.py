"""Do the files of a recorded gait mean what we think?  Signs, units, sides, clocks.

What is checked is what must hold for anybody who walks forward, so a file with another convention
is an error with a name, not a model that learns nonsense.
"""

import numpy as np
from numpy.typing import NDArray

from training.gait_recording import F64, ConventionError, Gait
from training.gait_steps import missed_m
from training.joint_geometry import Motion, along

KNEE_SPAN_RAD = 0.3  # whoever walks bends the knee more
SPARE_RAD = 0.1  # beyond a coordinate's range
LEVER_M = (0.02, 0.3)  # from the ankle to the force under the foot at push-off
CLOCK_S = 1e-4


def check_conventions(g: Gait, soleus: str = "soleus_r") -> None:
    """Raises ConventionError for the first of clocks, angles, forces, moment that cannot be."""
    _check_clocks(g)
    _check_angles(g)
    loaded = _check_foot(g)
    _check_push_off(g, soleus, loaded)


def _check_clocks(g: Gait) -> None:
    time_s = g.angles["time"]
    for t in (g.emg, g.moments, g.forces):
        other_s = t["time"]
        if len(other_s) != len(time_s) or np.abs(other_s - time_s).max() > CLOCK_S:
            raise ConventionError(
                f"{t.file}, column 'time': {len(other_s)} samples from {other_s[0]:g} to "
                f"{other_s[-1]:g} s, but {g.angles.file} has {len(time_s)} from {time_s[0]:g} to "
                f"{time_s[-1]:g} s: resample both to one clock"
            )


def _check_angles(g: Gait) -> None:
    for name, c in g.model.coordinates.items():
        if name not in g.angles.columns or name in g.model.couplers or not c.rotational:
            continue
        x, (low, high) = g.angles[name], c.range
        if x.min() < low - SPARE_RAD or x.max() > high + SPARE_RAD:
            raise ConventionError(
                f"{g.angles.file}, column {name!r}: {x.min():.2f} to {x.max():.2f} rad, but "
                f"{g.model.name} allows {low:.2f} to {high:.2f}: degrees taken for radians? "
                "correct inDegrees in the file's header"
            )
    knee = g.angles["knee_angle_r"]
    if np.ptp(knee) < KNEE_SPAN_RAD:
        raise ConventionError(
            f"{g.angles.file}, column 'knee_angle_r' moves by {np.ptp(knee):.3f} rad only: radians "
            "taken for degrees? correct inDegrees in the file's header"
        )


def _check_foot(g: Gait) -> NDArray[np.bool_]:
    """Samples in which the right foot bears weight."""
    up_n = g.force_n(g.right)[:, 1]
    column = f"{g.forces.file}, column '{g.right}_vy'"
    if up_n.max() < 100 or up_n.max() < -up_n.min():
        raise ConventionError(
            f"{column}: {up_n.min():.0f} to {up_n.max():.0f} N, expected was a body's weight in N, "
            "upwards > 0: turn its sign, or its unit"
        )
    loaded = np.asarray(up_n > 0.5 * np.percentile(up_n, 95))
    own, other = (np.mean(missed_m(g, side, g.right)[loaded] == 0) for side in "rl")
    if own < 0.5:
        raise ConventionError(
            f"{column}: loaded, its centre of pressure is under the right foot in {own:.0%} of the "
            f"samples, under the left in {other:.0%}: "
            + (f"take {g.left!r} for the right" if other > own else "check its point's frame, in m")
        )
    return loaded


def _check_push_off(g: Gait, soleus: str, loaded: NDArray[np.bool_]) -> None:
    """Late in stance the ground pushes forward, and the calf has to hold the heel up."""
    ankle, pelvis = g.places_m("talus_r", "pelvis")
    late = loaded & (ankle[:, 0] < pelvis[:, 0] - 0.1)
    if not late.any():
        raise ConventionError(
            f"{g.angles.file}: the loaded right foot is never behind the pelvis: is x forward in "
            "'pelvis_tx' and the hip's sign the model's? turn the ground's frame round"
        )
    force_n, moment_nm = g.force_n(g.right)[late], g.moments["ankle_angle_r_moment"][late]
    if force_n[:, 0].mean() <= 0:
        raise ConventionError(
            f"{g.forces.file}, column '{g.right}_vx': {force_n[:, 0].mean():.0f} N on average at "
            "push-off, expected was > 0 (x forward, force on the foot): turn its sign"
        )
    arm_mm = soleus_arm_mm(g, soleus, late)
    lever_m = float(np.sign(arm_mm) * moment_nm.mean() / force_n[:, 1].mean())
    seen = (
        f"{g.moments.file}, column 'ankle_angle_r_moment': {moment_nm.mean():.1f} N m on average "
        f"at push-off under {force_n[:, 1].mean():.0f} N, {soleus} has {arm_mm:.0f} mm"
    )
    if lever_m < -LEVER_M[0]:
        raise ConventionError(
            f"{seen}: {soleus} would have to push: wrong sign convention? turn the moment's sign "
            "(dorsiflexion is the model's positive direction where soleus' arm is negative)"
        )
    if not LEVER_M[0] < lever_m < LEVER_M[1]:
        raise ConventionError(
            f"{seen}: a lever of {lever_m:.3f} m, expected was {LEVER_M[0]} to {LEVER_M[1]}: the "
            "other foot's moment, or another unit than N m? name the right foot's column in N m"
        )


def soleus_arm_mm(g: Gait, soleus: str, where: NDArray[np.bool_]) -> float:
    """Moment arm about the right ankle at its mean angle there."""
    angle: F64 = g.angles["ankle_angle_r"][where].mean(keepdims=True)
    still = Motion(angle, np.zeros(1))
    return float(along(g.model, [soleus], {"ankle_angle_r": still}, "ankle_angle_r").arm_mm[0, 0])
