"""Steps on the wrong belt: where inverse dynamics took one foot's force for the other's.

A belt's force is its foot's only while its centre of pressure lies under that foot.  The rule looks
at kinematics, forces and the moment's usual size, never at EMG: force times the distance by which
the centre of pressure misses the foot is a moment, and where it is more than a tenth of what the
ankle makes in a good step, that step's inverse dynamics are not believed.  The other belt counts
as well: what the right foot leaves on the left belt is missing from the right ankle's moment.
"""

import numpy as np
from numpy.typing import NDArray

from training.gait_recording import F64, Gait

UNDER_M = 0.08  # around the line from heel to ball: half a foot's width, the toes ahead of the ball
LOADED_N = 20.0  # below, a centre of pressure is a guess
ALLOWED = 0.1  # of the ankle's moment, its 95th percentile
MARGIN_S = 0.1  # around wrong samples: forces and moments were filtered


def missed_m(g: Gait, side: str, belt: str) -> F64:
    """How far a belt's centre of pressure lies from the foot on ``side`` "r" or "l", ``(n,)``."""
    heel, ball = g.places_m(f"calcn_{side}", f"toes_{side}")
    foot, point = ball - heel, g.point_m(belt) - heel
    share = np.clip((point * foot).sum(1) / (foot**2).sum(1), 0, 1)
    away = np.linalg.norm(point - share[:, None] * foot, axis=1)
    return np.asarray(np.maximum(away - UNDER_M, 0.0))


def wrong(g: Gait, rate_hz: float) -> NDArray[np.bool_]:
    """Samples ``(n,)`` whose right ankle moment is not to be believed."""
    usual_nm = np.percentile(np.abs(g.moments["ankle_angle_r_moment"]), 95)
    bad = np.zeros(len(g.angles["time"]), dtype=bool)
    for side, belt in (("r", g.right), ("l", g.left)):
        up_n = g.force_n(belt)[:, 1]
        error_nm = np.where(up_n > LOADED_N, up_n, 0.0) * missed_m(g, side, belt)
        bad |= error_nm > ALLOWED * usual_nm
    width = 2 * round(MARGIN_S * rate_hz) + 1
    return np.convolve(bad, np.ones(width), mode="same") > 0


def stretches(bad: NDArray[np.bool_], shortest: int, most: int) -> list[tuple[int, int]]:
    """Starts and ends of runs of good samples, at least ``shortest`` long; runs longer than
    ``most`` in equal pieces."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], bad, [True]])))
    found = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if stop - start >= shortest:
            at = np.linspace(start, stop, -(-(stop - start) // most) + 1).round().astype(int)
            found += list(zip(at[:-1].tolist(), at[1:].tolist(), strict=True))
    return found
