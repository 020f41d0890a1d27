"""What a recording would have put before a network: inputs to calibrate and compare with."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.recorded import estimates_of
from edge.bundle import Bundle
from edge.estimate import Estimator, Sources
from edge.joint import joint_of
from edge.runtime import Engine, open_engine
from export.streams import Stream
from firmware_bridge.recording import Recording, open_recording
from models.spec import ModelSpec

MOST_BYTES = 1 << 32  # of a file of inputs


class InputsError(ValueError):
    """A file whose inputs cannot be used; the message names the remedy."""


class Tap:
    """An engine that keeps what goes into another; see ``edge.runtime.Engine``."""

    def __init__(self, engine: Engine, spec: ModelSpec):
        self.name, self.inputs, self.outputs = engine.name, engine.inputs, engine.outputs
        self._engine, self._names = engine, [i.name for i in spec.inputs]
        self._seen: dict[str, list[NDArray[Any]]] = {n: [] for n in self._names}

    def warm_up(self) -> float:
        """Of the engine itself; not kept."""
        return self._engine.warm_up()

    def run(self) -> None:
        """Keep the inputs, then run."""
        for name in self._names:
            self._seen[name].append(self.inputs[name].copy())
        self._engine.run()

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def stream(self, name: str) -> Stream:
        """All that went in.  Raises InputsError: nothing did."""
        if not all(self._seen.values()):
            raise InputsError(f"{name} gives the network nothing to read: record its sensors")
        return Stream(name, {k: np.stack(v).astype(np.float32) for k, v in self._seen.items()})


def stream_of(path: Path, bundle: Bundle) -> Stream:
    """Inputs of the bundle's network in a recording (``.mcap``), prepared as the daemon does; or
    from an ``.npz`` of arrays ``(n, *shape)`` under the names of the inputs.

    Raises InputsError, RecordingError, SpecError, EngineError.
    """
    if path.suffix == ".npz":
        return _from_arrays(path, bundle.spec)
    recording = open_recording(path)
    tap = Tap(open_engine(bundle), bundle.spec)
    if bundle.spec.driver == "tick":
        _tick_by_tick(recording, bundle, tap)
    else:
        estimates_of(recording, bundle, tap)
    return tap.stream(path.stem)


def _tick_by_tick(recording: Recording, bundle: Bundle, tap: Tap) -> None:
    """Joint angle and load as each tick had them."""
    estimator = Estimator(bundle, Sources(angle=True, load=True), tap)
    try:
        for row in recording.joint():
            estimator.update(None, (), (), joint_of(row))
    finally:
        estimator.close()
    if estimator.infer_start_ns == 0 and not len(recording.joint()):
        raise InputsError(
            f"{recording.path} has no joint angle or load: record them with the daemon"
        )


def _from_arrays(path: Path, spec: ModelSpec) -> Stream:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputsError(f"{path} is larger than {MOST_BYTES >> 30} GiB: give a part of it")
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {i.name: np.asarray(file[i.name], np.float32) for i in spec.inputs}
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as e:
        names = ", ".join(f"{i.name} (n, {', '.join(map(str, i.shape))})" for i in spec.inputs)
        raise InputsError(f"{path}: {e}: wanted are {names}") from e
    counts = {len(a) if a.ndim else 0 for a in arrays.values()}
    for i in spec.inputs:
        if arrays[i.name].shape[1:] != i.shape or len(counts) > 1 or counts == {0}:
            raise InputsError(
                f"{path}: {i.name} is {arrays[i.name].shape}, wanted is (n, "
                f"{', '.join(map(str, i.shape))}) with the same n for every input"
            )
    for name, a in arrays.items():
        bad = np.flatnonzero(~np.isfinite(a.reshape(len(a), -1)).all(1))
        if len(bad):
            raise InputsError(f"{path}: {name} is not finite at step {bad[0]}: leave it out")
    return Stream(path.stem, arrays)
