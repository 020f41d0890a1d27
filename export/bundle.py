"""Writes the folder that ``edge.bundle`` reads: network, contract, card, and their hashes."""

import json
from collections.abc import Mapping
from pathlib import Path

from edge.bundle import CARD, FORMAT, INDEX, MODEL, Bundle, BundleError, file_hash, load_bundle
from models.spec import ModelSpec


def write_bundle(
    folder: Path, spec: ModelSpec, card: str, extra: Mapping[str, str | bytes]
) -> Bundle:
    """Seal ``folder``, which already has its network; ``extra`` are more files by name.

    The index goes last: a folder without one is not a bundle.  Returns it as read back; raises
    BundleError when the network is missing.
    """
    if not (folder / MODEL).is_file():
        raise BundleError(f"{folder} has no {MODEL}: export the network there first")
    (folder / INDEX).unlink(missing_ok=True)
    for name, content in {CARD: card, **extra}.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    files = {name: file_hash(folder / name) for name in (MODEL, CARD, *extra)}
    index = {"format": FORMAT, "spec": json.loads(spec.to_json()), "files": files}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return load_bundle(str(folder))
