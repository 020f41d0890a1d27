"""Archives made to do harm, byte by byte: each is refused, and nothing is ever written."""

import io
import stat
import struct
import warnings
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import unzip as unzip_module
from edge.unzip import MAX_BYTES, MAX_MEMBERS, unzip

FILES = {"bundle.json": b"{}", "model.onnx": bytes(range(256)) * 8, "CARD.md": b"card\n" * 99}


def member(name="a", mode=0o644, kind=stat.S_IFREG):
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | mode) << 16
    return info


def archive(members, packing=zipfile.ZIP_DEFLATED):
    """Bytes of a zip of (name or ZipInfo, content)."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", packing) as z:
        warnings.simplefilter("ignore")  # duplicate names
        for name, content in members:
            z.writestr(name, content, packing)
    return file.getvalue()


def patched(data, mark, offset, form, value):
    """With one number changed, so far behind the first ``mark``."""
    at = data.index(mark) + offset
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


GOOD = archive(FILES.items())
LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_gives_back_what_was_packed(packing):
    assert unzip(archive(FILES.items(), packing)) == FILES


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd", "../outside", "a/../../b", "folder/file", "folder/", "..\\outside", "C:file",
        "\\\\host\\share", ".", "..", ".hidden", "a b", "a\nb", "caf\xe9", "trailing.", "a" * 65,
        "a\0.onnx",
    ],
)  # fmt: skip
def test_a_member_whose_name_is_not_plain_is_refused(name):
    data = archive([(name.replace("\0", "!"), b"x")])
    with pytest.raises(ValueError, match="only plain file names|malformed|not a whole"):
        unzip(data.replace(b"a!.onnx", b"a\0.onnx"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_a_device_is_refused(kind):
    with pytest.raises(ValueError, match="a is a link or a device"):
        unzip(archive([(member(kind=kind), b"/etc/passwd")]))


@pytest.mark.parametrize("names", [("a", "a"), ("model.onnx", "MODEL.onnx")])
def test_two_members_of_one_name_are_refused(names):
    with pytest.raises(ValueError, match="two members of one name"):
        unzip(archive([(n, b"x") for n in names]))


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings_are_refused(packing):
    with pytest.raises(ValueError, match="neither stored nor deflated"):
        unzip(archive([("a", b"x" * 99)], packing))


def test_an_encrypted_member_is_refused():
    with pytest.raises(ValueError, match="encrypted"):
        unzip(patched(GOOD, CENTRAL, 8, "<H", 1))


def test_a_bomb_is_refused_by_what_it_says_of_itself():
    with pytest.raises(ValueError, match="bytes that unpacks to 33554432"):
        unzip(archive([("zeros", bytes(32 << 20))]))
    with pytest.raises(ValueError, match=f"{MAX_BYTES // 2} are allowed"):
        unzip(patched(GOOD, CENTRAL, 24, "<L", 0xFFFF_FFFE))


def test_a_bomb_that_lies_about_its_size_gives_no_more_than_it_said():
    lying = patched(archive([("zeros", bytes(32 << 20))]), CENTRAL, 24, "<L", 1000)
    with pytest.raises(ValueError, match="CRC"):
        unzip(lying)


def test_no_single_member_may_have_more_than_half(monkeypatch):
    monkeypatch.setattr(unzip_module, "MAX_BYTES", 1000)
    assert unzip(archive([("a", bytes(500)), ("b", bytes(500))]))
    with pytest.raises(ValueError, match="a has 501 bytes; 500 are allowed"):
        unzip(archive([("a", bytes(501))]))
    with pytest.raises(ValueError, match="unpacks to 1001"):
        unzip(archive([("a", bytes(500)), ("b", bytes(500)), ("c", b"x")]))


def test_many_members_are_refused_before_they_are_listed():
    many = archive([(f"f{k}", b"") for k in range(MAX_MEMBERS + 1)])
    with pytest.raises(ValueError, match=f"an archive of {MAX_MEMBERS + 1} members"):
        unzip(many)
    with pytest.raises(ValueError, match="65 members that says 1"):
        unzip(patched(patched(many, END, 8, "<H", 1), END, 10, "<H", 1))
    padded = archive([(f"f{k}" + "x" * 60000, b"") for k in range(2)])
    with pytest.raises(ValueError, match="an archive of 2 members"):
        unzip(padded)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"PK", GOOD[:-1], GOOD[1:], b"#!/bin/sh\n" + GOOD, GOOD + b"\n", GOOD + GOOD,
        b"PK\3\4" + GOOD, patched(GOOD, END, 20, "<H", 5), patched(GOOD, END, 4, "<H", 1),
        patched(GOOD, END, 16, "<L", 0), b"\x80\4K\1.", b"{}" * 20,
    ],
)  # fmt: skip
def test_what_is_no_zip_from_its_first_byte_to_its_last_is_refused(data):
    with pytest.raises(ValueError, match="zip archive|other data"):
        unzip(data)


@pytest.mark.parametrize("at", range(0, len(GOOD), 7))
def test_a_torn_archive_is_refused_wherever_it_was_torn(at):
    with pytest.raises(ValueError, match="zip archive|other data|members"):
        unzip(GOOD[:at])


def test_a_local_header_that_names_another_file_is_refused():
    with pytest.raises(ValueError, match="differ"):
        unzip(GOOD.replace(b"bundle.json", b"bundle.jsoN", 1))


@given(st.data())
@settings(max_examples=1000)
def test_whatever_is_changed_it_gives_plain_names_within_the_limits_or_a_value_error(data):
    mutated = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        # Mostly in the headers: in the packed bytes the CRC finds everything.
        start = data.draw(st.sampled_from([0, GOOD.index(CENTRAL), GOOD.index(END)]))
        at = data.draw(st.integers(start, len(mutated) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=8) | st.just(b"\xff\xff\xff\xff"))
        mutated[at : at + len(piece)] = piece
    try:
        found = unzip(bytes(mutated))
    except ValueError:
        return
    assert all(unzip_module.plain_name(name) for name in found)
    assert sum(map(len, found.values())) <= len(mutated) * unzip_module.MAX_RATIO + (16 << 20)
