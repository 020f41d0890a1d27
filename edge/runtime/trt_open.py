"""Which TensorRT engine belongs to a bundle on this machine; refuses one that does not fit."""

import logging
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from edge.bundle import SHIPPED, Bundle, BundleError
from edge.runtime import Engine, EngineError
from edge.runtime.engine_file import (
    EngineFile,
    EngineFileError,
    Machine,
    engines_of,
    network_hash,
    read_engine,
)
from edge.runtime.gpu import open_gpu
from edge.runtime.settings import Runtime
from edge.runtime.tensorrt_module import import_tensorrt

log = logging.getLogger(__name__)


def was_built(bundle: Bundle, runtime: Runtime) -> bool:
    """Whether somebody built an engine of this very network, for this machine or another."""
    try:
        network = bundle.network("trt", runtime.precision)
    except BundleError:
        return False
    return bool(engines_of(runtime.folder, network_hash(bundle, network)))


def this_machine(wait: str = "spin") -> Machine:
    """What an engine must have been built for to run here.  Raises EngineError."""
    trt = import_tensorrt()
    gpu = open_gpu(wait)
    return Machine(gpu.name, gpu.compute_capability, trt.__version__, gpu.cuda_version)


def open_tensorrt(bundle: Bundle, runtime: Runtime) -> Engine:
    """The engine that was built for this bundle here; with ``runtime.build``, built if need be.

    Raises EngineError with the command that builds it, and BundleError.
    """
    from edge.runtime.trt import TrtEngine

    machine = this_machine(runtime.wait)
    digest = network_hash(bundle, bundle.network("trt", runtime.precision))
    try:
        plan = find_plan(digest, runtime.folder, machine)
    except EngineFileError as e:
        command = build_command(bundle, runtime)
        if not runtime.build:
            raise EngineError(
                f"{bundle.id}: {e}.  Build it here (it takes minutes): {shlex.join(command)}; or "
                'set runtime.build = true, or runtime.engine = "ort"'
            ) from e
        log.warning("%s: %s.  Building it now, which takes minutes", bundle.id, e)
        _build(command)
        try:
            plan = find_plan(digest, runtime.folder, machine)
        except EngineFileError as again:
            raise EngineError(f"{bundle.id}: built, and yet {again}: report this") from again
    return TrtEngine(bundle, plan, runtime)


def find_plan(onnx_sha256: str, folder: Path, machine: Machine) -> bytes:
    """The serialised engine.  Raises EngineFileError: there is none, or it does not fit."""
    found = engines_of(folder, onnx_sha256)
    if not found:
        raise EngineFileError(f"no TensorRT engine was built for it in {folder}")
    for one in found:
        if one.machine == machine:
            return read_engine(folder, one)
    raise EngineFileError(_mismatch(found[-1], machine))


def build_command(bundle: Bundle, runtime: Runtime) -> list[str]:
    """What to type to build the engine that ``runtime`` wants."""
    shipped = bundle.path.parent == SHIPPED
    command = ["sonomyo", "build-engine", bundle.path.name if shipped else str(bundle.path)]
    command += ["--precision", runtime.precision] if runtime.precision else []
    # Always: whoever types it may be another user, with another cache.
    return [*command, "--engines", str(runtime.folder)]


def _mismatch(one: EngineFile, here: Machine) -> str:
    was, now = asdict(one.machine), asdict(here)
    differ = [k for k in was if was[k] != now[k]]
    names = {"gpu": "GPU", "compute_capability": "compute capability", "tensorrt": "TensorRT",
             "driver": "driver for CUDA"}  # fmt: skip
    return "its TensorRT engine was built for another machine: " + ", ".join(
        f"{names[k]} {was[k]}, here {now[k]}" for k in differ
    )


def _build(command: list[str]) -> None:
    """In a process of its own: what the builder takes of memory is free again afterwards."""
    done = subprocess.run([sys.executable, "-m", "edge.cli", *command[1:]], check=False)
    if done.returncode:
        raise EngineError(
            f"building the engine failed (exit code {done.returncode}; its own words are above): "
            f'{shlex.join(command)}; or set runtime.engine = "ort"'
        )
