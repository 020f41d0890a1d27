"""TensorRT that is not there: any recorded version, its networks computed by ONNX Runtime.

A build parses the ONNX file, keeps it as the "engine", and reports layers as that version's
inspector spells them; an engine reads and writes the fake GPU's memory.  So building, comparing
and running give real numbers, and what a version lacks fails as it would.  Which precision a layer
gets is made up: what the file asks for.
"""

import json
import sys
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime as ort

from tests.fakes.bindings import make_module, new, recorded
from tests.fakes.cuda import FakeCuda

VERSIONS = tuple(recorded())
ROUNDING = 1e-6  # relative: a GPU sums in another order
MAGIC = b"fake engine\n"
COMPUTING = {"Conv": "Convolution", "Gemm": "MatrixMultiply", "MatMul": "MatrixMultiply"}
SPELLED = {  # of a tensor's type, by major
    8: {"FP32": "Row major linear FP32", "FP16": "Row major linear FP16 format",
        "INT8": "Thirty-two wide channel vectorized row major Int8 format"},
    10: {"FP32": "Float", "FP16": "Half", "INT8": "Int8"},
    11: {"FP32": "Float", "FP16": "Half", "INT8": "Int8"},
}  # fmt: skip


@dataclass
class Jetson:
    """One machine: a version of TensorRT on a GPU.  ``builds`` are the builder's settings."""

    version: str
    cuda: FakeCuda = field(default_factory=FakeCuda)
    builds: list = field(default_factory=list)
    unknown_ops: set = field(default_factory=set)  # that the parser does not take
    fails: str = ""  # what the builder complains of, and gives nothing
    off: float = 0.0  # what is added to every output: kernels that are wrong
    lowered: str = ""  # precision that every layer gets instead

    def __post_init__(self):
        self.major = int(self.version.split(".")[0])
        self.trt = make_module(self.version, DOES, self)

    def install(self, monkeypatch):
        """Be this process's machine."""
        from edge.runtime import cuda_driver, gpu, tensorrt_module

        for name, module in {"tensorrt": self.trt, **self.cuda.modules()}.items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(cuda_driver, "_load", self.cuda.library)
        monkeypatch.setattr(gpu, "_opened", {})
        monkeypatch.setattr(tensorrt_module, "_logs", {})
        return self

    def new(self, name, **state):
        return new(self.trt, name, **state)

    def told(self, logger, severity, text):
        logger.log(getattr(self.trt.ILogger, severity), text)

    @property
    def device(self):
        """What an engine is tied to."""
        return f"{self.cuda.name} {self.cuda.capability} {self.version}"


class Builder:
    def __init__(self, logger):
        self._world.cuda.require("Builder")
        self._logger = logger

    def create_network(self, flags=0):
        return self._world.new("INetworkDefinition", _flags=flags, _model=None)

    def create_builder_config(self):
        return self._world.new(
            "IBuilderConfig", _flags={"TF32"}, _pools={}, _sources=None, _previews=[], _cache=None
        )

    def build_serialized_network(self, network, config):
        w = self._world
        w.cuda.require("build_serialized_network")
        w.builds.append(_settings(w, network, config))
        monitor = w.builds[-1].get("progress_monitor")
        if monitor is not None:
            monitor.phase_start("Building Engine", None, 2)
            for step in range(2):
                monitor.step_complete("Building Engine", step)
            monitor.phase_finish("Building Engine")
        wrong = w.fails or _forgotten(w, network, config)
        if wrong:
            w.told(self._logger, "ERROR", wrong)
            return None
        if config._cache is not None:
            config._cache._data = b"timed:" + w.device.encode()
        head = {"device": w.device, "layers": _layers(w, network._model),
                "verbose": config.profiling_verbosity.name}  # fmt: skip
        data = MAGIC + json.dumps(head).encode() + b"\n" + network._model.SerializeToString()
        return w.new("IHostMemory", _data=data)


class INetworkDefinition:
    pass


class IBuilderConfig:
    profiling_verbosity = None
    max_aux_streams = None
    builder_optimization_level = 3
    progress_monitor = None

    def set_flag(self, flag):
        self._flags.add(flag.name)

    def clear_flag(self, flag):
        self._flags.discard(flag.name)

    def set_memory_pool_limit(self, pool, pool_size):
        self._pools[pool.name] = pool_size

    def set_tactic_sources(self, tactic_sources):
        self._sources = tactic_sources
        return True

    def set_preview_feature(self, feature, enable):
        self._previews.append((feature.name, enable))

    def create_timing_cache(self, serialized_timing_cache):
        return self._world.new("ITimingCache", _data=bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache._data and cache._data != b"timed:" + self._world.device.encode():
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache


class ITimingCache:
    def serialize(self):
        return self._world.new("IHostMemory", _data=self._data)


class IHostMemory:
    nbytes = property(lambda self: len(self._data))

    def __bytes__(self):
        return self._data


class OnnxParser:
    num_errors = property(lambda self: len(self._errors))

    def __init__(self, network, logger):
        self._network, self._errors = network, []

    def parse(self, model, path=None):
        w = self._world
        explicit = w.major > 8 or self._network._flags == 1 << int(
            w.trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH
        )
        if not explicit:
            self._errors.append((-1, "only explicit batch is supported"))
            return False
        found = onnx.load_from_string(bytes(model))
        for k, node in enumerate(found.graph.node):
            if node.op_type in w.unknown_ops:
                self._errors.append((k, f"no importer registered for op: {node.op_type}"))
        self._network._model = found
        return not self._errors

    def get_error(self, index):
        node, desc = self._errors[index]
        return self._world.new("ParserError", _node=node, _desc=desc)


class ParserError:
    def node(self):
        return self._node

    def desc(self):
        return self._desc


class Runtime:
    def __init__(self, logger):
        self._world.cuda.require("Runtime")
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        w, data = self._world, bytes(serialized_engine)
        w.cuda.require("deserialize_cuda_engine")
        if not data.startswith(MAGIC):
            w.told(self._logger, "ERROR", "Serialization assertion magicTagRead failed")
            return None
        head, _, network = data[len(MAGIC) :].partition(b"\n")
        head = json.loads(head)
        if head["device"] != w.device:
            w.told(self._logger, "ERROR", "The engine plan file is not compatible: please rebuild.")
            return None
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        return w.new("ICudaEngine", _head=head, _session=ort.InferenceSession(
            network, options, providers=["CPUExecutionProvider"]))  # fmt: skip

    def __del__(self):
        self._world.cuda.freed("Runtime")


class ICudaEngine:
    num_io_tensors = property(lambda self: len(_tensors(self)))

    def get_tensor_name(self, index):
        return _tensors(self)[index].name

    def get_tensor_shape(self, name):
        found = next(t for t in _tensors(self) if t.name == name)
        return self._world.new("Dims", _shape=tuple(found.shape))

    def get_tensor_dtype(self, name):
        kinds = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(int32)": "INT32"}
        found = next(t for t in _tensors(self) if t.name == name)
        return getattr(self._world.trt.DataType, kinds[found.type])

    def get_tensor_mode(self, name):
        into = name in (t.name for t in self._session.get_inputs())
        return getattr(self._world.trt.TensorIOMode, "INPUT" if into else "OUTPUT")

    def create_execution_context(self):
        self._world.cuda.require("create_execution_context")
        return self._world.new("IExecutionContext", _engine=self, _at={})

    def create_engine_inspector(self):
        return self._world.new("EngineInspector", _engine=self)

    def __del__(self):
        self._world.cuda.freed("ICudaEngine")


class Dims:
    def __len__(self):
        return len(self._shape)

    def __getitem__(self, at):
        return self._shape[at]


class EngineInspector:
    def get_engine_information(self, format):
        w, engine = self._world, self._engine
        assert format is w.trt.LayerInformationFormat.JSON
        layers = engine._head["layers"]
        if engine._head["verbose"] != "DETAILED":
            layers = [layer["Name"] for layer in layers]
        names = [t.name for t in _tensors(engine)]
        if w.major < 11:
            return json.dumps({"Layers": layers, "Bindings": names})
        tensors = [{"Name": n, "DataType": "Float", "Dimensions": [1]} for n in names]
        return json.dumps({"Layers": layers, "I/O Tensors": tensors})


class IExecutionContext:
    def set_tensor_address(self, name, memory):
        self._at[name] = memory
        return name in (t.name for t in _tensors(self._engine))

    def execute_async_v3(self, stream_handle):
        w, at, session = self._world, dict(self._at), self._engine._session
        w.cuda.require("execute_async_v3")
        tensors = _tensors(self._engine)
        if set(at) != {t.name for t in tensors}:
            return False
        w.cuda.streams[stream_handle].put(lambda: _compute(w, session, at))
        return True

    def __del__(self):
        self._world.cuda.freed("IExecutionContext")


DOES = {
    c.__name__: c
    for c in (Builder, INetworkDefinition, IBuilderConfig, ITimingCache, IHostMemory, OnnxParser,
              ParserError, Runtime, ICudaEngine, Dims, EngineInspector, IExecutionContext)
}  # fmt: skip


def _tensors(engine):
    return [*engine._session.get_inputs(), *engine._session.get_outputs()]


def _compute(world, session, at):
    """The kernels: from the GPU's memory to the GPU's memory."""
    feed = {
        t.name: world.cuda.at(at[t.name]).view(np.float32).reshape(t.shape)
        for t in session.get_inputs()
    }
    outputs = session.get_outputs()
    for t, found in zip(outputs, session.run(None, feed), strict=True):
        there = world.cuda.at(at[t.name]).view(np.float32).reshape(t.shape)
        np.copyto(there, found * np.float32(1 + ROUNDING) + np.float32(world.off))


def _settings(world, network, config):
    """What the builder was told, by name."""
    names = {s: 1 << int(getattr(world.trt.TacticSource, s)) for s in
             ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS", "CUBLAS", "CUDNN")
             if hasattr(world.trt.TacticSource, s)}  # fmt: skip
    found = {
        "network": {f for f in ("EXPLICIT_BATCH", "STRONGLY_TYPED")
                    if (m := getattr(world.trt.NetworkDefinitionCreationFlag, f, None)) is not None
                    and network._flags & 1 << int(m)},
        "flags": set(config._flags),
        "pools": dict(config._pools),
        "sources": {s for s, bit in names.items() if config._sources & bit},
        "previews": list(config._previews),
        "known_timings": config._cache._data if config._cache else None,
    }  # fmt: skip
    for name in ("profiling_verbosity", "max_aux_streams", "builder_optimization_level",
                 "progress_monitor"):  # fmt: skip
        if hasattr(type(config), name):
            found[name] = getattr(config, name)
    return found


def _forgotten(world, network, config):
    """8.x wants to be allowed what the file contains."""
    if world.major > 8:
        return ""
    ops = {n.op_type for n in network._model.graph.node}
    if "QuantizeLinear" in ops and "INT8" not in config._flags:
        return "Int8 precision has been set for a layer or layer output, but int8 is not configured"
    halves = any(i.data_type == onnx.TensorProto.FLOAT16 for i in network._model.graph.initializer)
    if halves and "FP16" not in config._flags:
        return "Fp16 precision has been set for a layer or layer output, but fp16 is not configured"
    return ""


def _layers(world, model):
    """One layer for each node, in that version's spelling."""
    made_by = {o: n for n in model.graph.node for o in n.output}
    halves = {i.name for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT16}
    found = []
    for k, node in enumerate(model.graph.node):
        quantised = any(made_by[i].op_type == "DequantizeLinear" for i in node.input
                        if i in made_by)  # fmt: skip
        kind = "INT8" if quantised else "FP16" if halves & set(node.input) else "FP32"
        kind = world.lowered or kind
        text = SPELLED[world.major][kind]
        key = "DataType" if world.major == 11 else "Format/Datatype"
        layer = {
            "Name": node.name or f"{node.op_type}_{k}",
            "LayerType": "CaskConvolution" if node.op_type == "Conv" else node.op_type,
            "Inputs": [{"Name": i, key: text} for i in node.input[:1]],
            "Outputs": [{"Name": o, key: text} for o in node.output],
        }
        if node.op_type in COMPUTING:
            layer["ParameterType"] = COMPUTING[node.op_type]
        found.append(layer)
    return found
