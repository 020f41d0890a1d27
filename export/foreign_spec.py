"""What a person says of a network from elsewhere: its spec, and how the file calls things.

A JSON or TOML file with the fields of ``ModelSpec``, and two tables of its own::

    [names]                  # of the spec = of the file, where they differ
    image = "serving_default_input:0"
    [axes]                   # for each axis of the file's tensor, which one of the spec's it is
    image = [0, 2, 3, 1]
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.onnx_graph import ExportError
from models.spec import SPEC_VERSION, ModelSpec, SpecError, spec_from_dict

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Contract:
    """A spec, and what the file calls its tensors and how it lays out their axes."""

    spec: ModelSpec
    names: Mapping[str, str] = field(default_factory=dict)
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def in_file(self, name: str) -> str:
        """What the file calls a tensor."""
        return self.names.get(name, name)


def read_contract(path: Path) -> Contract:
    """From a JSON or TOML file.  Raises ExportError."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as e:
        raise ExportError(f"cannot read the spec {path}: {e}") from e
    try:
        return contract_of(raw)
    except (ExportError, SpecError) as e:
        raise ExportError(f"{path}: {e}") from e


def contract_of(raw: Any) -> Contract:
    """From parsed JSON or TOML; without a ``version``, of this one's.

    Raises ExportError or SpecError.
    """
    if not isinstance(raw, dict):
        raise ExportError("a spec is a table of fields")
    parts = {"version": SPEC_VERSION, **raw}
    names, axes = (parts.pop(key, {}) for key in ("names", "axes"))
    spec = spec_from_dict(parts)
    known = {*spec.input_shapes, *spec.output_shapes}
    for key, table in (("names", names), ("axes", axes)):
        if not isinstance(table, dict) or not set(table) <= known:
            raise ExportError(f"[{key}] may speak of {sorted(known)}, not of {table}")
    if not all(isinstance(name, str) and name for name in names.values()):
        raise ExportError(f"[names] must be texts: {names}")
    for name, order in axes.items():
        if not isinstance(order, list) or sorted(order) != list(range(len(order))):
            raise ExportError(f"[axes] {name} must name each axis once, as [0, 2, 3, 1] does")
    return Contract(spec, names, {name: tuple(order) for name, order in axes.items()})
