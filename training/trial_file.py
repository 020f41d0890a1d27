"""A simulated movement as an encoder would send it, in a file that ``sonomyo listen`` plays."""

from pathlib import Path

import numpy as np

from training.virtual_arm import trials_of
from training.virtual_measure import ANGLE_NOISE_DEG
from training.virtual_people import RATE_HZ, TUNED_ON

LOAD_KG, TEMPO_S = 2.0, 1.2


def write_trial(path: Path) -> str:
    """Write ``angle`` (deg) and ``moment`` (N m, inverse dynamics), ``(n,)`` each, at ``rate_hz``.

    A trial there and back, so that it can be repeated without a jump.  Returns what it is and how
    to play it.
    """
    (trial,) = (t for t in trials_of(TUNED_ON) if (t.load_kg, t.tempo_s) == (LOAD_KG, TEMPO_S))
    stood_still = int(np.flatnonzero(np.diff(np.sign(trial.speed_rad_s)))[-1])
    angle, moment = (
        np.concatenate([x[:stood_still], x[stood_still:0:-1]])
        for x in (np.rad2deg(trial.angle_rad), trial.moment_nm)
    )
    angle += ANGLE_NOISE_DEG * np.random.default_rng(0).standard_normal(len(angle))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, angle=angle, moment=moment, rate_hz=RATE_HZ)
    return (
        f"{path}: {trial.person} moves {LOAD_KG:g} kg for {len(angle) / RATE_HZ:.0f} s. Play it:"
        f" sonomyo listen pty:/tmp/rehab --encoder {path}:angle --load {LOAD_KG:g}"
    )
