"""``bundle.sig``: who vouches for a bundle.  Ed25519 over ``bundle.json``, which has every hash.

One line, ``ed25519:<public key> <signature>``, both in base64; signed is PREFIX and then the bytes
of ``bundle.json``.  A key to trust is written ``ed25519:<base64>``, or as the path of a PEM file.
Checked only where keys are configured: ``cryptography`` loads only then.
"""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

PREFIX = b"sonomyo-bundle\n"  # nothing else that is signed begins so
KIND = "ed25519:"
MAX_BYTES = 1024

_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_DER = bytes.fromhex("302a300506032b6570032100")  # of an Ed25519 public key, before its 32 bytes
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


def signature_line(key: bytes, signature: bytes) -> bytes:
    """What stands in ``bundle.sig``."""
    return f"{key_text(key)} {_base64(signature)}\n".encode()


def key_text(key: bytes) -> str:
    """A public key as it is written in a configuration."""
    return KIND + _base64(key)


def check_signature(line: bytes | None, index: bytes, trusted: Sequence[str]) -> str:
    """The key, as text, of those in ``trusted`` that signed ``index``.  ValueError: none did.

    ``line`` is the content of ``bundle.sig``, None if there is none.
    """
    keys = [read_key(text) for text in trusted]
    if line is None:
        raise ValueError(
            "not signed, but trust.keys asks for a signature: get the signed bundle, or sign it "
            "with a key that is trusted (sonomyo bundle sign)"
        )
    key, signature = _parse(line)
    if key not in keys:
        raise ValueError(
            f"signed by {key_text(key)}, which is not in trust.keys: add it there if you know "
            "whose it is, else do not use this bundle"
        )
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, PREFIX + index)
    except InvalidSignature as e:
        raise ValueError(
            "the signature is not of this bundle.json: get the bundle again from who signed it"
        ) from e
    return key_text(key)


def signer(line: bytes) -> str:
    """The key that ``bundle.sig`` itself names.  Raises ValueError: it is none."""
    return key_text(_parse(line)[0])


def read_key(text: str) -> bytes:
    """32 bytes of a public key from ``ed25519:<base64>`` or a PEM file.  Raises ValueError."""
    if text.startswith(KIND):
        return _decoded(text[len(KIND) :], _KEY_BYTES, f"trust.keys: {text[:80]!r}")
    try:
        with Path(text).open("rb") as file:
            pem = file.read(MAX_BYTES).decode("ascii", "replace").strip()
    except (OSError, ValueError) as e:
        raise ValueError(
            f"trust.keys: {text!r}: {getattr(e, 'strerror', e)}: name a PEM file of a public key, "
            f"or write {KIND}BASE64"
        ) from e
    body = "".join(pem.removeprefix(_BEGIN).removesuffix(_END).split())
    what = f"trust.keys: {text!r} is no PEM file of an Ed25519 public key"
    if not (pem.startswith(_BEGIN) and pem.endswith(_END)):
        raise ValueError(f"{what}: make one with sonomyo bundle keygen")
    der = _decoded(body, len(_DER) + _KEY_BYTES, what)
    if not der.startswith(_DER):
        raise ValueError(f"{what}: make one with sonomyo bundle keygen")
    return der[len(_DER) :]


def _parse(line: bytes) -> tuple[bytes, bytes]:
    what = "bundle.sig is not a signature"
    key, gap, signature = line.decode("ascii", "replace").partition(" ")
    if not (key.startswith(KIND) and gap and signature.endswith("\n")):
        raise ValueError(f"{what}: sign the bundle again")
    return (
        _decoded(key[len(KIND) :], _KEY_BYTES, what),
        _decoded(signature[:-1], _SIGNATURE_BYTES, what),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str, size: int, what: str) -> bytes:
    """Base64 in its one proper spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as e:
        raise ValueError(f"{what}: not base64") from e
    if len(data) != size or _base64(data) != text:
        raise ValueError(f"{what}: not the {size} bytes that belong there")
    return data
