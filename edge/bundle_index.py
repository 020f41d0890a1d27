"""``bundle.json``, the index of a bundle: the contract, the files with their hashes, the networks.

::

    {"format": 2,
     "spec": {ModelSpec},
     "files": {"model.onnx": sha256, "model.int8-cpu.onnx": sha256, "CARD.md": sha256},
     "networks": {"model.int8-cpu.onnx": {"precision": "int8", "targets": ["cpu"],
       "default_for": ["cpu"], "errors": {"ankle_angle": {"rms": 0.1, "worst": 0.4}}}}}

Format 1 has no ``networks``.  Nothing that the index does not list is part of the bundle.
"""

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from edge.unzip import MAX_MEMBERS, plain_name
from models.spec import ModelSpec, spec_from_dict

FORMAT = 2  # what is written; format 1 is still read
INDEX = "bundle.json"
SIGNATURE = "bundle.sig"
MODEL = "model.onnx"

_KEYS = {1: {"format", "spec", "files"}, 2: {"format", "spec", "files", "networks"}}
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Error(NamedTuple):
    """How far a network is from PyTorch's over a recording, in the unit of the output."""

    rms: float
    worst: float


@dataclass(frozen=True)
class Network:
    """One network of a bundle; all of them do what the spec says.

    ``targets`` are where it may run ("cpu", "trt", ...), empty: anywhere.  ``errors``: by output.
    """

    file: str
    precision: str
    targets: tuple[str, ...] = ()
    default_for: tuple[str, ...] = ()
    errors: dict[str, Error] = field(default_factory=dict)


PLAIN = Network(MODEL, "fp32")  # every bundle has it; whoever finds no better one takes it


@dataclass(frozen=True)
class Index:
    """What ``bundle.json`` says.  ``files``: SHA-256 in hex, by name."""

    spec: ModelSpec
    files: dict[str, str]
    networks: tuple[Network, ...]  # PLAIN first


def parse_index(data: bytes) -> Index:
    """Read an index and check that its parts fit.  Raises ValueError, also as SpecError."""
    raw = strict_json(data)
    version = raw.get("format") if isinstance(raw, dict) else None
    keys = _KEYS.get(version) if type(version) is int else None
    if keys is None:
        raise ValueError(f"bundle format 1 or {FORMAT} expected, is {str(version)[:20]}")
    if raw.keys() != keys:
        raise ValueError(f"{INDEX} has {sorted(raw)}, wanted are {sorted(keys)}"[:500])
    spec = spec_from_dict(raw["spec"])
    files = _files(raw["files"])
    rows = raw.get("networks", {})
    if not isinstance(rows, dict):
        raise ValueError("networks is no table")
    networks = tuple(_network(name, row, files, spec) for name, row in rows.items())
    for what in ([t for n in networks for t in n.default_for],
                 [(n.precision, t) for n in networks for t in n.targets]):  # fmt: skip
        if len(set(what)) < len(what):
            raise ValueError(f"networks: two are for the same of {what}"[:500])
    return Index(spec, files, (PLAIN, *networks))


def strict_json(data: bytes) -> Any:
    """JSON as the standard has it: no NaN, no number without bounds, no key twice.  ValueError."""
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_once,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except RecursionError as e:
        raise ValueError("not JSON: nested too deeply") from e
    except ValueError as e:
        raise ValueError(f"not JSON: {e}") from e


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:20]} is no number")
    return number


def _files(raw: Any) -> dict[str, str]:
    if not isinstance(raw, dict) or MODEL not in raw:
        raise ValueError(f"{INDEX} lists no {MODEL}")
    if len(raw) > MAX_MEMBERS - 2 or len({name.lower() for name in raw}) < len(raw):
        raise ValueError("too many files, or two of one name but for capitals")
    for name, digest in raw.items():
        if not plain_name(name) or name.lower() in (INDEX, SIGNATURE):
            raise ValueError(
                f"{name[:80]!r} is outside the bundle: only plain file names are listed"
            )
        if not isinstance(digest, str) or not _HASH.fullmatch(digest):
            raise ValueError(f"the hash of {name} is not a SHA-256")
    return dict(raw)


def _network(name: str, raw: Any, files: dict[str, str], spec: ModelSpec) -> Network:
    if name not in files or name == MODEL:
        raise ValueError(f"networks: {name[:80]!r} is {MODEL}, or is not among the files")
    try:
        errors = {o: Error(**e) for o, e in raw.pop("errors").items()}
        lists = [tuple(raw.pop(key)) for key in ("targets", "default_for")]
        found = Network(name, raw.pop("precision"), lists[0], lists[1], errors)
    except (AttributeError, KeyError, TypeError) as e:
        raise ValueError(f"networks: {name} has a missing or malformed field: {e}") from e
    words = (found.precision, *found.targets, *found.default_for)
    numbers = (x for e in errors.values() for x in e)
    if (
        raw
        or not all(isinstance(w, str) and _WORD.fullmatch(w) for w in words)
        or not all(type(x) in (int, float) and 0 <= x < math.inf for x in numbers)
        or not set(found.default_for) <= set(found.targets)
        or not found.targets
        or not errors.keys() <= {*(o.name for o in spec.outputs), *spec.map_names}
    ):
        raise ValueError(f"networks: {name} has an unknown or malformed field, or no target")
    return found
