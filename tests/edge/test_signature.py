"""Who signed a bundle: one line beside it, and keys that are trusted or not."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge.signature import PREFIX, check_signature, key_text, read_key, signature_line, signer

INDEX = b'{"format": 2}'
PRIVATE, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([k]) * 32) for k in (1, 2))
KEY, STRANGER = (key_text(p.public_key().public_bytes_raw()) for p in (PRIVATE, OTHER))


def signed(private=PRIVATE, index=INDEX, prefix=PREFIX):
    return signature_line(private.public_key().public_bytes_raw(), private.sign(prefix + index))


LINE = signed()


def pem(public):
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(encoding, form)


def test_the_line_is_what_the_documentation_says():
    key, signature = LINE.decode().split(" ")
    assert key == "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
    assert len(signature) == 88 + 1
    assert LINE.endswith(b"=\n")
    assert signer(LINE) == KEY


@pytest.mark.parametrize("trusted", [[KEY], [STRANGER, KEY]])
def test_one_trusted_key_is_enough_and_is_named(trusted):
    assert check_signature(LINE, INDEX, trusted) == KEY


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (None, "not signed, but trust.keys asks .*sonomyo bundle sign"),
        (signed(OTHER), "signed by ed25519:.*not in trust.keys: add it"),
        (signed(index=INDEX + b" "), "not of this bundle.json: get the bundle again"),
        (signed(prefix=b""), "not of this bundle.json"),
        (signature_line(PRIVATE.public_key().public_bytes_raw(), bytes(64)), "not of this"),
        (b"", "is not a signature: sign the bundle again"),
        (LINE[:-1], "is not a signature"),
        (LINE + b"\n", "not base64|64 bytes"),
        (LINE + LINE, "not base64"),
        (LINE.replace(b" ", b"  "), "not base64"),
        (b"rsa:" + LINE[8:], "is not a signature"),
        (b"\xff" * 100, "is not a signature"),
    ],
)
def test_anything_else_is_refused_with_what_to_do(line, says):
    with pytest.raises(ValueError, match=says):
        check_signature(line, INDEX, [KEY])


@given(st.integers(0, len(LINE) - 1), st.integers(1, 255))
def test_no_byte_of_the_signature_may_change(at, by):
    changed = LINE[:at] + bytes([LINE[at] ^ by]) + LINE[at + 1 :]
    with pytest.raises(ValueError, match="."):
        check_signature(changed, INDEX, [KEY])


@given(st.integers(0, len(INDEX) - 1), st.integers(1, 255))
def test_no_byte_of_the_index_may_change(at, by):
    changed = INDEX[:at] + bytes([INDEX[at] ^ by]) + INDEX[at + 1 :]
    with pytest.raises(ValueError, match="not of this bundle.json"):
        check_signature(LINE, changed, [KEY])


def test_a_key_is_given_as_text_or_as_a_pem_file(tmp_path):
    raw = PRIVATE.public_key().public_bytes_raw()
    (tmp_path / "key.pem").write_bytes(pem(PRIVATE.public_key()))
    assert read_key(KEY) == raw
    assert read_key(str(tmp_path / "key.pem")) == raw
    assert check_signature(LINE, INDEX, [str(tmp_path / "key.pem")]) == KEY


SECRET = PRIVATE.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\0", pem(ec.generate_private_key(ec.SECP256R1()).public_key()), SECRET,
     pem(PRIVATE.public_key())[:60], b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----"],
    ids=["empty", "binary", "another kind", "private", "torn", "not base64"],
)  # fmt: skip
def test_a_file_that_is_no_public_key_is_refused_by_name(tmp_path, content):
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(ValueError, match=r"trust.keys: .*key.pem' is no PEM file of an Ed25519"):
        read_key(str(tmp_path / "key.pem"))


@pytest.mark.parametrize("text", ["", "no/such.pem", "a\0b", "ed25519:", "ed25519:AAAA", KEY + "="])
def test_a_setting_that_is_no_key_is_refused_by_name(text):
    with pytest.raises(ValueError, match="trust.keys: "):
        read_key(text)


def test_a_wrong_key_in_the_configuration_is_an_error_even_beside_a_right_one():
    with pytest.raises(ValueError, match="trust.keys: 'no.pem': No such file"):
        check_signature(LINE, INDEX, [KEY, "no.pem"])
