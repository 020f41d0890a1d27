"""Recorded inputs of the shipped networks: to calibrate fewer bits with, to judge them, to report.

What a network was trained on calibrates and judges; what it never saw is for the report alone.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from export.streams import Stream

F32 = NDArray[np.float32]
Part = Literal["learn", "judge", "unseen"]

TAUGHT = ("elbow-nmm",)  # there is nothing of its person that it has not seen
WEARERS = ("AGR003", "simulated", "tecchio-ta")  # whose recordings the shipped models are of
FRAMES = 24  # pictures of a clip or person, evenly: neighbours are nearly the same
# Simulated people whom no network has met: the cohort and those before it have smaller numbers.
PEOPLE = {"learn": range(9000, 9004), "judge": range(9004, 9006), "unseen": range(9006, 9010)}
LEGS = {"learn": (1, 2, 3, 4), "judge": (5, 6), "unseen": (1, 7)}  # of sim-state; 7 is new


def shipped_streams(bundle: Bundle, part: Part) -> list[Stream]:
    """Of the network that ships under the bundle's name.

    Raises DataMissing without its recordings, KeyError for another network.
    """
    return MAKERS[bundle.spec.name](bundle, part)


def _mg(bundle: Bundle, part: Part) -> list[Stream]:
    from training.frames import mg_frames
    from training.splits import MG_EVAL, MG_TRAIN

    names = {"learn": MG_TRAIN[::2], "judge": MG_TRAIN[1::2], "unseen": MG_EVAL}[part]
    clips = mg_frames(names, bundle.spec.inputs[0])
    found = []
    for k, name in enumerate(clips.names):
        rows = np.flatnonzero(clips.clip == k)
        if part != "unseen":
            rows = rows[:: max(1, len(rows) // FRAMES)]
        truth = clips.targets[rows] if len(bundle.spec.outputs) == clips.targets.shape[1] else None
        found.append(Stream(name, {"image": clips.images[rows][:, None]}, truth))
    return found


def _simulated_leg(bundle: Bundle, part: Part) -> list[Stream]:
    from training.frames import simulated_frames

    span = (0.0, 60.0) if part == "unseen" else (60.0, 500.0)
    clips = simulated_frames(bundle.spec.inputs[0], LEGS[part], FRAMES, *span)
    return [
        Stream(
            name, {"image": clips.images[clips.clip == k][:, None]}, clips.targets[clips.clip == k]
        )
        for k, name in enumerate(clips.names)
    ]


def _people(bundle: Bundle, part: Part) -> list[Stream]:
    from training.cohort.dataset import cohort
    from training.state_data import MEAN, STD

    people = cohort(PEOPLE[part], FRAMES, workers=1)
    images = (people.images.astype(np.float32) - MEAN) / STD
    truth = people.targets
    return [
        Stream(
            f"simulated person {n}", {"image": images[people.person == n][:, None, None]},
            truth[people.person == n] if bundle.spec.outputs else None,
        )
        for n in PEOPLE[part]
    ]  # fmt: skip


def _pictures(bundle: Bundle, part: Part) -> list[Stream]:
    return [*_people(bundle, part), *_mg(bundle, part)]


def _ta_emg(bundle: Bundle, part: Part) -> list[Stream]:
    from training.emg_steps import ta_steps

    return [
        Stream(t.name, {bundle.spec.inputs[0].name: t.features[:, None]}, t.targets)
        for t in ta_steps(_ta(part), bundle.spec.inputs[0])
    ]


def _ta_activation(bundle: Bundle, part: Part) -> list[Stream]:
    from training.emg_steps import emg_features
    from training.readers import TA_CHANNELS, ta_trial

    inp = bundle.spec.inputs[0]
    return [
        Stream(name, {inp.name: emg_features(ta_trial(name).emg_uv, TA_CHANNELS, inp)[:, None]})
        for name in _ta(part)
    ]


def _ta(part: Part) -> tuple[str, ...]:
    from training.splits import TA_EVAL, TA_TRAIN

    return {"learn": TA_TRAIN[::2], "judge": TA_TRAIN[1::2], "unseen": TA_EVAL}[part]


def _elbow(bundle: Bundle, part: Part) -> list[Stream]:
    from training.nmm_asked import truth
    from training.virtual_arm import trials_of
    from training.virtual_measure import measure
    from training.virtual_people import TUNED_ON

    found = []
    every = trials_of(TUNED_ON)
    for trial in {"learn": every[::3], "judge": every[1::3], "unseen": every[2::3]}[part]:
        m = measure(trial)
        angle = np.rad2deg(m.raw_angle_rad).astype(np.float32)[:, None, None]
        rows = {"angle": angle, "load": np.full_like(angle, m.load_kg)}
        name = f"{trial.load_kg:g} kg, {trial.tempo_s:g} s"
        found.append(Stream(name, rows, truth(trial, m).astype(np.float32)))
    return found


MAKERS: dict[str, Callable[[Bundle, Part], list[Stream]]] = {
    "mg-state": _mg,
    "sim-state": _simulated_leg,
    "calf-state": _people,
    "calf-segmenter": _pictures,
    "ta-emg": _ta_emg,
    "ta-activation": _ta_activation,
    "elbow-nmm": _elbow,
}


def steps(streams: Sequence[Stream]) -> int:
    """How many there are in all."""
    return sum(len(s) for s in streams)
