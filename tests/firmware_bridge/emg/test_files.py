import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.record import SessionWriter
from firmware_bridge.emg.files import read_recording
from firmware_bridge.types import Chunk, DeviceError


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
@pytest.mark.parametrize("header", [True, False])
def test_csv_in_its_dialects(tmp_path, delimiter, header):
    lines = [delimiter.join(["TA", '"MG"'])] if header else []
    lines += [delimiter.join([f"{i}.5", f"-{i}e-1"]) for i in range(4)]
    text = "\ufeff# a comment\n\n" + "\r\n".join(lines) + "\n"
    recording = read_recording(written(tmp_path / "a.csv", text))
    np.testing.assert_allclose(recording.data, [[i + 0.5, -i / 10] for i in range(4)])
    assert recording.channels == (("TA", "MG") if header else ("emg0", "emg1"))
    assert recording.index.tolist() == [0, 1, 2, 3]
    assert (recording.fs_hz, recording.unit) == (0.0, "")


def test_an_empty_csv_field_is_nan(tmp_path):
    recording = read_recording(written(tmp_path / "a.csv", "TA,MG\n1,\n,2\n"))
    np.testing.assert_array_equal(recording.data, [[1, np.nan], [np.nan, 2]])


def test_gzip_is_opened(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"TA\n1\n2\n"))
    assert read_recording(path).data.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("text", "time"), [("time_s,TA\n{}", ""), ("TA,clock\n{}", "clock"), ("{}", "0")]
)
def test_a_time_column_gives_rate_and_gaps(tmp_path, text, time):
    times = np.delete(np.arange(200) / 500.0, slice(50, 73))
    swap = text.startswith("TA")
    rows = [f"7,{t:.3f}" if swap else f"{t:.3f},7" for t in times]
    recording = read_recording(written(tmp_path / "a.csv", text.format("\n".join(rows))), time)
    assert recording.fs_hz == pytest.approx(500.0)
    assert recording.data.tolist() == [[7.0]] * 177
    assert recording.index.tolist() == [*range(50), *range(73, 200)]


@given(
    fs_hz=st.sampled_from([100.0, 333.0, 1000.0, 1925.926, 2148.1481]),
    keep=st.lists(st.booleans(), min_size=40, max_size=120),
    start_s=st.floats(0, 1e5),
)
def test_sample_numbers_come_back_from_times_with_any_gaps(tmp_path_factory, fs_hz, keep, start_s):
    index = np.flatnonzero([True, *keep, *[True] * (3 * len(keep))])
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    np.savez(path, data=np.zeros((len(index), 1)), t_s=start_s + index / fs_hz)
    recording = read_recording(path)
    assert recording.index.tolist() == index.tolist()
    assert recording.fs_hz == pytest.approx(fs_hz, rel=1e-5)


def test_npz_with_all_keys_and_with_the_fewest(tmp_path):
    data = np.arange(6.0).reshape(3, 2)
    np.savez(tmp_path / "all.npz", data=data, fs_hz=1000, channels=["TA", "MG"], unit="mV")
    recording = read_recording(tmp_path / "all.npz")
    np.testing.assert_array_equal(recording.data, data)
    assert (recording.fs_hz, recording.channels, recording.unit) == (1000.0, ("TA", "MG"), "mV")
    np.savez(tmp_path / "few.npz", data=data[:, 0])
    recording = read_recording(tmp_path / "few.npz")
    assert recording.data.tolist() == [[0.0], [2.0], [4.0]]
    assert (recording.fs_hz, recording.channels, recording.unit) == (0.0, ("emg0",), "")


@pytest.mark.parametrize("kind", ["edf", "bdf"])
def test_edf_and_bdf_keep_their_voltages_in_microvolts(tmp_path, kind):
    pyedflib = pytest.importorskip("pyedflib")
    path = tmp_path / f"a.{kind}"
    wave = np.sin(np.arange(500) / 9.0)
    sorts = [
        ("TA", "uV", 250, 900.0),
        ("knee", "deg", 250, 1),
        ("MG", "mV", 250, 0.9),
        ("x", "V", 50, 1),
    ]
    file_type = pyedflib.FILETYPE_BDFPLUS if kind == "bdf" else pyedflib.FILETYPE_EDFPLUS
    with pyedflib.EdfWriter(str(path), len(sorts), file_type=file_type) as file:
        limits = {"digital_max": 32767, "digital_min": -32768}
        for i, (label, unit, fs_hz, _) in enumerate(sorts):
            rest = {"sample_frequency": fs_hz, "physical_max": 1000.0, "physical_min": -1000.0}
            file.setSignalHeader(
                i,
                {
                    "label": label,
                    "dimension": unit,
                    **limits,
                    **rest,
                    "transducer": "",
                    "prefilter": "",
                },
            )
        file.writeSamples([wave[: 2 * fs_hz] * size for _, _, fs_hz, size in sorts])
    recording = read_recording(path)
    assert (recording.fs_hz, recording.channels, recording.unit) == (250.0, ("TA", "MG"), "uV")
    np.testing.assert_allclose(recording.data[:, 0], 900 * wave, atol=0.05)
    np.testing.assert_allclose(recording.data[:, 1], 900 * wave, atol=50)  # 0.03 mV a digit


def test_our_own_recordings_keep_their_gaps(tmp_path):
    path = tmp_path / "session.mcap"
    writer = SessionWriter(path, {}, emg=(2000.0, ("TA", "MG")), min_free_bytes=0)
    data = np.arange(12, dtype=np.float32).reshape(6, 2)
    writer.chunk(Chunk(10, 100, 2000.0, data[:4]))
    writer.chunk(Chunk(20, 109, 2000.0, data[4:]))
    writer.close()
    recording = read_recording(path)
    assert recording.index.tolist() == [0, 1, 2, 3, 9, 10]
    np.testing.assert_array_equal(recording.data, data)
    assert (recording.fs_hz, recording.channels, recording.unit) == (2000.0, ("TA", "MG"), "uV")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"TA,MG\n", "a header and no samples"),
        ("a.csv", b"TA,MG\n1,2\n3\n", "row|column"),
        ("a.csv", b"TA\n1\nx\n", "x"),
        ("a.csv", b"\xff\xfe\x00\x01", "utf-8"),
        ("a.csv", b"time,TA\n1,2\n1,2\n", "do not rise"),
        ("a.csv.gz", b"not gzip", "gzip"),
        ("a.npz", b"PK\x03\x04 torn", "zip"),
        ("a.edf", b"0       torn", "EDF|read|file"),
        ("a.mcap", b"torn", "no recording"),
    ],
)
def test_a_file_that_cannot_be_played_is_refused_by_name(tmp_path, name, content, complaint):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DeviceError, match=complaint) as refused:
        read_recording(path)
    assert str(path) in str(refused.value)


def test_npz_refuses_pickles_and_parts_that_do_not_fit(tmp_path):
    np.savez(tmp_path / "a.npz", data=np.array([object()], dtype=object))
    with pytest.raises(DeviceError, match="allow_pickle"):
        read_recording(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", data=np.zeros((5, 2)), channels=["TA"])
    with pytest.raises(DeviceError, match="do not fit"):
        read_recording(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", other=np.zeros(3))
    with pytest.raises(DeviceError, match="data"):
        read_recording(tmp_path / "c.npz")
    with pytest.raises(DeviceError, match="no such recording"):
        read_recording(tmp_path / "d.npz")
    written(tmp_path / "e.csv", "TA\n1\n")
    with pytest.raises(DeviceError, match="no column 'clock'"):
        read_recording(tmp_path / "e.csv", "clock")


@pytest.mark.parametrize(
    ("file", "shape", "fs_hz", "last"),
    [
        ("gait_emg_raw_13ch/emg.csv", 13, 1000.0, "SO"),
        ("emg_single_channel/biosppy_emg.txt", 1, 0.0, "emg0"),
        ("leg_emg_knee_angle/N01_gait.csv.gz", 5, 0.0, "Flexo-Extension"),
    ],
)
def test_real_recordings(file, shape, fs_hz, last):
    folder = os.environ.get("SONOMYO_DATA")
    if not folder:
        pytest.skip("SONOMYO_DATA is not set")
    recording = read_recording(Path(folder) / file)
    assert recording.data.shape[1] == shape
    assert np.isfinite(recording.data).all()
    assert recording.fs_hz == pytest.approx(fs_hz)
    assert recording.channels[-1] == last
    assert recording.index[-1] == len(recording.index) - 1
