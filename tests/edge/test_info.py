import argparse
import json
import time

import numpy as np
import pytest

from edge.bundle import MODEL, load_bundle
from edge.bundle_index import Error, Network
from edge.info import add_args, main
from edge.joint import Joint, Reading
from edge.record import SessionWriter
from edge.summary import Joint as JointSummary
from edge.summary import summarize
from export.bundle import pack, write_bundle
from firmware_bridge.recording import STAMPS_DTYPE
from firmware_bridge.types import Chunk, Flag, Frame, Geometry, MuscleState

BMODE = Geometry("bmode", lines=8, samples=16, dz_mm=0.1, dx_mm=0.2)


def record(path, frames=range(10), samples=range(0, 100, 10), late=0, emg=(1000.0, ("TA", "GM"))):
    """A closed session with the given frame counters and first samples of chunks of 10."""
    w = SessionWriter(path, {"probe": "usb:[7]"}, geometry=BMODE, emg=emg, min_free_bytes=0)
    for k in frames:
        w.frame(Frame(time.monotonic_ns(), k, np.zeros((8, 16), np.uint8)))
    for k in samples:
        w.chunk(Chunk(time.monotonic_ns(), k, 1000.0, np.zeros((10, 2), np.float32)))
    for k in range(4):
        row = np.zeros(1, STAMPS_DTYPE)
        row["t_tick_ns"], row["sent_ns"] = 10**9, 10**9 + 8_000_000
        row["late"] = k < late
        w.state(MuscleState(k, k, Flag.REPLAY, np.zeros(1, np.float32)))
        w.stamps(row)
    w.event("start", period_ms=10.0)
    w.event("mark")
    w.close()
    return path


def info(*words):
    """Exit code of ``sonomyo info WORDS``."""
    parser = argparse.ArgumentParser()
    add_args(parser)
    return main(parser.parse_args([str(w) for w in words]))


def test_a_good_recording_has_no_problems(tmp_path):
    s = summarize(record(tmp_path / "a.mcap"), verify=True)
    assert s.problems == []
    assert s.intact is True
    assert s.topics["/us/frame"].messages == 10
    assert s.topics["/emg/chunk"].messages == 10
    assert s.events == {"start": 1, "mark": 1}
    assert s.tick_to_send_ms == {"p50": 8.0, "p99": 8.0, "p99.9": 8.0}
    assert s.meta["probe"] == "usb:[7]"


def test_gaps_are_counted_in_what_is_missing(tmp_path):
    path = record(tmp_path / "a.mcap", frames=[3, 4, 7, 8, 20], samples=[0, 10, 35, 45])
    topics = summarize(path).topics
    assert (topics["/us/frame"].gaps, topics["/us/frame"].lost) == (2, 13)
    assert (topics["/emg/chunk"].gaps, topics["/emg/chunk"].lost) == (1, 15)
    assert (topics["/state"].gaps, topics["/state"].lost) == (0, 0)
    problems = summarize(path).problems
    assert problems == ["13 frames lost (gaps: 2)", "15 samples lost (gaps: 1)"]


def test_joint_angle_and_load_are_shown_with_how_often_they_were_known(tmp_path, capsys):
    w = SessionWriter(tmp_path / "a.mcap", {}, joint=True, min_free_bytes=0)
    for tick in range(4):
        w.joint(Joint(tick, Reading(30.0 + tick, tick) if tick else None).row())
    w.close()
    assert summarize(w.path).topics["/joint"].messages == 4
    assert summarize(w.path).joint == {"angle": JointSummary("deg", 0.75, 31.0, 33.0)}
    info(w.path)
    assert "31 to 33 deg, known in 75.0% of the ticks" in capsys.readouterr().out
    assert summarize(record(tmp_path / "b.mcap")).joint == {}


def test_late_states_are_a_problem(tmp_path):
    s = summarize(record(tmp_path / "a.mcap", late=3))
    assert s.late == 3
    assert s.problems == ["3 states were late"]


def test_a_session_with_nothing_in_it_can_be_summarized(tmp_path):
    w = SessionWriter(tmp_path / "a.mcap", {}, min_free_bytes=0)
    w.close()
    s = summarize(w.path)
    assert (s.problems, s.tick_to_send_ms) == ([], {})


def test_a_flipped_bit_is_found_when_asked_to_verify(tmp_path):
    path = record(tmp_path / "a.mcap")
    data = bytearray(path.read_bytes())
    data[data.index(bytes(64))] ^= 1  # a pixel
    path.write_bytes(data)
    assert summarize(path).intact is None
    assert summarize(path, verify=True).problems == [
        "damaged: not the bytes that were written; copy it again"
    ]


def test_the_exit_code_says_good_torn_repaired_unreadable(tmp_path, capsys):
    path = record(tmp_path / "a.mcap")
    assert info(path) == 0
    path.write_bytes(path.read_bytes()[:-300])
    assert info(path) == 1
    assert "--repair" in capsys.readouterr().out.replace("\n", "")
    assert info(path, "--repair", "--verify") == 0
    assert "repaired: kept" in capsys.readouterr().out
    path.write_bytes(b"nothing like it")
    assert info(path) == 2
    assert "sonomyo info: " in capsys.readouterr().err
    assert info(tmp_path / "missing.mcap") == 2
    assert info("no-such-bundle") == 2


def test_the_table_shows_addresses_as_they_are(tmp_path, capsys):
    # rich would take [7] for markup.
    assert info(record(tmp_path / "a.mcap")) == 0
    assert "usb:[7]" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--repair"]])
def test_json_is_one_line_with_everything(tmp_path, capsys, words):
    assert info(record(tmp_path / "a.mcap"), "--json", *words) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert found["topics"]["/us/frame"]["messages"] == 10
    assert (found["repair"] is None) == (not words)


def test_a_bundle_says_when_it_doubts_and_which_maps_it_draws(doubter, mapper, capsys):
    assert info(doubter) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "0 to 255, SD up to 1" in shown
    assert "bright" in shown
    assert info(mapper) == 0
    assert "bright, again" in " ".join(capsys.readouterr().out.split())


def test_a_bundle_says_which_angles_and_loads_it_was_validated_for(elbow, capsys):
    assert info(elbow) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "0 to 140 │ angle deg" in shown
    assert "0 to 5 │ load kg" in shown


def test_a_bundle_of_one_file_says_what_is_in_it_and_who_signed_it(tmp_path, adder, capsys):
    bundle = load_bundle(str(adder))
    networks = [Network("model.int8-cpu.onnx", "int8", ("cpu",), ("cpu",), {"sum": Error(1, 2)})]
    (adder / "model.int8-cpu.onnx").write_bytes(bundle.files[MODEL])
    whole = write_bundle(adder, bundle.spec, "card", {}, networks)
    pack(whole, tmp_path / "adder.sonomyo")
    assert info(tmp_path / "adder.sonomyo") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "model.int8-cpu.onnx │ int8 │ cpu (default) │ sum 2 uV" in shown
    assert "signature unsigned" in shown
    assert "files CARD.md, model.int8-cpu.onnx, model.onnx" in shown
    assert info(tmp_path / "adder.sonomyo", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["id"] == whole.id
    assert found["networks"][1]["errors"] == {"sum": [1, 2]}
    (tmp_path / "torn.sonomyo").write_bytes(b"PK")
    assert info(tmp_path / "torn.sonomyo") == 2
    assert "not a whole zip archive" in capsys.readouterr().err
