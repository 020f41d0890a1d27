"""A person's LFADS as a bundle for the device, judged on EMG that its twin was not taught."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from models.lfads import Lfads
from models.streaming import LAGS
from training.activation_bundle import LINEAR, describe, judged, write_twin, write_window
from training.card import Facts
from training.distil import aligned, follow
from training.lfads_config import LfadsRun
from training.lfads_person import Person
from training.lfads_streams import FIRST_HALF, lessons, slide, teach

F64 = NDArray[np.float64]


def write_device(
    folder: Path,
    net: Lfads,
    person: Person,
    run: LfadsRun,
    name: str = "",
    held: Person | None = None,
    about: Mapping[str, str] | None = None,
) -> Bundle:
    """Teach and export what ``run.device`` asks for; the bundle, with its card.

    It is judged on ``held``, recordings that taught nothing (scaled as ``person``); without them on
    the second half of every recording, by a twin that the first half taught.  ``about`` replaces
    texts of the card.  Raises ValueError for recordings too short to teach by, and ExportError.
    """
    device, name = run.device, name or f"{person.name}-activation"
    taught = lessons(net, person, run.windows)
    top = float(np.nanmax([np.nanmax(one.teacher) for one in taught]))
    judge, shown = held or person, lessons(net, held, run.windows) if held else taught
    if device.kind == "twin":
        twin = teach(taught, person, run.twin)
        bundle = write_twin(folder, twin, person, device, top, name)
        student = twin if held else teach(taught, person, run.twin, FIRST_HALF)
        which = LAGS.index(device.lag)
        said = [aligned(follow(student, one.bins), which) for one in shown]
        said = said if held else list(map(_second_half, said))
        split = "A twin taught by the first half of every recording alone, on the second half."
    else:
        hop = device.window_hop_bins
        bundle = write_window(folder, net, person, device, top, name)
        said = [slide(net, person, one.bins, device.lag, hop) for one in shown]
        split = "The network has seen all of these recordings; what it lacks here is the future."
    facts = Facts(
        title=f"{name}: muscle activation, {device.lag_ms:g} ms late",
        purpose="What LFADS would say of each muscle in hindsight, said in time: 1 is the 95th "
        "percentile of the muscle's rectified EMG in training.",
        limits="One wearer, one placement of electrodes, and the movements that were recorded: of "
        "others it knows nothing, and does not say so.",
        data=_data(person),
        split=split,
        training=f"LFADS: generator of {run.model.gen} units, {run.model.factors} factors, at most "
        f"{run.fit.epochs} epochs of {run.fit.batches} batches of {run.fit.batch} windows.",
        baseline=LINEAR,
        licence="That of the recordings.",
        command=f"sonomyo train lfads --data {run.data.set}",
    )
    scored = judged(judge, said, [one.teacher for one in shown])
    return describe(bundle, replace(facts, **(about or {})), *scored)


def _second_half(said: F64) -> F64:
    """The first half is not judged."""
    out = said.copy()
    out[: len(said) // 2] = np.nan
    return out


def _data(person: Person) -> str:
    seconds = sum(len(r.emg_uv) / r.fs_hz for r in person.recordings)
    simulated = ", SIMULATED" if person.recordings[0].simulated else ""
    return (
        f"{len(person.recordings)} recordings of {person.name}{simulated}, {seconds:.0f} s: "
        f"{', '.join(person.channels)}."
    )
