"""A simulated movement as an encoder would send it, in a file that ``sonomyo listen`` plays."""

from pathlib import Path

import numpy as np

from training.virtual_arm import trials_of
from training.virtual_measure import ANGLE_NOISE_DEG
from training.virtual_people import RATE_HZ, TUNED_ON

LOAD_KG, TEMPO_S = 2.0, 1.2
SENT_HZ = 500.0  # the daemon takes the newest: the faster an encoder, the more even its age


def write_trial(path: Path) -> str:
    """Write ``angle`` (deg) and ``moment`` (N m, inverse dynamics), ``(n,)`` each, at ``rate_hz``.

    A trial there and back, so that it can be repeated without a jump.  Returns what it is and how
    to play it.
    """
    (trial,) = (t for t in trials_of(TUNED_ON) if (t.load_kg, t.tempo_s) == (LOAD_KG, TEMPO_S))
    turns = np.flatnonzero(np.diff(np.sign(trial.speed_rad_s)))
    end = int(turns[-1]) + 1  # where it last stood still
    at_s = np.arange(0, end / RATE_HZ, 1 / SENT_HZ)

    def there_and_back(x: np.ndarray) -> np.ndarray:
        once = np.interp(at_s, np.arange(end + 1) / RATE_HZ, x[: end + 1])
        return np.concatenate([once, once[::-1]])

    angle = there_and_back(np.rad2deg(trial.angle_rad))
    angle += ANGLE_NOISE_DEG * np.random.default_rng(0).standard_normal(len(angle))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, angle=angle, moment=there_and_back(trial.moment_nm), rate_hz=SENT_HZ)
    return (
        f"{path}: {trial.person} moves {LOAD_KG:g} kg for {len(angle) / SENT_HZ:.0f} s. Play it:"
        f" sonomyo listen pty:/tmp/rehab --encoder {path}:angle --load {LOAD_KG:g}"
    )
