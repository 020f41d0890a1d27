"""The contract inside the network's own file: ONNX metadata that every reader keeps.

A device reads it through ONNX Runtime, ``session.get_modelmeta().custom_metadata_map``.
"""

from importlib import metadata
from pathlib import Path

import onnx
from onnx import ModelProto

from export.onnx_graph import ExportError
from models.spec import ModelSpec, SpecError

SPEC = "sonomyo.spec"  # JSON of ModelSpec
SOURCE = "sonomyo.source"  # what wrote the file before us
PRODUCER = "sonomyo"


def embed(model: ModelProto, spec: ModelSpec) -> None:
    """Write ``spec`` and our version into the file, in place of what was there."""
    kept = {p.key: p.value for p in model.metadata_props if p.key != SPEC}
    if model.producer_name != PRODUCER:
        kept[SOURCE] = f"{model.producer_name or 'unknown'} {model.producer_version}".strip()
    del model.metadata_props[:]
    for key, value in {**kept, SPEC: spec.to_json()}.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = PRODUCER, metadata.version("sonomyo")


def stamp(path: Path, spec: ModelSpec) -> None:
    """The same in the file at ``path``."""
    model = onnx.load(str(path))
    embed(model, spec)
    onnx.save(model, str(path))


def spec_of(model: ModelProto) -> ModelSpec | None:
    """The contract that the file carries; None if it has none.  Raises ExportError."""
    text = next((p.value for p in model.metadata_props if p.key == SPEC), None)
    try:
        return None if text is None else ModelSpec.from_json(text)
    except SpecError as e:
        raise ExportError(f"the spec in the network's own metadata cannot be used: {e}") from e
