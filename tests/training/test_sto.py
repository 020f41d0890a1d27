"""OpenSim's tables, and what is no such table."""

import gzip

import pytest

from training.sto import StoError, in_degrees, read_sto

TEXT = "name\nnRows=2\ninDegrees=yes\nendheader\n\ntime\tq\n0 1.5\n0.1 2.5\n"


def test_a_table_is_read_plain_and_gzipped(tmp_path):
    plain, packed = tmp_path / "a.mot", tmp_path / "a.mot.gz"
    plain.write_text(TEXT)
    packed.write_bytes(gzip.compress(TEXT.encode()))
    for path in (plain, packed):
        table = read_sto(path)
        assert table["q"].tolist() == [1.5, 2.5]
        assert table["time"].tolist() == [0.0, 0.1]
        assert in_degrees(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time q\n0 1\n", "no line that says endheader"),
        ("endheader\ntime q\n", "holds no rows"),
        ("endheader\nt q\n0 1\n", "no column time"),
        ("endheader\ntime q\n0 1\n1\n", "row 1 has 1 of 2 values"),
        ("endheader\ntime q\n0 x\n", "could not convert"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, message):
    path = tmp_path / "b.sto"
    path.write_text(text)
    with pytest.raises(StoError, match=message):
        read_sto(path)


def test_a_broken_archive_is_an_error_of_the_same_kind(tmp_path):
    path = tmp_path / "c.sto.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(StoError, match="cannot be read"):
        read_sto(path)
