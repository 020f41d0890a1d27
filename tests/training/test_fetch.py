import gzip
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from training.convert import MG_ARRAYS, arrays_sha256, pixels_sha256
from training.datasets import DataSet, File, data_set, intact, locate
from training.fetch import FetchError, fetch

DATA = os.environ.get("SONOMYO_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SONOMYO_DATA is not set")
COMMIT = "some/where/" + "0" * 40 + "/"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def made_up(upstream, *names, body=b"time,emg\n0,1\n"):
    """A set of plain and packed text files that ``upstream`` has, with a blank in their path."""
    files = []
    for name in names:
        how = "gzip" if name.endswith(".gz") else "copy"
        source = f"{COMMIT}a folder/{name.removesuffix('.gz')}"
        content = name.encode() + body
        upstream.files[source] = content
        files.append(File(name, how, source, len(content), sha256(content), sha256(content)))
    return DataSet("made_up", "Made up", "nowhere", "CC0 1.0", "Nobody", tuple(files))


def names(fetched):
    return [f.path for f in fetched]


def test_files_are_laid_out_as_registered_and_packed_where_registered(upstream, tmp_path):
    one = made_up(upstream, "a.csv", "deep/b.csv.gz")
    assert names(fetch(one, folder=tmp_path, base=upstream.base)) == ["a.csv", "deep/b.csv.gz"]
    home = tmp_path / "made_up"
    assert (home / "a.csv").read_bytes() == b"a.csvtime,emg\n0,1\n"
    assert gzip.decompress((home / "deep/b.csv.gz").read_bytes()).startswith(b"deep/b.csv.gztime")
    assert "CC0 1.0" in (home / "ATTRIBUTION.txt").read_text()
    left = {p.name for p in home.rglob("*") if p.is_file()}
    assert left == {"a.csv", "b.csv.gz", "ATTRIBUTION.txt"}


def test_what_is_there_is_not_fetched_again(upstream, tmp_path):
    one = made_up(upstream, "a.csv", "b.csv.gz")
    list(fetch(one, folder=tmp_path, base=upstream.base))
    (tmp_path / "made_up" / "a.csv").write_text("damaged")
    upstream.asked.clear()
    assert names(fetch(one, folder=tmp_path, base=upstream.base)) == ["a.csv", "b.csv.gz"]
    assert upstream.asked == [one.files[0].source]
    assert intact(tmp_path / "made_up" / "a.csv", one.files[0])


def test_a_broken_connection_leaves_no_half_file_and_the_next_call_goes_on(upstream, tmp_path):
    one = made_up(upstream, "a.csv", "b.csv", "c.csv", body=b"1" * 100_000)
    upstream.cut.add(one.files[1].source)
    with pytest.raises(FetchError, match="b.csv"):
        list(fetch(one, folder=tmp_path, base=upstream.base))
    assert {p.name for p in (tmp_path / "made_up").iterdir()} == {"ATTRIBUTION.txt", "a.csv"}
    upstream.cut.clear()
    upstream.asked.clear()
    assert names(fetch(one, folder=tmp_path, base=upstream.base)) == ["a.csv", "b.csv", "c.csv"]
    assert upstream.asked == [f.source for f in one.files[1:]]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_changed_content_is_refused_and_not_kept(name, upstream, tmp_path):
    one = made_up(upstream, name)
    upstream.files[one.files[0].source] += b"more"
    with pytest.raises(FetchError, match=r"hash of downloaded file"):
        list(fetch(one, folder=tmp_path, base=upstream.base))
    assert not (tmp_path / "made_up" / name).exists()


def test_an_absent_file_names_its_address(upstream, tmp_path):
    one = made_up(upstream, "a.csv")
    upstream.files.clear()
    with pytest.raises(FetchError, match=r"a%20folder/a\.csv: 404"):
        list(fetch(one, folder=tmp_path, base=upstream.base))


def test_a_silent_server_is_given_up(upstream, tmp_path):
    one = made_up(upstream, "a.csv")
    upstream.silent.set()
    with pytest.raises(FetchError, match="timed out"):
        list(fetch(one, folder=tmp_path, base=upstream.base, timeout_s=0.2))


def test_no_network_is_an_error_that_names_the_other_way(upstream, tmp_path):
    one = made_up(upstream, "a.csv")
    upstream.close()
    with pytest.raises(FetchError, match=r"a\.csv: .*refused.*SONOMYO_DATA"):
        list(fetch(one, folder=tmp_path, base=upstream.base, timeout_s=1))


def test_an_image_is_recoded_without_touching_a_pixel(upstream, tmp_path):
    import cv2

    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    content = pixels_sha256(cv2.imencode(".png", grey)[1].tobytes())
    file = File("x.png", "png", COMMIT + "x.tif", 1, "", content)
    one = DataSet("made_up", "", "", "", "", (file,))
    for stored in (grey, np.repeat(grey[..., None], 3, axis=2)):  # three equal channels are one
        upstream.files[file.source] = cv2.imencode(".tif", stored)[1].tobytes()
        list(fetch(one, folder=tmp_path, base=upstream.base))
        target = tmp_path / "made_up" / "x.png"
        assert (cv2.imread(str(target), cv2.IMREAD_UNCHANGED) == grey).all()
        target.unlink()
    upstream.files[file.source] = cv2.imencode(".tif", 255 - grey)[1].tobytes()
    with pytest.raises(FetchError, match="not as recorded"):
        list(fetch(one, folder=tmp_path, base=upstream.base))


def clip_arrays(seed):
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=50) for name in MG_ARRAYS}
    arrays["frame_sample"] = np.arange(0, 50, 2)
    return arrays


def clip_struct(arrays):
    """One clip as the authors store it: columns, 1-based frames, markers and other channels."""
    return {
        "time": arrays["time"][:, None],
        "frameInds": (arrays["frame_sample"] + 1.0)[None],
        "TOR": arrays["torque_nm"][:, None],
        "EMPTY": np.zeros((0, 0)),
        "P1": np.ones((50, 3)),
        "speed": arrays["velocity_deg_s"][:, None],
        "POS": arrays["angle_deg"][:, None],
        "note": "text",
    }


def write_mat5(path, clips):
    scipy.io.savemat(path, {"clips": clips})


def write_mat73(path, clips):
    import h5py

    with h5py.File(path, "w", userblock_size=512) as f:
        for trial, pushes in clips.items():
            for push, fields in pushes.items():
                for name, value in fields.items():
                    f[f"clips/{trial}/{push}/{name}"] = (
                        value if isinstance(value, str) else np.asarray(value).T
                    )


@pytest.mark.parametrize("write", [write_mat5, write_mat73])
def test_clips_of_one_matlab_file_are_split_and_it_is_fetched_once(write, upstream, tmp_path):
    truth = {f"p6_slow_01_push_0{k}": clip_arrays(k) for k in (1, 2)}
    pushes = {name[-7:]: clip_struct(arrays) for name, arrays in truth.items()}
    write(tmp_path / "push_data.mat", {"p6_slow_01": pushes})
    source = COMMIT + "push_data.mat"
    upstream.files[source] = (tmp_path / "push_data.mat").read_bytes()
    files = [File(f"{n}.npz", "mg_signals", source, 1, "", arrays_sha256(truth[n])) for n in truth]
    one = DataSet("made_up", "", "", "", "", tuple(files))

    list(fetch(one, folder=tmp_path, base=upstream.base))
    assert upstream.asked == [source]
    for name, arrays in truth.items():
        with np.load(tmp_path / "made_up" / f"{name}.npz") as got:
            assert set(got) == set(MG_ARRAYS)
            for key in MG_ARRAYS:
                np.testing.assert_array_equal(got[key], arrays[key])

    other = replace(files[0], path="p6_slow_01_push_03.npz")  # a clip that is not in the file
    wrong = replace(files[0], path="p6_slow_01_push_02.npz")  # one that has other numbers
    for bad, said in ((other, "no clip p6_slow_01.push_03"), (wrong, "not as recorded")):
        with pytest.raises(FetchError, match=said):
            list(fetch(one, [bad], folder=tmp_path / "bad", base=upstream.base))


@pytest.mark.parametrize("keep", [0, 100, 600, 3000])
def test_a_torn_matlab_file_is_refused(keep, upstream, tmp_path):
    write_mat5(tmp_path / "x.mat", {"p6_slow_01": {"push_01": clip_struct(clip_arrays(1))}})
    source = COMMIT + "x.mat"
    upstream.files[source] = (tmp_path / "x.mat").read_bytes()[:keep]
    file = File("p6_slow_01_push_01.npz", "mg_signals", source, 1, "", "0" * 64)
    one = DataSet("made_up", "", "", "", "", (file,))
    with pytest.raises(FetchError, match="SONOMYO_DATA"):
        list(fetch(one, folder=tmp_path, base=upstream.base))


@needs_data
def test_real_recordings_come_through_the_registry_whole(upstream, cache):
    """The local copies, served under the paths of their repositories."""
    wanted = {
        "emg_torque_fascicle_ta": ["signals/Pas_-10.mat", "fascicles/PL_50_02.mat"],
        "leg_emg_knee_angle": ["N02_gait.csv.gz"],
        "lift_back_emg_ik_id": ["squat5kg/ik.sto.gz"],
        "us_masks_dltrack": ["images/apo_00001.png", "masks/fasc_00265.png"],
        "us_mg_dynamometer": ["video/p6_isokinetic500_01_push_03.mp4"],
    }
    for name, paths in wanted.items():
        one = data_set(name)
        files = [f for f in one.files if f.path in paths]
        for f in files:
            data = (Path(DATA) / name / f.path).read_bytes()
            upstream.files[f.source] = gzip.decompress(data) if f.how == "gzip" else data
        assert names(fetch(one, files, base=upstream.base)) == [f.path for f in files]
        for f in files:
            assert locate(name, f.path).is_relative_to(cache)
            assert intact(cache / name / f.path, f)


@needs_data
def test_the_digest_of_real_clips_needs_no_field_but_ours(upstream, tmp_path):
    one = data_set("us_mg_dynamometer")
    files = [f for f in one.files if f.path.endswith("isokinetic500_01_push_03.npz")]
    with np.load(Path(DATA) / one.name / files[0].path) as arrays:
        clips = {"p6_isokinetic500_01": {"push_03": clip_struct(arrays)}}
        write_mat5(tmp_path / "x.mat", clips)
    upstream.files[files[0].source] = (tmp_path / "x.mat").read_bytes()
    assert names(fetch(one, files, folder=tmp_path, base=upstream.base)) == [files[0].path]
