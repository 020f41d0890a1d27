"""One way to build an engine with TensorRT 8.5 to 11: what a version lacks is not asked of it.

Precision is in the ONNX file.  From TensorRT 10 on, the engine keeps to it (strongly typed).  8.x
only permits what the file contains: there, 32-bit parts of a 16-bit file may be computed in 16 bit.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from edge.runtime import EngineError
from edge.runtime.onnx_contents import Contents, contents_of
from edge.runtime.tensorrt_module import errors, logger, version_of
from export.onnx_ops import TARGETS

LAST_OPSET_OF_8 = 17
MIB = 1 << 20


@dataclass(frozen=True)
class BuildOptions:
    """``workspace_mib``: scratch memory of one layer; ``tactic_mib``: of what is tried.

    ``level`` 0 to 5: how long to look for fast kernels (from TensorRT 8.6 on).  ``tf32``: compute
    fp32 with 10 bits of mantissa where that is faster.
    """

    workspace_mib: int = 256
    tactic_mib: int = 1024
    level: int = 3
    tf32: bool = False


DEFAULT = BuildOptions()


@dataclass(frozen=True)
class Plan:
    """A serialised engine, and what was learned on the way."""

    data: bytes
    seconds: float
    timing_cache: bytes  # of kernels that were measured: the next build takes seconds
    log: list[str]


def build_plan(
    trt: Any,
    onnx: bytes,
    options: BuildOptions,
    timing_cache: bytes = b"",
    monitor: Callable[[Any], Any] | None = None,
) -> Plan:
    """Build; the calling thread has a CUDA context.  Raises EngineError.

    ``monitor`` makes, of the module, an ``IProgressMonitor`` where there is such a thing.
    """
    contents = _contents(onnx)
    check_version(contents, trt)
    check_rules(onnx, trt)
    said = logger(trt)
    said.lines.clear()
    builder = trt.Builder(said)
    network = builder.create_network(_network_flags(trt))
    _parse(trt, network, onnx)
    config = builder.create_builder_config()
    _configure(trt, config, contents, options)
    kept = _timing_cache(config, timing_cache)
    watcher = monitor(trt) if monitor and hasattr(config, "progress_monitor") else None
    if watcher is not None:
        config.progress_monitor = watcher
    begin = time.monotonic()
    serialised = builder.build_serialized_network(network, config)
    seconds = time.monotonic() - begin
    if serialised is None:
        raise EngineError(f"TensorRT {trt.__version__} cannot build the engine: {errors(trt)}")
    log = [f"{severity}: {text}" for severity, text in said.lines]
    del kept, watcher  # TensorRT only borrows them, and now needs them no more
    return Plan(bytes(serialised), seconds, bytes(config.get_timing_cache().serialize()), log)


def check_version(contents: Contents, trt: Any) -> None:
    """Refuse what this TensorRT would compute wrongly without a word.  Raises EngineError."""
    if contents.opset > LAST_OPSET_OF_8 and version_of(trt) < (10,):
        raise EngineError(
            f"the network is of opset {contents.opset}; TensorRT {trt.__version__} knows up to "
            f"{LAST_OPSET_OF_8} and would, in some, reduce over the wrong axes without an error: "
            "export the model again with this version of Sonomyo"
        )


def check_rules(onnx: bytes, trt: Any) -> None:
    """Everything else that we know this TensorRT to reject or to compute wrongly, node by node.

    Only where the ``onnx`` package is: a device has none, and who exported the network asked the
    same rules.  Raises EngineError.
    """
    if find_spec("onnx") is None:
        return
    from onnx import load_model_from_string

    from export.onnx_rules import check, refused, report

    findings = refused(check(load_model_from_string(onnx), [known_version(version_of(trt))]))
    if findings:
        raise EngineError(f"TensorRT {trt.__version__} cannot have this:\n{report(findings)}")


def known_version(version: tuple[int, ...]) -> str:
    """The version that the rules know which is nearest below, of the same major number."""
    same = [t for t in TARGETS if int(t.split(".")[0]) == version[0]] or [TARGETS[-1]]
    below = [t for t in same if tuple(map(int, t.split("."))) <= version]
    return below[-1] if below else same[0]


def _contents(onnx: bytes) -> Contents:
    try:
        return contents_of(onnx)
    except ValueError as e:
        raise EngineError(f"the network cannot be read ({e}): export the model again") from e


def strongly_typed(trt: Any) -> bool:
    """Whether an engine keeps to the precision that the file says, for each tensor."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def _network_flags(trt: Any) -> int:
    flag = trt.NetworkDefinitionCreationFlag
    if not strongly_typed(trt):
        return int(1 << int(flag.EXPLICIT_BATCH))
    # From 11 on there is no other way, and the flag does nothing.
    return int(1 << int(flag.STRONGLY_TYPED)) if version_of(trt) < (11,) else 0


def _parse(trt: Any, network: Any, onnx: bytes) -> None:
    parser = trt.OnnxParser(network, logger(trt))
    if parser.parse(onnx):
        return
    found = [parser.get_error(k) for k in range(parser.num_errors)]
    said = "; ".join(f"node {e.node()}: {e.desc()}" for e in found) or errors(trt)
    raise EngineError(f"TensorRT {trt.__version__} does not take the network: {said}")


def _configure(trt: Any, config: Any, contents: Contents, options: BuildOptions) -> None:
    if not strongly_typed(trt):
        if contents.has_int8:
            config.set_flag(trt.BuilderFlag.INT8)
        if contents.has_fp16:
            config.set_flag(trt.BuilderFlag.FP16)
    if not options.tf32:  # on by default
        config.clear_flag(trt.BuilderFlag.TF32)
    pools = trt.MemoryPoolType
    config.set_memory_pool_limit(pools.WORKSPACE, options.workspace_mib * MIB)
    if hasattr(pools, "TACTIC_DRAM"):
        config.set_memory_pool_limit(pools.TACTIC_DRAM, options.tactic_mib * MIB)
    # Never cuDNN and cuBLAS, which 8.x would load: the same engine then runs without either.
    sources = trt.TacticSource
    config.set_tactic_sources(
        1 << int(sources.EDGE_MASK_CONVOLUTIONS) | 1 << int(sources.JIT_CONVOLUTIONS)
    )
    preview = getattr(trt.PreviewFeature, "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805", None)
    if preview is not None:
        config.set_preview_feature(preview, True)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the layer report
    if hasattr(config, "max_aux_streams"):  # one stream: what a graph of it captures is all
        config.max_aux_streams = 0
    if hasattr(config, "builder_optimization_level"):
        config.builder_optimization_level = options.level


def _timing_cache(config: Any, known: bytes) -> Any:
    """What the build reads and adds to, to be kept until it is done; empty without ``known``, or
    where TensorRT refuses that.
    """
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache
