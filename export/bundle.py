"""Writes what ``edge.bundle`` reads: network, contract, card, hashes; as a folder or one file."""

import errno
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from edge.bundle import CARD, INDEX, MODEL, REFERENCE, Bundle, BundleError, file_hash, load_bundle
from edge.bundle_index import FORMAT, SIGNATURE, Network
from models.spec import ModelSpec


def write_bundle(
    folder: Path,
    spec: ModelSpec,
    card: str,
    extra: Mapping[str, str | bytes],
    networks: Sequence[Network] = (),
) -> Bundle:
    """Seal ``folder``, which already has its networks and, if there is one, its REFERENCE.

    ``networks`` are those besides MODEL; ``extra`` are more files by name.  The index goes last: a
    folder without one is not a bundle; what was sealed before loses its signature.  Returns it as
    read back; raises BundleError when a network is missing.
    """
    files = (MODEL, *(n.file for n in networks))
    for name in files:
        if not (folder / name).is_file():
            raise BundleError(f"{folder} has no {name}: export the network there first")
    for name in (INDEX, SIGNATURE):
        (folder / name).unlink(missing_ok=True)
    more = {CARD: card, **extra}
    for name, content in more.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    names = {*files, *more, *([REFERENCE] if (folder / REFERENCE).is_file() else [])}
    index = {
        "format": FORMAT,
        "spec": json.loads(spec.to_json()),
        "files": {name: file_hash(folder / name) for name in sorted(names)},
        "networks": {n.file: _row(n) for n in networks},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return load_bundle(str(folder))


def pack(bundle: Bundle, target: Path) -> None:
    """Write a bundle as one file; the same bundle gives the same bytes.  Raises OSError."""
    rest = sorted(bundle.files.keys() - {INDEX, SIGNATURE})
    file = io.BytesIO()
    # Stored: weights do not shrink by much, and inflating them would delay every start.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in (n for n in (INDEX, SIGNATURE, *rest) if n in bundle.files):
            member = zipfile.ZipInfo(name)  # of 1980
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, bundle.files[name])
    replace_file(target, file.getvalue())


def unpack(bundle: Bundle, folder: Path) -> None:
    """Write a bundle as a folder, which must not exist; whole or not at all.  Raises OSError."""
    if folder.exists():
        raise FileExistsError(errno.EEXIST, "it exists: choose another --out", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        inside = Path(temporary) / "bundle"
        inside.mkdir()
        for name, content in bundle.files.items():
            (inside / name).write_bytes(content)
        inside.rename(folder)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file in one step: a crash leaves the old one or the new one.  Raises OSError."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _row(n: Network) -> dict[str, object]:
    errors = {output: e._asdict() for output, e in n.errors.items()}
    return {k: v for k, v in asdict(n).items() if k != "file"} | {"errors": errors}
