"""Figures of ``bench.nmm``."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from training.virtual_measure import measured_of
from training.virtual_people import DEEP, MUSCLES, TUNED_ON

OUT = Path("out")


def draw_methods(nrmse: Mapping[str, Mapping[str, float]], titles: Mapping[str, str]) -> Path:
    """NRMSE of both deep muscles by method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
    at = np.arange(len(nrmse))
    for k, muscle in enumerate(DEEP):
        values = [by[muscle] for by in nrmse.values()]
        ax.barh(at + 0.2 - 0.4 * k, values, 0.38, label=muscle)
    ax.set_yticks(at, [titles[m] for m in nrmse])
    ax.invert_yaxis()
    ax.set_xlabel("NRMSE of unmeasured envelopes, SIMULATED people")
    ax.legend()
    return _saved(fig, "nmm_methods.png")


def draw_deep(name: str = TUNED_ON, load_kg: float = 4.0) -> Path:
    """What a simulated trial is: angle, moment, surface envelopes and the deep truth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    trial = next(t for t in measured_of(name) if t.load_kg == load_kg)
    at_s = np.arange(len(trial.angle_rad)) / 100
    fig, axes = plt.subplots(4, 1, figsize=(9, 7), sharex=True, layout="constrained")
    axes[0].plot(at_s, np.rad2deg(trial.angle_rad), "k")
    axes[0].set_ylabel("elbow, deg")
    axes[1].plot(at_s, trial.moment_nm, "k")
    axes[1].set_ylabel("moment, N m")
    for side, group in enumerate((("BIClong", "BICshort", "BRA"), ("TRIlong", "TRIlat", "TRImed"))):
        for muscle in group:
            i = MUSCLES.index(muscle)
            deep = muscle in DEEP
            what = trial.truth[:, i] if deep else trial.envelope[:, i]
            label = f"{muscle}, {'truth nobody measures' if deep else 'surface EMG'}"
            axes[2 + side].plot(at_s, what, lw=2 if deep else 0.8, label=label)
        axes[2 + side].set_ylabel("envelope")
        axes[2 + side].legend(loc="upper right", fontsize=7)
    axes[0].set_title(f"SIMULATED in OpenSim: {name}, {load_kg:g} kg in the hand")
    axes[3].set_xlabel("s")
    return _saved(fig, "nmm_trial.png")


def _saved(fig: object, name: str) -> Path:
    OUT.mkdir(exist_ok=True)
    path = OUT / name
    fig.savefig(path, dpi=130)  # type: ignore[attr-defined]
    return path
