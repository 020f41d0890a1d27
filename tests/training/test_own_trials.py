"""One's own trials: a simulated arm written as OpenSim's tables, and every way to get it wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from edge.cli import main as sonomyo
from edge.config import ConfigError
from training.fit_nmm import fit
from training.joint_data import elbow_trial
from training.nmm_config import NmmConfig, NmmRun
from training.nmm_study import elbow_joint
from training.own_checks import TrialsError, check_pull
from training.own_trials import load_own
from training.virtual_measure import SURFACE, measured_of
from training.virtual_people import EVERYBODY, MUSCLES

START_S = 41.5  # a laboratory's clock rarely begins with the trial
LIST = """
[[neighbours]]
muscle = "BRA"
of = ["BIClong", "BICshort"]
[[neighbours]]
muscle = "TRImed"
of = ["TRIlat"]
[[trials]]
motion = "curl.mot"
emg = "curl_emg.sto"
load_kg = 2.0
"""


def table(path, columns, header="inDegrees=no"):
    rows = np.stack(list(columns.values()), 1)
    body = "\n".join("\t".join(f"{x:.6f}" for x in row) for row in rows)
    path.write_text(f"t\n{header}\nendheader\n" + "\t".join(columns) + "\n" + body + "\n")


@pytest.fixture(scope="module")
def measured():
    return next(m for m in measured_of("V6") if m.load_kg == 2.0)


@pytest.fixture
def folder(tmp_path, measured):
    m, at = measured, START_S + np.arange(len(measured.angle_rad)) / 100
    table(tmp_path / "curl.mot", {"time": at, "r_elbow_flex": np.rad2deg(m.angle_rad)},
          "inDegrees=yes")  # fmt: skip
    emg = {n: m.envelope[:, i] for i, n in enumerate(MUSCLES) if SURFACE[i]}
    table(tmp_path / "curl_emg.sto", {"time": at, **emg})
    table(tmp_path / "curl_id.sto", {"time": at, "r_elbow_flex_moment": m.moment_nm})
    (tmp_path / "trials.toml").write_text(LIST)
    return tmp_path


def test_angles_emg_and_moment_come_as_they_were_measured(folder, measured):
    (trial,), joint = load_own(folder / "trials.toml")
    assert joint.neighbours == {"BRA": ("BIClong", "BICshort"), "TRImed": ("TRIlat",)}
    assert trial.load_kg == 2.0
    n = len(trial.angle_rad)
    np.testing.assert_allclose(trial.angle_rad, measured.angle_rad[:n], atol=0.01)
    bic = joint.names.index("BIClong")
    np.testing.assert_allclose(trial.envelope[:, bic], measured.envelope[:n, 3], atol=1e-5)
    assert np.isnan(trial.envelope[:, joint.names.index("BRA")]).all()
    assert trial.start_s == START_S
    # Inverse dynamics of a usual forearm; this one weighs a little less or more.
    assert np.corrcoef(trial.moment_nm, measured.moment_nm[:n])[0, 1] > 0.99


def change(folder, before, after, count=-1):
    path = folder / "trials.toml"
    path.write_text(path.read_text().replace(before, after, count))
    return path


WITH_MOMENT = 'load_kg = 2.0\nmoment = "curl_id.sto"'


def test_a_moment_of_ones_own_is_taken(folder, measured):
    (trial,), _ = load_own(change(folder, "load_kg = 2.0", WITH_MOMENT))
    np.testing.assert_allclose(
        trial.moment_nm, measured.moment_nm[: len(trial.moment_nm)], atol=1e-4
    )


def test_a_moment_of_the_other_sign_is_refused(folder):
    path = change(folder, "load_kg = 2.0", WITH_MOMENT)
    text = (folder / "curl_id.sto").read_text().splitlines()
    turned = [line.replace("\t-", "\t+").replace("\t", "\t-", 1).replace("-+", "")
              if i > 3 else line for i, line in enumerate(text)]  # fmt: skip
    (folder / "curl_id.sto").write_text("\n".join(turned) + "\n")
    with pytest.raises(TrialsError, match="another sign convention"):
        load_own(path)


@pytest.mark.parametrize("name", EVERYBODY)
def test_the_sign_of_a_moment_is_seen_even_with_an_empty_hand(name):
    joint = elbow_joint(name)
    empty = [elbow_trial(m) for m in measured_of(name) if m.load_kg == 0.0]
    check_pull(empty, ["right"] * 3, joint)
    for t in empty:
        with pytest.raises(TrialsError, match=r"turned: .* turn the sign of the moment's column"):
            check_pull([replace(t, moment_nm=-t.moment_nm)], ["turned"], joint)


def test_a_person_at_rest_has_no_sign_and_is_not_refused():
    joint, t = elbow_joint("V6"), elbow_trial(measured_of("V6")[0])
    check_pull([replace(t, moment_nm=np.full_like(t.moment_nm, 2.0))], ["still"], joint)


def test_biceps_in_the_column_of_triceps_is_refused(folder):
    path = folder / "curl_emg.sto"
    other = {"BIClong": "TRIlat", "TRIlat": "BIClong", "BICshort": "TRIlong", "TRIlong": "BICshort"}
    lines = path.read_text().splitlines()
    lines[3] = "\t".join(other.get(c, c) for c in lines[3].split("\t"))
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(TrialsError, match="changed places in the EMG's columns"):
        load_own(folder / "trials.toml")


def test_the_elbow_rolls_on_by_its_own_weight(folder):
    """In any order of muscles: dynamics forward undo those backward, and training uses them."""
    order = '[joint]\naway = ["TRImed", "TRIlong", "TRIlat"]\nforearm_kg = 1.9\n[[neighbours]]'
    (trial,), joint = load_own(change(folder, "[[neighbours]]", order, 1))
    assert joint.names[:3] == ("TRImed", "TRIlong", "TRIlat")
    angle, moment = torch.tensor(trial.angle_rad), torch.tensor(trial.moment_nm)
    for got, wanted in zip(joint.paths(angle), (trial.length_mm, trial.arm_mm), strict=True):
        np.testing.assert_allclose(got, wanted)
    load_kg = torch.tensor(2.0, dtype=torch.float64)
    acceleration = joint.accelerate(load_kg)(angle, moment)
    np.testing.assert_allclose(acceleration, trial.features[:, 2], atol=1e-6)
    network = NmmConfig(width=16, heads=2, blocks=1, hidden=16)
    fitted = fit([trial], joint, NmmRun(network=network, epochs=1, alone=0.0, first_guess=False))
    assert fitted.history[-1]["motion"] > 0


def test_an_elbow_that_a_machine_may_move_does_not(folder):
    _, joint = load_own(change(folder, "load_kg = 2.0", WITH_MOMENT))
    assert joint.accelerate is None


def test_degrees_taken_for_radians_are_refused(folder):
    path = folder / "curl.mot"
    path.write_text(path.read_text().replace("inDegrees=yes", "inDegrees=no"))
    with pytest.raises(TrialsError, match="degrees taken for radians"):
        load_own(folder / "trials.toml")


def test_extension_as_positive_is_refused(folder, measured):
    at = START_S + np.arange(len(measured.angle_rad)) / 100
    table(folder / "curl.mot", {"time": at, "r_elbow_flex": -measured.angle_rad})
    with pytest.raises(TrialsError, match="or another sign"):
        load_own(folder / "trials.toml")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[[neighbours]]", '[joint]\ntowards = ["BRA", "TRIlat"]\naway = ["BIClong"]\n'
         "[[neighbours]]", "BIClong has a moment arm of .* away: wrong sign"),
        ('of = ["TRIlat"]', 'of = ["BRD"]', r"neighbours name \['BRD'\]"),
        ("curl_emg.sto", "curl.mot", "name columns as muscles"),
        ("[[neighbours]]", '[joint]\ntowards = ["BRD"]\n[[neighbours]]', "the elbow has no"),
        ("[[neighbours]]", '[joint]\ncoordinate = "elbow"\n[[neighbours]]', "no column elbow"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(folder, before, after, message):
    path = folder / "trials.toml"
    text = path.read_text().replace(before, after, 1)
    if "joint" in after and "of" not in after and "coordinate" not in after:
        text = text[: text.index("[[neighbours]]")] + text[text.index("[[trials]]") :]
    path.write_text(text)
    with pytest.raises(TrialsError, match=message):
        load_own(path)


def test_microvolts_are_no_envelopes(folder, measured):
    at = START_S + np.arange(len(measured.angle_rad)) / 100
    table(folder / "curl_emg.sto", {"time": at, "BIClong": 300 * measured.envelope[:, 3]})
    with pytest.raises(TrialsError, match="divide by MVC first"):
        load_own(folder / "trials.toml")


def test_a_hole_is_named_by_file_column_and_row(folder):
    path = folder / "curl.mot"
    lines = path.read_text().splitlines()
    lines[14] = lines[14].split("\t")[0] + "\tnan"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(TrialsError, match="curl.mot, column r_elbow_flex: row 10 is nan"):
        load_own(folder / "trials.toml")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('muscle = "TRImed"', 'muscle = "TRIlong"', "TRImed: no column of EMG"),
        ('of = ["TRIlat"]', 'of = ["BRA"]', "of TRImed must have EMG"),
    ],
)
def test_muscles_without_an_electrode_need_neighbours_with_one(folder, before, after, message):
    with pytest.raises(TrialsError, match=message):
        load_own(change(folder, before, after))


def test_clocks_that_never_meet_are_refused(folder, measured):
    at = 1e6 + np.arange(len(measured.angle_rad)) / 100
    table(folder / "curl_emg.sto", {"time": at, "BIClong": measured.envelope[:, 3]})
    with pytest.raises(TrialsError, match="both clocks in seconds from the same zero"):
        load_own(folder / "trials.toml")


def test_a_list_without_trials_says_what_to_add(tmp_path):
    (tmp_path / "t.toml").write_text("")
    with pytest.raises(TrialsError, match=r"add \[\[trials\]\]"):
        load_own(tmp_path / "t.toml")
    (tmp_path / "t.toml").write_text("[joints]\n")
    with pytest.raises(ConfigError, match="unknown setting"):
        load_own(tmp_path / "t.toml")


def test_the_command_reports_every_parameter_and_its_doubt(folder, capsys):
    code = sonomyo(["physiology", str(folder / "trials.toml"), "--json", str(folder / "p.json")])
    out = capsys.readouterr().out
    found = json.loads((folder / "p.json").read_text())
    assert code in (0, 1)
    assert len(found["parameters"]) == 4 * 6 + 5
    assert code == int(any(p["at_bound"] for p in found["parameters"]))
    assert "moment explained to" in out


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert sonomyo(["physiology", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
    assert sonomyo(["physiology", "V6", "--fixed", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err
