"""Keys to sign bundles with, and signing: the private half of ``edge.signature``."""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.bundle import Bundle, BundleError, load_bundle
from edge.bundle_index import INDEX, SIGNATURE
from edge.signature import PREFIX, key_text, signature_line
from export.bundle import pack, replace_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class KeyFileError(RuntimeError):
    """A private key that cannot be used; the message names the remedy."""


def make_key(private: Path, public: Path) -> str:
    """Write a new pair as PEM files; the public one as text.  Raises OSError: one is there."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    shown = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    if public.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(public))
    # Nobody else may read it, not even for a moment.
    with open(private, "xb", opener=partial(os.open, mode=0o600)) as file:
        file.write(secret)
    with open(public, "xb") as file:
        file.write(shown)
    return key_text(key.public_key().public_bytes_raw())


def sign(bundle: Bundle, key_file: Path, ask: Callable[[str], str]) -> Bundle:
    """Sign it where it lies, in place of an older signature; the bundle as read back.

    ``ask`` is asked for the passphrase of an encrypted key.  Raises KeyFileError and BundleError.
    """
    key = _read_private(key_file, ask)
    index = bundle.files[INDEX]
    public = key.public_key().public_bytes_raw()
    line = signature_line(public, key.sign(PREFIX + index))
    try:
        if bundle.path.is_dir():
            replace_file(bundle.path / SIGNATURE, line)
        else:
            pack(replace(bundle, files=bundle.files | {SIGNATURE: line}), bundle.path)
    except OSError as e:
        raise BundleError(f"{bundle.path}: {e.strerror}: pack it to where you may write") from e
    return load_bundle(str(bundle.path), [key_text(public)])


def _read_private(path: Path, ask: Callable[[str], str]) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        data, mode = path.read_bytes(), path.stat().st_mode
        try:
            key = load_pem_private_key(data, None)
        except TypeError:
            key = load_pem_private_key(data, ask(f"Passphrase of {path}: ").encode())
    except OSError as e:
        raise KeyFileError(f"{path}: {e.strerror}: make one with sonomyo bundle keygen") from e
    except (ValueError, UnsupportedAlgorithm) as e:
        raise KeyFileError(
            f"{path} is no private key in PEM, or the passphrase is wrong: make one with sonomyo "
            "bundle keygen"
        ) from e
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is no Ed25519 key: make one with sonomyo bundle keygen")
    if stat.S_IMODE(mode) & 0o077:
        raise KeyFileError(f"{path}: others may read this private key: chmod 600 {path}")
    return key
