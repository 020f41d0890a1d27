"""A bundle: a network, its contract and its card, every file pinned by its hash.

It is a folder, or one ``.sonomyo`` file, which is a zip archive of that folder's files.  Named by
its path, or, when it ships with the product, by its name: ``load_bundle("mg-state")``,
``load_bundle("/etc/sonomyo/my-model.sonomyo")``.  docs/bundle.md is the format.

Every file is read once, hashed, and used from memory: what was checked is what runs.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import models
from edge.bundle_index import INDEX as INDEX
from edge.bundle_index import MODEL as MODEL
from edge.bundle_index import PLAIN, Network, parse_index, strict_json
from edge.bundle_index import SIGNATURE as SIGNATURE
from edge.onnx_file import check_onnx
from edge.signature import MAX_BYTES as MAX_SIGNATURE
from edge.signature import check_signature
from edge.unzip import MAX_BYTES, unzip
from models.spec import ModelSpec

CARD = "CARD.md"
REFERENCE = "reference.npz"
SUFFIX = ".sonomyo"
SHIPPED = Path(models.__file__).parent / "bundles"
MAX_JSON = 1 << 20

UNSIGNED = "unsigned"
NOT_CHECKED = "signed, but not checked: no trust.keys"


class BundleError(RuntimeError):
    """A bundle that cannot be used; the message names the remedy."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.  ``id`` changes whenever the network, its contract or its card does."""

    path: Path  # the folder, or the one file
    spec: ModelSpec
    id: str  # <name>@<first 12 hex digits of the SHA-256 of bundle.json>
    signature: str  # for people: "unsigned", or who signed it
    networks: tuple[Network, ...]
    files: dict[str, bytes] = field(repr=False)  # as they were hashed; INDEX and SIGNATURE, too

    def network(self, target: str = "cpu", precision: str = "") -> Network:
        """The one for a target, its default unless a precision is named.  Raises BundleError."""
        fits = [n for n in self.networks if not n.targets or target in n.targets]
        if not precision:
            return next((n for n in fits if target in n.default_for), PLAIN)
        for n in fits:
            if n.precision == precision:
                return n
        raise BundleError(
            f"{self.id} has no {precision} network for {target}: it has "
            f"{', '.join(n.precision for n in fits)}; export it with that precision"
        )

    def text(self, name: str) -> str:
        """A file as text.  Raises BundleError: it is not there, or no text."""
        try:
            return self.files[name].decode("utf-8")
        except (KeyError, UnicodeDecodeError) as e:
            raise BundleError(f"{self.id} has no {name}: export the model again") from e


def load_bundle(name_or_path: str, trusted: Sequence[str] = ()) -> Bundle:
    """Read a bundle and verify every file in it.  Raises BundleError.

    With ``trusted`` keys, as in ``trust.keys`` of a configuration, one of them must have signed it.
    """
    path = _locate(name_or_path)
    with _refused(path, "copy the whole bundle again"):
        take, members = _open(path)
    with _refused(path, "is this a bundle folder? Copy the whole bundle again"):
        data = take(INDEX, MAX_JSON)
    files = {INDEX: data}
    with _refused(path, "copy the whole bundle again"), contextlib.suppress(FileNotFoundError):
        files[SIGNATURE] = take(SIGNATURE, MAX_SIGNATURE)
    signature = NOT_CHECKED if SIGNATURE in files else UNSIGNED
    if trusted:  # before anything that it says is looked at
        with _refused(path):
            signature = f"signed by {check_signature(files.get(SIGNATURE), data, trusted)}"
    with _refused(path, "export the model again"):
        index = parse_index(data)
    if extra := sorted(members - files.keys() - index.files.keys()):
        raise BundleError(f"{path} has {extra[:3]}, which {INDEX} does not list: do not use it")
    with _refused(path, "copy the whole bundle again, or export it again"):
        left = MAX_BYTES
        for name, want in index.files.items():
            limit = min(left, MAX_JSON) if name.endswith(".json") else left
            files[name] = _hashed(name, take(name, limit), want)
            left -= len(files[name])
    networks = {n.file for n in index.networks}
    for name, content in files.items():
        with _refused(path / name, "export the model again"):
            if name in networks:
                check_onnx(content)
            elif name.endswith(".json"):
                strict_json(content)
    ident = f"{index.spec.name}@{hashlib.sha256(data).hexdigest()[:12]}"
    return Bundle(path, index.spec, ident, signature, index.networks, files)


def list_bundles() -> list[str]:
    """The names of the bundles that ship with the product."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{INDEX}"))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as lower-case hex.  Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _locate(name_or_path: str) -> Path:
    bare = name_or_path and "/" not in name_or_path and name_or_path not in (".", "..")
    for path in ([SHIPPED / name_or_path] if bare else []) + [Path(name_or_path)]:
        with contextlib.suppress(OSError, ValueError):  # no name of anything
            if name_or_path and path.exists():
                return path.resolve()
    raise BundleError(
        f"no bundle {name_or_path!r}: name a folder with a {INDEX}, a {SUFFIX} file, or one of "
        f"{list_bundles()}"
    )


@contextlib.contextmanager
def _refused(path: Path, remedy: str = "") -> Iterator[None]:
    """What is wrong becomes a BundleError about ``path``, with the remedy unless it has one."""
    try:
        yield
    except OSError as e:
        raise BundleError(f"{e.filename or path}: {e.strerror or e}: {remedy}") from e
    except ValueError as e:
        raise BundleError(f"{path}: {e}: {remedy}" if remedy else f"{path}: {e}") from e


def _open(path: Path) -> tuple[Callable[[str, int], bytes], set[str]]:
    """A function that reads one file of at most so many bytes; the files of an archive."""
    if path.is_dir():
        return lambda name, limit: _read(path / name, limit), set()
    members = unzip(_read(path, MAX_BYTES))

    def take(name: str, limit: int) -> bytes:
        if name not in members:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path / name))
        if len(members[name]) > limit:
            raise ValueError(f"{name} has {len(members[name])} bytes; {limit} are allowed")
        return members[name]

    return take, set(members)


def _read(path: Path, limit: int) -> bytes:
    """A plain file: no link out of the folder, nothing that blocks or never ends."""
    try:
        with open(path, "rb", opener=_no_link) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError(f"{path.name} is not a plain file")
            data = file.read(limit + 1)
    except OSError as e:
        if e.errno == errno.ELOOP:
            raise ValueError(f"{path.name} is a link, not a file") from e
        raise
    if len(data) > limit:
        raise ValueError(f"{path.name} has more than {limit} bytes")
    return data


def _no_link(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _hashed(name: str, data: bytes, want: str) -> bytes:
    have = hashlib.sha256(data).hexdigest()
    if have != want:
        raise ValueError(
            f"{name} is not the file that was exported (SHA-256 {have[:12]}, {INDEX} says "
            f"{want[:12]})"
        )
    return data
