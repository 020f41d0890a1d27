"""TensorRT engines on disk: each with a sidecar that says what it was built from, for and with.

``<folder>/<model>-<precision>-<onnx>-<gpu>-cc<n>-trt<n>-cuda<n>.json``, and the engine it names.
An engine is for one GPU and one version of TensorRT; it is used with the driver that it was
compared on.  The sidecar is written last, in one piece: what it does not name is not an engine.
"""

import dataclasses
import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.bundle import Bundle
from edge.bundle_index import Network

log = logging.getLogger(__name__)

FORMAT = 1


class EngineFileError(RuntimeError):
    """An engine's files that cannot be used; the message says what is wrong with them."""


@dataclass(frozen=True)
class Machine:
    """What an engine depends on besides its network."""

    gpu: str  # as the driver names it
    compute_capability: str
    tensorrt: str
    driver: str  # the version of CUDA that it is for

    @property
    def slug(self) -> str:
        """For a file name."""
        return _plain(
            f"{self.gpu.lower()}-cc{self.compute_capability}-trt{self.tensorrt}-cuda{self.driver}"
        )

    def __str__(self) -> str:
        return (
            f"{self.gpu} (compute capability {self.compute_capability}), TensorRT {self.tensorrt}, "
            f"driver for CUDA {self.driver}"
        )


@dataclass(frozen=True)
class EngineFile:
    """A sidecar."""

    model: str
    bundle: str  # the id of the bundle that it was built for
    precision: str
    onnx_sha256: str
    machine: Machine
    engine: str  # file name, beside the sidecar
    engine_sha256: str
    built: str  # UTC
    seconds: float
    options: dict[str, Any] = field(default_factory=dict)
    compared: dict[str, Any] = field(default_factory=dict)
    layers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def stem(self) -> str:
        """The sidecar's name but for ``.json``; a plain file name, whatever a bundle is called."""
        return _plain(
            f"{self.model[:60]}-{self.precision}-{self.onnx_sha256[:12]}-{self.machine.slug}"
        )


def engines_of(folder: Path, onnx_sha256: str) -> list[EngineFile]:
    """Every engine in ``folder`` that was built from this very network, for whatever machine."""
    found = []
    for path in sorted(folder.glob(f"*-{onnx_sha256[:12]}-*.json")):
        try:
            one = _read(path)
        except (OSError, ValueError, TypeError, KeyError) as e:
            log.warning("%s is not an engine's sidecar (%s): build the engine again", path, e)
            continue
        if one.onnx_sha256 == onnx_sha256:
            found.append(one)
    return found


def read_engine(folder: Path, one: EngineFile) -> bytes:
    """The engine itself.  Raises EngineFileError where it is not what its sidecar says."""
    if Path(one.engine).name != one.engine:
        raise EngineFileError(f"{one.stem}.json names {one.engine!r}, outside its folder")
    try:
        plan = (folder / one.engine).read_bytes()
    except OSError as e:
        raise EngineFileError(f"{folder / one.engine}: {e.strerror}") from e
    if hashlib.sha256(plan).hexdigest() != one.engine_sha256:
        raise EngineFileError(f"{folder / one.engine} is not the file that was built")
    return plan


def install(folder: Path, one: EngineFile, plan: bytes) -> Path:
    """Put an engine in its place, then remove those it replaces; the sidecar.  Raises OSError.

    A crash at any moment leaves the old engine or the new one.  Replaced is every engine of the
    same network for the same GPU: one of another TensorRT is not going to be used again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    old = [e for e in engines_of(folder, one.onnx_sha256) if e.machine.gpu == one.machine.gpu]
    sidecar = folder / f"{one.stem}.json"
    write_whole(folder / one.engine, plan)
    write_whole(
        sidecar, json.dumps(dataclasses.asdict(one) | {"format": FORMAT}, indent=1).encode()
    )
    for e in old:
        if e.engine != one.engine and Path(e.engine).name == e.engine:
            (folder / e.engine).unlink(missing_ok=True)
        if e.stem != one.stem:
            for suffix in (".json", ".log"):
                (folder / f"{e.stem}{suffix}").unlink(missing_ok=True)
    return sidecar


def network_hash(bundle: Bundle, network: Network) -> str:
    """What names a network here: the SHA-256 of its ONNX file."""
    return hashlib.sha256(bundle.files[network.file]).hexdigest()


def _read(path: Path) -> EngineFile:
    raw = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(raw, dict) or raw.pop("format", None) != FORMAT:
        raise ValueError(f"format {FORMAT} expected")
    return EngineFile(**{**raw, "machine": Machine(**raw["machine"])})


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one.  Raises OSError."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
