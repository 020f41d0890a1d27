import os
import re
from pathlib import Path

import pytest

from training import data_command
from training.datasets import DataMissing, data_set, data_sets, find, intact, locate
from training.splits import MG_DEMO, MG_EVAL, MG_TRAIN, TA_DEMO, TA_EVAL, TA_TRAIN

DATA = os.environ.get("SONOMYO_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SONOMYO_DATA is not set")


def run(*words):
    import argparse

    parser = argparse.ArgumentParser()
    data_command.add_args(parser)
    return data_command.main(parser.parse_args(words))


@pytest.mark.parametrize("name", data_sets())
def test_every_set_says_where_it_is_from_and_what_its_licence_asks(name):
    one = data_set(name)
    assert one.title
    assert re.search(r" at [0-9a-f]{8}", one.source)
    assert re.search(r"CC BY|CC0|Apache-2.0|MIT|BSD", one.licence)
    assert len(one.attribution) > 40


@pytest.mark.parametrize("name", data_sets())
def test_every_row_of_the_registry_can_be_used(name):
    files = data_set(name).files
    assert len({f.path for f in files}) == len(files) > 0
    for f in files:
        assert f.how in ("copy", "gzip", "png", "mg_signals", "")
        assert not Path(f.path).is_absolute()
        assert ".." not in f.path
        assert f.size > 0
        assert re.fullmatch(r"[0-9a-f]{64}", f.sha256)
        if f.how:  # a fixed commit: a branch would change under our digests
            assert re.fullmatch(r"[\w.-]+/[\w.-]+/[0-9a-f]{40}/.+", f.source)
            assert re.fullmatch(r"[0-9a-f]{64}", f.sha256_content)
        assert (f.how == "copy") == (f.sha256 == f.sha256_content)
        assert (f.how == "gzip") <= f.path.endswith(".gz")


def test_addresses_are_percent_encoded():
    (file,) = [f for f in data_set("leg_emg_knee_angle").files if f.path == "N05_sitting.csv.gz"]
    assert file.url().startswith("https://raw.githubusercontent.com/LE0920E/EMG-dataset-in-Lower-")
    assert file.url().endswith("/gaits_data/normal/5Nsitting%20-%20Sheet1.csv")


def test_what_the_demo_and_the_models_need_is_downloadable():
    for name in ("us_mg_dynamometer", "emg_torque_fascicle_ta", "leg_emg_knee_angle"):
        data = re.compile(r"(video|signals|fascicles)/|N\d\d_")
        assert all(f.how for f in data_set(name).files if data.match(f.path))


def test_the_folder_of_the_user_goes_before_the_cache(monkeypatch, cache, tmp_path):
    mine = tmp_path / "mine"
    for place in (cache, mine):
        (place / "arm26_reference").mkdir(parents=True)
        (place / "arm26_reference" / "arm26.osim").write_text("model")
    assert locate("arm26_reference", "arm26.osim") == cache / "arm26_reference/arm26.osim"
    monkeypatch.setenv("SONOMYO_DATA", str(mine))
    assert locate("arm26_reference", "arm26.osim") == mine / "arm26_reference/arm26.osim"
    (mine / "arm26_reference" / "arm26.osim").unlink()
    assert locate("arm26_reference", "arm26.osim") == cache / "arm26_reference/arm26.osim"


def test_a_packed_file_is_found_by_its_plain_name(cache):
    (cache / "leg_emg_knee_angle").mkdir(parents=True)
    packed = cache / "leg_emg_knee_angle" / "N01_gait.csv.gz"
    packed.touch()
    assert locate("leg_emg_knee_angle", "N01_gait.csv") == packed


@pytest.mark.usefixtures("cache")
def test_a_missing_recording_names_both_remedies():
    with pytest.raises(DataMissing, match=r"set SONOMYO_DATA .*sonomyo data get us_mg_dynamometer"):
        locate("us_mg_dynamometer", "video/p6_passive_ROM_01_push_03.mp4")
    with pytest.raises(DataMissing, match=r"set SONOMYO_DATA .*cannot be downloaded.*pyomeca"):
        locate("shoulder_emg_raw", "lift_trial.npz")
    with pytest.raises(DataMissing, match="has no file 'nothing.mp4'"):
        locate("us_mg_dynamometer", "nothing.mp4")
    with pytest.raises(KeyError, match="known: us_mg_dynamometer"):
        locate("nothing", "x")
    assert find("us_mg_dynamometer", "nothing.mp4") is None


@pytest.mark.usefixtures("cache")
def test_list_shows_every_set(capsys):
    assert run("list") == 0
    assert set(data_sets()) <= set(capsys.readouterr().out.split())


@pytest.mark.usefixtures("cache")
def test_get_of_a_set_made_by_hand_says_where_to_look(capsys):
    assert run("get", "gait_emg_raw_13ch") == 1
    said = capsys.readouterr().out
    assert "not downloadable by this tool" in said
    assert "musclesyneRgies" in said
    assert "SONOMYO_DATA" in said


def test_verify_tells_damage_from_absence(cache, capsys):
    folder = cache / "emg_single_channel"
    folder.mkdir(parents=True)
    assert run("verify", "emg_single_channel") == 1
    assert "0 good, 0 damaged, 4 not here" in capsys.readouterr().out
    (folder / "bmc_emg.csv").write_text("0.001,0\n")
    assert run("verify", "emg_single_channel") == 1
    said = capsys.readouterr().out
    assert "0 good, 1 damaged, 3 not here" in said
    assert str(folder / "bmc_emg.csv") in said
    assert run("verify", "nothing") == 2


@pytest.mark.parametrize("name", data_sets())
@pytest.mark.parametrize("junk", [b"", b"junk", b"\x1f\x8b\x08junk", b"PK\x03\x04junk"])
def test_a_damaged_file_of_any_kind_is_not_intact(name, junk, tmp_path):
    (tmp_path / "file").write_bytes(junk)
    for how in {f.how for f in data_set(name).files}:
        file = next(f for f in data_set(name).files if f.how == how)
        assert not intact(tmp_path / "file", file)


@needs_data
@pytest.mark.parametrize("name", data_sets())
def test_the_recordings_are_what_the_registry_says(name, capsys):
    assert run("verify", name) == 0
    assert f"{len(data_set(name).files)} good, 0 damaged, 0 not here" in capsys.readouterr().out


@needs_data
def test_the_registry_knows_every_file_of_every_folder():
    for name in data_sets():
        root = Path(DATA) / name
        lying = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
        unlisted = lying - {f.path for f in data_set(name).files}
        assert {p for p in unlisted if not p.endswith((".log", "README.md"))} == set()


def test_no_recording_is_both_in_training_and_evaluation():
    assert not set(MG_TRAIN) & set(MG_EVAL)
    assert not set(TA_TRAIN) & set(TA_EVAL)
    assert set(MG_DEMO) <= set(MG_EVAL)
    assert TA_DEMO in TA_EVAL


def test_every_condition_is_held_out_once():
    def condition(clip):
        return clip.partition("_push_")[0]

    assert sorted(map(condition, MG_EVAL)) == sorted(set(map(condition, MG_TRAIN)))


@pytest.mark.parametrize("name", data_sets())
def test_the_documentation_carries_the_attribution_of_every_set(name):
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    assert f"**{name}** ({data_set(name).licence}). {data_set(name).attribution}" in page
