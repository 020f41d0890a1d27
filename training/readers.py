"""The recordings as numpy arrays in our units; each reader takes a name that its list gives.

Files come from ``training.datasets.locate``, so every reader may raise DataMissing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.datasets import data_set, locate

MG, TA, KNEE, GAIT = (
    "us_mg_dynamometer",
    "emg_torque_fascicle_ta",
    "leg_emg_knee_angle",
    "gait_emg_raw_13ch",
)

# The screen grab of us_mg_dynamometer: where the B-mode image is, and its scale (both directions).
MG_CROP = (215, 45, 720, 574)  # x, y, width, height in video pixels
MG_PX_MM = 0.0883
MG_FPS = 61.0

TA_CHANNELS = ("tibialis anterior",)
KNEE_CHANNELS = ("rectus femoris", "biceps femoris", "vastus medialis", "semitendinosus")
# gluteus medius and maximus, tensor fasciae latae, rectus femoris, vastus medialis and lateralis,
# semitendinosus, biceps femoris, tibialis anterior, peroneus longus, gastrocnemius medialis and
# lateralis, soleus
GAIT_CHANNELS = ("ME", "MA", "FL", "RF", "VM", "VL", "ST", "BF", "TA", "PL", "GM", "GL", "SO")


@dataclass(frozen=True)
class MgClip:
    """A push of the calf against the dynamometer; arrays hold one value per video frame (n,).

    Positive torque and velocity point to plantarflexion; negative angles are dorsiflexed.  The
    torque is what the dynamometer shows, not corrected for gravity or inertia.
    """

    name: str
    condition: str
    video: Path
    time_s: NDArray[np.float64]
    angle_deg: NDArray[np.float64]
    velocity_deg_s: NDArray[np.float64]
    torque_nm: NDArray[np.float64]

    def frames(self) -> NDArray[np.uint8]:
        """Decode the B-mode image of every frame: (n, 574, 720) uint8, rows along depth.

        Skin at row 0, MG_PX_MM a pixel.  0.4 MB a frame: the longest clip takes 160 MB.
        """
        frames = np.stack(list(video_frames(self.video)))
        if len(frames) != len(self.time_s):
            raise ValueError(f"{self.video}: {len(frames)} frames, {len(self.time_s)} labels")
        return frames


@dataclass(frozen=True)
class TaTrial:
    """17 s of tibialis anterior on the dynamometer, signals at ``fs_hz`` on one time axis."""

    name: str
    fs_hz: float
    emg_uv: NDArray[np.float32]  # (n, 1); the gain is not documented: 1 V at the output is 1000
    torque_nm: NDArray[np.float64]  # (n,) dorsiflexion positive, passive torque not removed
    angle_deg: NDArray[np.float64]  # (n,) on the dynamometer's own scale, plantarflexion positive
    us_t_s: NDArray[np.float64]  # (m,) from the first sample on; m = 0 without ultrasound
    fascicle_mm: NDArray[np.float64]  # (m, 2) superficial and deep compartment, tracked
    pennation_deg: NDArray[np.float64]  # (m, 2) fascicle to the horizontal


@dataclass(frozen=True)
class KneeRecording:
    """Thigh EMG with the goniometer of the knee."""

    name: str
    subject: int
    task: str  # gait, sitting or standing
    fs_hz: float
    emg_uv: NDArray[np.float32]  # (n, 4) raw, as in KNEE_CHANNELS
    angle_deg: NDArray[np.float64]  # (n,) flexion positive; its zero differs between people


@dataclass(frozen=True)
class GaitEmg:
    """Raw EMG of the right leg on a treadmill, a few strides."""

    fs_hz: float
    emg_uv: NDArray[
        np.float32
    ]  # (n, 13) as in GAIT_CHANNELS; the source states no unit, sizes fit microvolts
    touchdown_s: NDArray[np.float64]  # (k,) of the same foot, from the first sample on
    liftoff_s: NDArray[np.float64]  # (k,)


def mg_clips() -> dict[str, str]:
    """The clips: name to condition (``isokinetic030`` … ``isometric_max``, ``passive_ROM``)."""
    return {name: name[len("p6_") : -len("_01_push_01")] for name in _names(MG, "signals/", ".npz")}


def mg_clip(name: str) -> MgClip:
    """The signals of one clip at its video frames; the pixels are decoded by ``frames()``."""
    with np.load(locate(MG, f"signals/{name}.npz"), allow_pickle=False) as signals:
        at = signals["frame_sample"]
        return MgClip(
            name=name,
            condition=mg_clips()[name],
            video=locate(MG, f"video/{name}.mp4"),
            time_s=signals["time"][at],
            angle_deg=signals["angle_deg"][at],
            velocity_deg_s=signals["velocity_deg_s"][at],
            torque_nm=signals["torque_nm"][at],
        )


def video_frames(
    video: Path, crop: tuple[int, int, int, int] = MG_CROP
) -> Iterator[NDArray[np.uint8]]:
    """Grey images (height, width) uint8 of the box ``crop`` = x, y, width, height, each fresh."""
    import cv2

    x, y, width, height = crop
    capture = cv2.VideoCapture(str(video))
    if not capture.isOpened():
        raise ValueError(f"{video}: OpenCV cannot read this video")
    try:
        while True:
            ok, bgr = capture.read()
            if not ok:
                return
            yield cv2.cvtColor(bgr[y : y + height, x : x + width], cv2.COLOR_BGR2GRAY)
    finally:
        capture.release()


def ta_trials() -> tuple[str, ...]:
    """The trials: ``PL_<level>_<k>`` stretched, ``Ref_Long_<k>`` fixed end, ``Pas_*`` relaxed."""
    return _names(TA, "signals/", ".mat")


def ta_trial(name: str) -> TaTrial:
    """One trial; ``Pas_*`` have no ultrasound."""
    import h5py

    with h5py.File(locate(TA, f"signals/{name}.mat")) as f:
        interval_s, start_s = (float(f[f"EMG_TA/{k}"][()].item()) for k in ("interval", "start"))
        emg_v = f["EMG_TA/values"][0]
        torque_nm, angle_deg = f["Torque/values"][0], f["Angle/values"][0]
        times = f["US/times"]
        has_us = not times.attrs.get("MATLAB_empty", 0)  # then it would hold its own shape
        us_t_s = times[()].ravel() - start_s if has_us else np.empty(0)
    fascicle_mm, pennation_deg = _fascicles(name) if has_us else (np.empty((0, 2)),) * 2
    return TaTrial(
        name=name,
        fs_hz=1 / interval_s,
        emg_uv=(1000 * emg_v[:, None]).astype(np.float32),
        torque_nm=torque_nm,
        angle_deg=angle_deg,
        us_t_s=us_t_s,
        fascicle_mm=fascicle_mm,
        pennation_deg=pennation_deg,
    )


def knee_recordings() -> tuple[str, ...]:
    """The recordings: ``N<subject>_<task>``."""
    return _names(KNEE, "N", ".csv.gz", keep=True)


def knee_recording(name: str) -> KneeRecording:
    """One recording; where the goniometer was worn the other way round its sign is turned."""
    table = _table(locate(KNEE, f"{name}.csv"))
    angle_deg = table[:, 4]
    subject, task = name[1:].split("_")
    # knees bend one way: the side on which the angle reaches further is flexion
    mounted = -1.0 if -angle_deg.min() > angle_deg.max() else 1.0
    return KneeRecording(
        name=name,
        subject=int(subject),
        task=task,
        fs_hz=1000.0,
        emg_uv=(1000 * table[:, :4]).astype(np.float32),  # mV in the file
        angle_deg=mounted * angle_deg,
    )


def gait_emg() -> GaitEmg:
    """The one recording of 13 leg muscles."""
    table = _table(locate(GAIT, "emg.csv"))
    cycles = _table(locate(GAIT, "gait_cycles.csv")) - table[0, 0]
    return GaitEmg(1000.0, table[:, 1:].astype(np.float32), cycles[:, 0], cycles[:, 1])


def _names(name: str, prefix: str, suffix: str, keep: bool = False) -> tuple[str, ...]:
    """File names of a set between ``prefix`` and ``suffix``, from the registry."""
    paths = (f.path for f in data_set(name).files)
    cut = 0 if keep else len(prefix)
    return tuple(
        p[cut : -len(suffix)] for p in paths if p.startswith(prefix) and p.endswith(suffix)
    )


def _fascicles(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Length (mm) and angle (deg) of both compartments, each (m, 2)."""
    from scipy.io import loadmat

    path = locate(TA, f"fascicles/{name}.mat")
    regions = loadmat(path, squeeze_me=True, struct_as_record=False)["Fdat"].Region
    length_mm = np.stack([r.FL for r in regions], axis=1)
    return length_mm, np.degrees(np.stack([r.PEN for r in regions], axis=1))


def _table(path: Path) -> NDArray[np.float64]:
    """A CSV file with one line of names, plain or gzip-ed."""
    return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
