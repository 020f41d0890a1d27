"""A bundle: a network, its contract and its card in one folder, every file pinned by its hash.

``<folder>/bundle.json``::

    {"format": 1, "spec": {ModelSpec}, "files": {"model.onnx": sha256, "CARD.md": sha256}}

A bundle is named by its folder, or, when it ships with the product, by that folder's name:
``load_bundle("mg-state")``, ``load_bundle("/etc/sonomyo/my-model")``.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
from models.spec import ModelSpec, SpecError, spec_from_dict

FORMAT = 1
INDEX = "bundle.json"
MODEL = "model.onnx"
CARD = "CARD.md"
SHIPPED = Path(models.__file__).parent / "bundles"


class BundleError(RuntimeError):
    """A bundle that cannot be used; the message names the remedy."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.  ``id`` changes whenever the network, its contract or its card does."""

    path: Path
    spec: ModelSpec
    model_path: Path
    id: str  # <name>@<first 12 hex digits of the SHA-256 of bundle.json>


def load_bundle(name_or_path: str) -> Bundle:
    """Read a bundle and verify the hash of every file in it.  Raises BundleError."""
    path = _locate(name_or_path)
    try:
        index_bytes = (path / INDEX).read_bytes()
        index = json.loads(index_bytes)
    except OSError as e:
        raise BundleError(f"{path / INDEX}: {e.strerror}: is this a bundle folder?") from e
    except ValueError as e:
        raise BundleError(f"{path / INDEX} is not JSON ({e}): export the model again") from e
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise BundleError(
            f"{path}: bundle format {FORMAT} expected: export the model with this version"
        )
    try:
        spec = spec_from_dict(index.get("spec"))
    except SpecError as e:
        raise BundleError(f"{path}: {e}") from e
    _verify(path, index.get("files"))
    ident = f"{spec.name}@{hashlib.sha256(index_bytes).hexdigest()[:12]}"
    return Bundle(path, spec, path / MODEL, ident)


def list_bundles() -> list[str]:
    """The names of the bundles that ship with the product."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{INDEX}"))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as lower-case hex.  Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _locate(name_or_path: str) -> Path:
    bare = name_or_path and "/" not in name_or_path and name_or_path not in (".", "..")
    for path in ([SHIPPED / name_or_path] if bare else []) + [Path(name_or_path)]:
        if name_or_path and path.is_dir():
            return path.resolve()
    raise BundleError(
        f"no bundle {name_or_path!r}: name a folder with a {INDEX}, or one of {list_bundles()}"
    )


def _verify(path: Path, files: Any) -> None:
    if not isinstance(files, dict) or MODEL not in files:
        raise BundleError(f"{path}: {INDEX} lists no {MODEL}: export the model again")
    for name, want in files.items():
        if Path(name).name != name:
            raise BundleError(f"{path}: {name!r} is outside the bundle: do not use this bundle")
        try:
            have = file_hash(path / name)
        except OSError as e:
            raise BundleError(f"{path / name}: {e.strerror}: copy the whole bundle again") from e
        if have != want:
            raise BundleError(
                f"{path / name} is not the file that was exported (SHA-256 {have[:12]}, "
                f"{INDEX} says {str(want)[:12]}): copy the bundle again, or export it again"
            )
