"""What TensorRT made of a network: which precision each layer really got.

Read from the engine inspector's JSON, whose spelling differs by version: a tensor's type is in
``Format/Datatype``, as "Row major linear FP32" or "Half", or in ``DataType`` (11); the network's
inputs and outputs are ``Bindings`` (names) or ``I/O Tensors`` (11).
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

UNKNOWN = "?"
_TYPES = {  # lowest first: a layer computes in the lowest type that it reads
    "FP4": r"fp4", "INT4": r"int4", "FP8": r"fp8", "INT8": r"int8", "BF16": r"bf16|bfloat16",
    "FP16": r"fp16|half", "FP32": r"fp32|float",
}  # fmt: skip
_PATTERNS = {name: re.compile(rf"\b({words})\b", re.IGNORECASE) for name, words in _TYPES.items()}
_COMPUTES = re.compile(r"conv|gemm|matmul|matrixmultiply|matrix_multiply|fullyconnected|mha", re.I)


@dataclass(frozen=True)
class Layer:
    """``computes``: it is a convolution or a matrix product, where precision pays."""

    name: str
    kind: str
    precision: str  # FP32, FP16, INT8, ...; "?": the inspector does not say
    computes: bool


@dataclass(frozen=True)
class LayerReport:
    """All layers of an engine, and the names of its inputs and outputs."""

    layers: tuple[Layer, ...]
    tensors: tuple[str, ...]

    def count(self, computes: bool) -> dict[str, int]:
        """How many layers got each precision."""
        return dict(Counter(x.precision for x in self.layers if x.computes == computes))

    def missing(self, wanted: str) -> bool:
        """Whether every computing layer is known, and none got ``wanted``."""
        got = self.count(computes=True)
        return bool(got) and wanted not in got and UNKNOWN not in got


def read_layers(text: str) -> LayerReport:
    """From ``EngineInspector.get_engine_information(JSON)``.  Raises ValueError."""
    raw = json.loads(text)
    if not isinstance(raw, dict) or not isinstance(raw.get("Layers"), list):
        raise ValueError("the engine inspector's JSON has no Layers")
    tensors = raw.get("Bindings") or raw.get("I/O Tensors") or []
    names = (t.get("Name", "") if isinstance(t, dict) else str(t) for t in tensors)
    return LayerReport(tuple(_layer(x) for x in raw["Layers"]), tuple(names))


def _layer(raw: Any) -> Layer:
    if not isinstance(raw, dict):  # names only: the engine was built without details
        return Layer(str(raw), UNKNOWN, UNKNOWN, bool(_COMPUTES.search(str(raw))))
    kind = str(raw.get("ParameterType") or raw.get("LayerType") or UNKNOWN)
    kinds = f"{kind} {raw.get('LayerType', '')}"
    weights = raw.get("Weights")
    types = [_type(t) for t in raw.get("Inputs", []) if isinstance(t, dict)]
    if isinstance(weights, dict):
        types.append(_named(str(weights.get("Type", ""))))
    known = [t for t in types if t != UNKNOWN]
    lowest = min(known, key=list(_TYPES).index, default=UNKNOWN)
    computes = bool(_COMPUTES.search(kinds)) or isinstance(weights, dict)
    return Layer(str(raw.get("Name", "")), kind, lowest, computes)


def _type(tensor: dict[str, Any]) -> str:
    for key in ("Format/Datatype", "Format/DataType", "DataType", "Datatype", "Format"):
        if key in tensor and (found := _named(str(tensor[key]))) != UNKNOWN:
            return found
    return UNKNOWN


def _named(text: str) -> str:
    return next((name for name, p in _PATTERNS.items() if p.search(text)), UNKNOWN)
