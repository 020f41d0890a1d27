"""Headers and answers: byte for byte, and against the C struct of the document."""

import re
import shutil
import subprocess
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.probes import wire
from firmware_bridge.probes.wire import Capability, Info, Range, Raster, State, Status
from firmware_bridge.types import Geometry

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
LINES, SAMPLES = st.integers(1, 2**11), st.integers(1, 2**12)  # at most 16 MiB
RASTERS = st.builds(Raster, LINES, SAMPLES, st.sampled_from([1, 2]), U32, U32, U32, U32)
DOCUMENT = Path(__file__).parents[3] / "docs" / "usb-protocol.md"


@settings(deadline=None)
@given(RASTERS, U32, U64, U16, U32)
def test_a_header_says_what_was_put_in(raster, counter, device_us, flags, payload_crc):
    data = wire.encode_header(raster, counter, device_us, flags, payload_crc)
    header = wire.decode_header(memoryview(data))
    assert len(data) == 64
    assert header == (flags, counter, device_us, raster, header.crc)
    assert header.frame_bytes == 64 + raster.lines * raster.samples * raster.format


def test_the_crc_is_that_of_the_payload_then_of_the_first_60_bytes():
    raster, payload = Raster(2, 3, 1, 1, 1, 0, 0), b"echoes"
    data = wire.encode_header(raster, 7, 8, 0, crc32(payload)) + payload
    assert int.from_bytes(data[60:64], "little") == crc32(payload + data[:60])


@settings(deadline=None)
@given(st.integers(0, (64 + 6) * 8 - 1))
def test_no_flipped_bit_goes_unnoticed(bit):
    raster, payload = Raster(2, 3, 1, 1, 1, 0, 0), b"echoes"
    data = bytearray(wire.encode_header(raster, 7, 8, 0, crc32(payload)) + payload)
    data[bit // 8] ^= 1 << bit % 8
    header = wire.decode_header(memoryview(data))
    assert header is None or not wire.intact(memoryview(data), header.crc)


@pytest.mark.parametrize(("at", "value"), [(0, ord("X")), (4, 2), (5, 68), (28, 3)])
def test_a_header_of_another_protocol_is_none_even_with_a_good_checksum(at, value):
    data = bytearray(wire.encode_header(Raster(2, 3, 1, 1, 1, 0, 0), 7, 8, 0, 0))
    data[at] = value
    assert (
        wire.decode_header(memoryview(data[:60] + crc32(data[:60]).to_bytes(4, "little"))) is None
    )


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_behind_the_magic_are_a_header_or_not_but_never_an_error(tail):
    header = wire.decode_header(memoryview(b"SMYF\x01\x40" + tail))
    assert header is None or header.frame_bytes > 64


def test_the_struct_of_the_document_reads_our_bytes(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    struct = re.search(r"```c\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    fields = (
        "flags counter payload_bytes device_us lines samples format dz_nm dx_nm depth0_nm tx_hz"
    )
    prints = "".join(f'printf("%llu ", (unsigned long long)f.{name});' for name in fields.split())
    (tmp_path / "read.c").write_text(
        f"#include <stdio.h>\n{struct[1]}\nint main(void) {{ struct smy_frame f;"
        f"if (fread(&f, sizeof f, 1, stdin) != 1) return 1; {prints} return 0; }}"
    )
    program = tmp_path / "read"
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *strict, tmp_path / "read.c", "-o", program], check=True)
    data = wire.encode_header(Raster(3, 5, 2, 11, 12, 13, 14), 2**32 - 1, 2**63, 1, 0)
    said = subprocess.run([program], input=data, stdout=subprocess.PIPE, check=True).stdout.split()
    assert list(map(int, said)) == [1, 2**32 - 1, 30, 2**63, 3, 5, 2, 11, 12, 13, 14]


@settings(deadline=None)
@given(RASTERS, st.lists(U16, min_size=6, max_size=6), st.lists(U16, min_size=3, max_size=3))
def test_info_says_what_was_put_in(raster, unsigned, signed):
    gain = Range(*(value - 2**15 for value in signed))
    info = Info(
        raster,
        Capability.DEPTH | Capability.HV,
        State.STREAMING,
        depth=Range(*unsigned[:3]),
        gain=gain,
        rate=Range(*unsigned[3:]),
    )
    assert wire.decode_info(wire.encode_info(info)) == info
    assert len(wire.encode_info(info)) == 64


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, ord("X"), "no probe information"),
        (4, 2, "version 2"),
        (20, 9, "impossible raster"),
        (16, 0, "impossible raster"),
    ],
)
def test_info_of_something_else_is_refused(at, value, why):
    nothing = Range(0, 0, 0)
    raster = Raster(2, 3, 1, 1, 1, 0, 0)
    data = bytearray(
        wire.encode_info(Info(raster, Capability(0), State(0), nothing, nothing, nothing))
    )
    data[at] = value
    with pytest.raises(ValueError, match=why):
        wire.decode_info(bytes(data))


@pytest.mark.parametrize("decode", [wire.decode_info, wire.decode_status])
def test_a_short_answer_is_refused(decode):
    with pytest.raises(ValueError, match="SMYI|STATUS"):
        decode(b"SMYI\x01\x00")


@settings(deadline=None)
@given(U32, U32, U32, U32, U64)
def test_status_says_what_was_put_in(made, sent, lost, state, device_us):
    status = Status(made, sent, lost, state, device_us)
    assert wire.decode_status(wire.encode_status(status)) == status
    assert len(wire.encode_status(status)) == 32


def test_a_geometry_survives_to_the_nanometre():
    for geometry in (
        Geometry("bmode", 180, 287, dz_mm=0.1766, dx_mm=0.3532, depth0_mm=1.5, tx_hz=6.5e6),
        Geometry("rf", 1, 400, dz_mm=0.09625, dx_mm=0.0),
    ):
        assert wire.geometry_of(wire.raster_of(geometry)) == geometry
