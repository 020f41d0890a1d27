"""What the demo's probe and amplifier play, and what is known to be true while they do."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge import wearer
from firmware_bridge.address import make
from firmware_bridge.emg.electrodes import Electrodes, Sound
from firmware_bridge.emg.playback import write_playback
from firmware_bridge.probes.calf import bmode_geometry, make_calf, render
from training.demo_data import DemoData, prepare_demo
from training.frames import LINES, SAMPLES

F64 = NDArray[np.float64]

SIM_SECONDS = 16.0
SIM_FPS = 61.0
SIM_EMG_HZ = 2000.0
SIM_CHANNELS = ("MG", "TA")
SEED = 1  # a leg the simulated model knows, at moments it was not trained on


@dataclass(frozen=True)
class Sources:
    """Device addresses, bundles, and the truth of each output by its name.

    ``truth[name] = (clock, values)``: one value per frame of the loop (clock ``us_seq``) or per
    EMG sample (``emg_seq``).
    """

    note: str
    attribution: str
    probe: str
    emg: str
    models: tuple[str, ...]
    fps: float
    truth: dict[str, tuple[str, F64]]


def open_sources(folder: Path, simulated: bool = False) -> Sources:
    """Real recordings where there are any, else a simulated wearer; files go to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    if simulated:
        return _simulated(folder, "SIMULATED wearer, as asked: no recordings of people")
    data = prepare_demo(folder)
    return _simulated(folder, data.note) if data.kind == "simulated" else _real(data)


def _real(data: DemoData) -> Sources:
    video, emg = data.video, data.emg
    assert video is not None
    assert emg is not None
    probe = make(
        "usb",
        "sim",
        {
            "video": ",".join(str(f) for f in video.files),
            "crop": ",".join(str(n) for n in video.crop),
            "px_mm": video.px_mm,
            "lines": LINES,
            "samples": SAMPLES,
            "fps": video.fps,
            "loop": "on",
        },
    )
    return Sources(
        note=data.note,
        attribution=data.attribution,
        probe=probe,
        emg=emg.playback.address(),
        models=("mg-state", "ta-emg", "ta-activation"),
        fps=video.fps,
        truth={
            "mg-state.ankle_angle": ("us_seq", video.angle_deg),
            "mg-state.ankle_torque": ("us_seq", video.torque_nm),
            "ta-emg.dorsiflexion_torque": ("emg_seq", emg.torque_nm),
        },
    )


def _simulated(folder: Path, note: str) -> Sources:
    """The same path without recordings: images and EMG of one simulated calf, and its truth."""
    geometry = bmode_geometry(LINES, SAMPLES)
    calf = make_calf(geometry, SEED)
    truth = wearer.truth(np.arange(int(SIM_SECONDS * SIM_FPS)) / SIM_FPS, SEED)
    frames = np.stack(
        [
            render(calf, float(angle), float(force))
            for angle, force in zip(truth.angle_deg, truth.force, strict=True)
        ]
    )
    np.save(folder / "wearer.npy", frames)
    electrodes = Electrodes(SIM_EMG_HZ, SIM_CHANNELS, SEED, Sound())
    emg_uv = electrodes.take(int(SIM_SECONDS * SIM_EMG_HZ))
    playback = write_playback(folder / "wearer.csv", emg_uv, SIM_EMG_HZ, SIM_CHANNELS)
    probe = make(
        "usb",
        "sim",
        {
            "frames": folder / "wearer.npy",
            "dx_mm": geometry.dx_mm,
            "dz_mm": geometry.dz_mm,
            "fps": SIM_FPS,
        },
    )
    return Sources(
        note=note,
        attribution="",
        probe=probe,
        emg=playback.address(),
        models=("sim-state",),
        fps=SIM_FPS,
        truth={
            "ankle_angle": ("us_seq", truth.angle_deg),
            "ankle_torque": ("us_seq", truth.torque_nm),
        },
    )
