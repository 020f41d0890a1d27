"""The public recordings we use: where each file comes from, under which licence, and where it lies.

``SONOMYO_DATA`` names a folder that already holds them (one sub-folder per set); it is looked at
before the cache that ``sonomyo data get NAME`` fills.  ``registry/sets.json`` describes the sets,
``registry/<name>.csv`` lists the files of one:

===============  ==================================================================================
path             relative to the folder of the set
how              what ``get`` does with the original: ``copy``; ``gzip`` it; re-code an image as
                 ``png``; take ``mg_signals`` of one clip out of a MATLAB file; empty = the file was
                 made by hand from the source and cannot be downloaded
source           ``owner/repository/commit/path`` on GitHub
size, sha256     of the file as it lies in SONOMYO_DATA
sha256_content   of what must come out whoever packed it: the original bytes (copy, gzip), the
                 pixels (png) or the arrays (mg_signals)
===============  ==================================================================================
"""

import csv
import functools
import hashlib
import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal
from urllib.parse import quote

ENV = "SONOMYO_DATA"
GITHUB = "https://raw.githubusercontent.com/"

How = Literal["copy", "gzip", "png", "mg_signals", ""]


class DataMissing(FileNotFoundError):
    """A recording is not on this machine.  The message names the remedies."""


@dataclass(frozen=True)
class File:
    """One file of a set; the fields are the columns described above."""

    path: str
    how: How
    source: str
    size: int
    sha256: str
    sha256_content: str

    def url(self, base: str = GITHUB) -> str:
        """Where the original is."""
        return base + quote(self.source)


@dataclass(frozen=True)
class DataSet:
    """One folder of recordings and what its licence asks us to say."""

    name: str
    title: str
    source: str  # for people: repository at a commit, or DOI
    licence: str
    attribution: str
    files: tuple[File, ...]

    def downloadable(self) -> tuple[File, ...]:
        """The files that ``get`` can fetch."""
        return tuple(f for f in self.files if f.how)


@functools.cache
def data_sets() -> dict[str, DataSet]:
    """All sets by name."""
    registry = resources.files("training") / "registry"
    described: dict[str, dict[str, str]] = json.loads((registry / "sets.json").read_text("utf-8"))
    return {
        name: DataSet(name=name, files=_files(name), **about) for name, about in described.items()
    }


def data_set(name: str) -> DataSet:
    """The set called ``name``.  Raises KeyError that lists the known ones."""
    sets = data_sets()
    if name not in sets:
        raise KeyError(f"no data set {name!r}; known: {', '.join(sets)}")
    return sets[name]


def find(name: str, file: str) -> Path | None:
    """Where ``file`` of set ``name`` lies on this machine; ``x.csv`` also finds ``x.csv.gz``.

    Only looks whether it is there; ``intact`` reads it.
    """
    given = os.environ.get(ENV)
    for folder in ([Path(given)] if given else []) + [cache_folder()]:
        for candidate in (folder / name / file, folder / name / f"{file}.gz"):
            if candidate.is_file():
                return candidate
    return None


def locate(name: str, file: str) -> Path:
    """As ``find``.  Raises DataMissing, and KeyError for an unknown set."""
    one = data_set(name)
    path = find(name, file)
    if path is not None:
        return path
    entry = next((f for f in one.files if f.path in (file, f"{file}.gz")), None)
    if entry is None:
        raise DataMissing(f"the data set {name} has no file {file!r}")
    given = os.environ.get(ENV)
    where = f"{ENV}={given}" if given else f"{ENV} is not set"
    second = (
        f"or run: sonomyo data get {name}"
        if entry.how
        else f"which cannot be downloaded by this tool: it was made by hand from {one.source}"
    )
    raise DataMissing(
        f"{name}/{file} is not on this machine ({where}): "
        f"set {ENV} to a folder that has {name}/, {second}"
    )


def cache_folder() -> Path:
    """What ``get`` fills: one sub-folder per set, laid out like SONOMYO_DATA."""
    import pooch

    return Path(pooch.os_cache("sonomyo"))


def intact(path: Path, file: File) -> bool:
    """Whether ``path`` holds ``file``: the very bytes, or other bytes with the same content."""
    if hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256:
        return True
    from training.convert import content_sha256

    return file.how != "" and content_sha256(path, file.how) == file.sha256_content


def _files(name: str) -> tuple[File, ...]:
    table = resources.files("training") / "registry" / f"{name}.csv"
    rows = csv.DictReader(table.read_text("utf-8").splitlines())
    return tuple(
        File(
            path=row["path"],
            how=row["how"],  # type: ignore[arg-type]  # a test checks every row
            source=row["source"],
            size=int(row["size"]),
            sha256=row["sha256"],
            sha256_content=row["sha256_content"],
        )
        for row in rows
    )
