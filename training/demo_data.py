"""The recordings the demo plays: held-out clips and trials, from this machine or downloaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emg.playback import Playback, write_playback
from training.datasets import ENV, GITHUB, DataMissing, data_set, find
from training.fetch import FetchError, fetch
from training.readers import (
    MG,
    MG_CROP,
    MG_FPS,
    MG_PX_MM,
    TA,
    TA_CHANNELS,
    mg_clip,
    ta_trial,
)
from training.splits import MG_DEMO, TA_DEMO

MG_PARTS = (("signals", ".npz"), ("video", ".mp4"))


@dataclass(frozen=True)
class DemoVideo:
    """Clips of B-mode video to be played one after the other, and what the dynamometer measured."""

    files: tuple[Path, ...]
    frames: tuple[int, ...]  # of each file
    fps: float
    crop: tuple[int, int, int, int]  # x, y, width, height of the B-mode image in the video
    px_mm: float
    angle_deg: NDArray[np.float64]  # (all frames,) ankle, dorsiflexed negative
    torque_nm: NDArray[np.float64]  # (all frames,) plantarflexion positive


@dataclass(frozen=True)
class DemoEmg:
    """EMG of another muscle of another person, and what the dynamometer measured there."""

    playback: Playback
    torque_nm: NDArray[np.float64]  # (playback.samples,) dorsiflexion positive


@dataclass(frozen=True)
class DemoData:
    """What the demo plays; ``simulated`` has no recordings at all."""

    kind: Literal["real", "simulated"]
    note: str  # for the first line of the demo
    attribution: str = ""
    video: DemoVideo | None = None
    emg: DemoEmg | None = None


def prepare_demo(
    folder: Path, offline: bool = False, timeout_s: float = 8.0, base: str = GITHUB
) -> DemoData:
    """Find the recordings, or download them (10 MB) unless ``offline``, or do without.

    Writes the EMG playback file into ``folder``.  ``timeout_s`` limits connecting and every silence
    of the server, of which the first ends the attempt.
    """
    why = f"{ENV} has none and downloads are switched off"
    if not offline:
        try:
            _download_missing(base, timeout_s)
        except (FetchError, OSError) as e:  # OSError: a cache that cannot be written
            why = f"{ENV} has none and the download failed: {e}"
    try:
        return _real(folder)
    except DataMissing:
        return DemoData("simulated", f"SIMULATED wearer, no recordings of people: {why}")


def _real(folder: Path) -> DemoData:
    clips = [mg_clip(name) for name in MG_DEMO]
    trial = ta_trial(TA_DEMO)
    folder.mkdir(parents=True, exist_ok=True)
    playback = write_playback(folder / f"{TA_DEMO}.csv", trial.emg_uv, trial.fs_hz, TA_CHANNELS)
    return DemoData(
        kind="real",
        note=(
            f"real recordings: {len(clips)} B-mode clips of a calf on a dynamometer ({MG}) and EMG "
            f"of another person's tibialis anterior ({TA}); none was used in training"
        ),
        attribution="\n".join(
            f"{one.name}: {one.licence}. {one.attribution}" for one in map(data_set, (MG, TA))
        ),
        video=DemoVideo(
            files=tuple(c.video for c in clips),
            frames=tuple(len(c.time_s) for c in clips),
            fps=MG_FPS,
            crop=MG_CROP,
            px_mm=MG_PX_MM,
            angle_deg=np.concatenate([c.angle_deg for c in clips]),
            torque_nm=np.concatenate([c.torque_nm for c in clips]),
        ),
        emg=DemoEmg(playback, trial.torque_nm[: playback.samples]),
    )


def _download_missing(base: str, timeout_s: float) -> None:
    clip_files = {f"{part}/{c}{end}" for part, end in MG_PARTS for c in MG_DEMO}
    trial_files = {f"{part}/{TA_DEMO}.mat" for part in ("signals", "fascicles")}
    for name, paths in ((MG, clip_files), (TA, trial_files)):
        one = data_set(name)
        missing = [f for f in one.files if f.path in paths and not find(name, f.path)]
        if missing:
            for _ in fetch(one, missing, base=base, timeout_s=timeout_s):
                pass
