"""From a bundle's network to a TensorRT engine on this machine: built, compared, then put in place.

The old engine stays until the new one has answered as ONNX Runtime does.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from edge.bundle import Bundle
from edge.bundle_index import Network
from edge.runtime import EngineError
from edge.runtime.engine_file import (
    EngineFile,
    EngineFileError,
    engines_of,
    install,
    network_hash,
    read_engine,
    write_whole,
)
from edge.runtime.gpu import open_gpu
from edge.runtime.onnx_contents import contents_of
from edge.runtime.ort import OrtEngine
from edge.runtime.settings import Runtime
from edge.runtime.tensorrt_module import import_tensorrt
from edge.runtime.trt import TrtEngine
from edge.runtime.trt_open import this_machine
from export.engine_compare import TOLERANCE, Difference, compare
from export.trt_build import DEFAULT, BuildOptions, build_plan
from export.trt_layers import LayerReport, read_layers
from export.trt_progress import Progress


class ComparisonError(EngineError):
    """An engine was built and is not used: it does not answer as ONNX Runtime does."""


@dataclass(frozen=True)
class Made:
    """An engine in its place, and what was found out about it."""

    file: EngineFile
    sidecar: Path
    layers: LayerReport
    difference: Difference
    warnings: tuple[str, ...]


def build_engine(
    bundle: Bundle,
    runtime: Runtime,
    options: BuildOptions = DEFAULT,
    tolerance: float = 0.0,
    say: Callable[[str], None] | None = None,
) -> Made:
    """Build the bundle's network for TensorRT, of ``runtime.precision``, into ``runtime.folder``.

    ``tolerance``: how far it may be from ONNX Runtime, of each tensor's largest magnitude; 0: by
    precision.  ``say`` takes lines of progress, else they go to stderr.  Raises EngineError,
    ComparisonError and BundleError; then everything in the folder is as it was.
    """
    trt = import_tensorrt()
    machine = this_machine(runtime.wait)
    network = bundle.network("trt", runtime.precision)
    onnx = bundle.files[network.file]
    folder = runtime.folder
    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        cache = folder / f"{machine.slug}.timing"
        known = cache.read_bytes() if cache.is_file() else b""
    with Progress(f"{bundle.id} for {machine}", say=say) as progress, open_gpu().active():
        plan = build_plan(trt, onnx, options, known, progress.monitor)
    with _writable(folder):
        write_whole(cache, plan.timing_cache)
    kind = _precision(onnx)
    layers, difference = _try(bundle, network, runtime, plan.data)
    allowed = tolerance or TOLERANCE["tf32" if options.tf32 and kind == "fp32" else kind]
    if wrong := difference.beyond(allowed):
        raise ComparisonError(
            f"{bundle.id}: the engine differs from ONNX Runtime by "
            + ", ".join(f"{difference.relative[n]:.2g} in {n!r}" for n in wrong)
            + f" (of the largest magnitude over {difference.steps} steps of {difference.inputs}; "
            f"{allowed:g} is allowed).  It is not used, and what was there before is.  Export the "
            "model in another precision, or allow it: --tolerance"
        )
    one = EngineFile(
        model=bundle.spec.name,
        bundle=bundle.id,
        precision=network.precision,
        onnx_sha256=network_hash(bundle, network),
        machine=machine,
        engine="",
        engine_sha256=hashlib.sha256(plan.data).hexdigest(),
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        seconds=round(plan.seconds, 1),
        options=asdict(options),
        compared={**difference._asdict(), "tolerance": allowed},
        layers=[asdict(layer) for layer in layers.layers],
    )
    one = replace(one, engine=f"{one.stem}-{one.engine_sha256[:8]}.engine")
    with _writable(folder):
        sidecar = install(folder, one, plan.data)
        write_whole(sidecar.with_suffix(".log"), "\n".join(plan.log).encode())
    return Made(one, sidecar, layers, difference, tuple(_warnings(kind, network, layers)))


def is_built(bundle: Bundle, runtime: Runtime) -> bool:
    """Whether an engine that fits this machine is in its place, whole."""
    machine = this_machine(runtime.wait)
    network = bundle.network("trt", runtime.precision)
    for one in engines_of(runtime.folder, network_hash(bundle, network)):
        with contextlib.suppress(EngineFileError):
            if one.machine == machine and read_engine(runtime.folder, one):
                return True
    return False


def _try(
    bundle: Bundle, network: Network, runtime: Runtime, plan: bytes
) -> tuple[LayerReport, Difference]:
    """Run the engine as the daemon will, beside ONNX Runtime with the same network."""
    with (
        contextlib.closing(OrtEngine(bundle, network)) as reference,
        contextlib.closing(TrtEngine(bundle, plan, runtime)) as engine,
    ):
        try:
            layers = read_layers(engine.information())
        except ValueError as e:
            raise EngineError(f"TensorRT's layer report cannot be read ({e}): report this") from e
        return layers, compare(bundle, reference, engine)


def _precision(onnx: bytes) -> str:
    contents = contents_of(onnx)
    return "int8" if contents.has_int8 else "fp16" if contents.has_fp16 else "fp32"


def _warnings(kind: str, network: Network, layers: LayerReport) -> Iterator[str]:
    wanted = kind.upper()
    if layers.missing(wanted):
        got = ", ".join(f"{n} {p}" for p, n in layers.count(computes=True).items())
        yield (
            f"{network.file} asks for {wanted}, and no layer that computes got it ({got}): "
            "it costs accuracy for nothing; measure it beside the fp32 network"
        )


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise EngineError(
            f"{folder}: {e.strerror}: choose a folder you may write with --engines, and set "
            "runtime.engines to it"
        ) from e
