"""A muscle of a real leg, hidden and predicted: what ``bench/nmm`` keeps of walking and running.

Trained on the first part of each recording, scored on the rest.  NMM reads motion, ground force and
moment; the others read the other muscles' EMG of the scored time as well.  Settings were chosen
within the training part, the weights because a real ankle's moment is less well explained than a
simulated elbow's even where every muscle is measured.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.nmm import NmmConfig
from training.fit_nmm import Joint, fit, read_trial
from training.gait import MUSCLES, ankle, hidden, recordings
from training.joint_data import JointTrial
from training.nmm_config import NmmLoss, NmmRun
from training.nmm_study import SYNERGIES, correlation, moment_score
from training.static_optimisation import best_shift, copied, earlier, static_optimisation
from training.synergy import Method, extrapolate
from training.trial_views import time_split

F64 = NDArray[np.float64]
Json = dict[str, Any]

MUSCLE = "soleus_r"
RUN = NmmRun(
    network=NmmConfig(inputs=9, muscles=len(MUSCLES), dropout=0.2),
    loss=NmmLoss(moment=0.3, kin=1.0, effort=0.1),
    epochs=120,
)


def gait_study(run: NmmRun = RUN, within_training: bool = False) -> Json:
    """All methods on hidden soleus: r and NRMSE of each recording and of both together.

    ``within_training`` splits the training part once more and never looks at the rest: for
    choosing settings.  Raises DataMissing and ConventionError.
    """
    split = {name: time_split(stretches) for name, stretches in recordings().items()}
    if within_training:
        split = {name: time_split(first) for name, (first, _) in split.items()}
    joint = ankle(MUSCLE)
    train = [hidden(t, MUSCLE) for first, _ in split.values() for t in first]
    window = run.network.window
    test = {
        name: [hidden(t, MUSCLE) for t in rest if len(t.angle_rad) >= window]
        for name, (_, rest) in split.items()
    }
    fitted = fit(train, joint, run)
    read = {name: [read_trial(fitted, t) for t in ts] for name, ts in test.items()}
    out: Json = {"nmm": score({n: [r[0] for r in rs] for n, rs in read.items()}, test)}
    out["seconds"] = fitted.seconds
    out["torque"] = {
        name: moment_score([r[1] for r in read[name]], ts) for name, ts in test.items()
    }
    return out | baselines(train, test, joint)


def baselines(
    train: Sequence[JointTrial], test: Mapping[str, Sequence[JointTrial]], joint: Joint
) -> Json:
    """Synergies, static optimisation with the person they found, and copies of neighbours."""
    out: Json = {}
    for allowed, label in SYNERGIES.items():
        methods: tuple[Method, ...] = ("nmf", "pca")
        for method in methods:
            began = time.monotonic()
            found = extrapolate(train, joint.muscle, joint.names, method, allowed_activity=allowed)
            scored = score({n: [found(t) for t in ts] for n, ts in test.items()}, test)
            scored["seconds"] = time.monotonic() - began
            out[f"{method}{label}"] = scored
    values = found.person.values

    def static(t: JointTrial) -> F64:
        return static_optimisation(t, joint.muscle, values)[0]

    shift = best_shift(train, [static(t) for t in train])
    said = {n: [earlier(static(t), shift) for t in ts] for n, ts in test.items()}
    out["static"] = score(said, test)
    copies = {n: [copied(t, joint.names, joint.neighbours) for t in ts] for n, ts in test.items()}
    out["copy"] = score(copies, test)
    return out


def score(said: Mapping[str, Sequence[F64]], test: Mapping[str, Sequence[JointTrial]]) -> Json:
    """``r`` and ``nrmse`` (over the truth's range) by recording, and of both together."""
    column = MUSCLES.index(MUSCLE)
    got = {n: np.concatenate([s[:, column] for s in said[n]]) for n in test}
    true = {n: np.concatenate([t.truth[:, column] for t in test[n]]) for n in test}
    got["together"] = np.concatenate(list(got.values()))
    true["together"] = np.concatenate(list(true.values()))
    return {
        n: {
            "r": correlation(got[n], true[n]),
            "nrmse": round(float(np.sqrt(np.mean((got[n] - true[n]) ** 2)) / np.ptp(true[n])), 4),
        }
        for n in got
    }


def main() -> None:
    """Scores within the training part: ``python -m training.gait_study``."""
    torch.set_num_threads(1)
    for name, found in gait_study(within_training=True).items():
        print(name, found)


if __name__ == "__main__":
    main()
